"""How the terminal reports show where operators stand below the roofline."""

from collections.abc import Sequence

from rich.table import Table

from toolkit.analyses.roofline import RooflinePart
from toolkit.reports.tables import UNKNOWN, bar, milliseconds, shown, table

SHOWN_ROWS = 8
GIGA = 1e9


def roofline_table(parts: Sequence[RooflinePart]) -> Table:
    """The operators of most time, those of one device."""
    where = "host" if parts[0].device is None else f"device {parts[0].device}"
    known = any(part.ceiling_flops_per_s for part in parts)
    titles = ("operator", "precision", "calls", "time, ms", "GFLOP/s", "FLOP/byte")
    more = ("ceiling, GFLOP/s", "bound by", "share of ceiling") if known else ()
    found = table(f"Roofline by the shapes that operators tell, {where}", *titles, *more)
    notes = ["matrix products, convolutions and attention; bytes: of operands and results, each once"]
    notes += dict.fromkeys(f"no ceiling: {part.reason}" for part in parts if part.reason)
    found.note = "\n".join(notes)
    for part in parts[:SHOWN_ROWS]:
        figures = [f"{part.calls:,}", milliseconds(part.ns), _giga(part.flops_per_s), _plain(part.intensity)]
        ceiling = (_giga(part.ceiling_flops_per_s), part.bound_by or UNKNOWN, bar(part.of_ceiling)) if known else ()
        found.add_row(shown(part.operator), part.precision or UNKNOWN, *figures, *ceiling)
    return found


def _giga(per_s: float | None) -> str:
    return UNKNOWN if per_s is None else f"{per_s / GIGA:,.1f}"


def _plain(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f}"
