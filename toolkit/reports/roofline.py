"""How the terminal reports show where operators stand below the roofline."""

from collections.abc import Sequence

from rich.table import Table

from toolkit.analyses.roofline import RooflinePart
from toolkit.reports.tables import UNKNOWN, Cropped, milliseconds, percent, table

SHOWN_ROWS = 8
GIGA = 1e9
# From here on a decimal place says nothing.
PLAIN = 100


def roofline_table(parts: Sequence[RooflinePart]) -> Table:
    """The operators of most time, those of one device."""
    where = "host" if parts[0].device is None else f"device {parts[0].device}"
    known = any(part.ceiling_flops_per_s for part in parts)
    titles = ("operator", "type", "calls", "ms", "GFLOP/s", "FLOP/B")
    more = ("ceiling", "bound", "of it") if known else ()
    found = table(f"Roofline by the shapes that operators tell, {where}", *titles, *more)
    notes = ["matrix products, convolutions and attention; bytes: of operands and results, each once"]
    notes += ["ceiling: GFLOP/s that device and memory allow; bound: by which of them"] if known else []
    notes += dict.fromkeys(f"no ceiling: {part.reason}" for part in parts if part.reason)
    found.note = "\n".join(notes)
    for part in parts[:SHOWN_ROWS]:
        figures = [f"{part.calls:,}", milliseconds(part.ns), _giga(part.flops_per_s), _plain(part.intensity)]
        ceiling = (_giga(part.ceiling_flops_per_s), part.bound_by or UNKNOWN, percent(part.of_ceiling)) if known else ()
        found.add_row(Cropped(part.operator), part.precision or UNKNOWN, *figures, *ceiling)
    return found


def _giga(per_s: float | None) -> str:
    return UNKNOWN if per_s is None else f"{per_s / GIGA:,.{0 if per_s >= PLAIN * GIGA else 1}f}"


def _plain(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f}"
