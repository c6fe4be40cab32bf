"""What a page is made of: sections of tables, charts, notes and figures. The template alone knows their HTML."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from toolkit.errors import printable
from toolkit.reports.tables import UNKNOWN, mebibytes, microseconds, milliseconds, percent, three_digits
from toolkit.reports.utilisation import flops

# From here on a figure without a unit of its own has one decimal.
FEW_DIGITS = 10
TOO_FEW = "there are too few processes"
UNITS: dict[str, Callable[[Any], str]] = {
    "ms": milliseconds,
    "us": microseconds,
    "seconds": lambda ns: three_digits(ns / 1e9),
    "whole": "{:,.0f}".format,
    "mib": mebibytes,
    "count": "{:,}".format,
    "share": percent,
    "ratio": "×{:.2f}".format,
    "number": lambda value: f"{value:,.{1 if abs(value) >= FEW_DIGITS else 3}f}",
    "scalar": "{:.3f}".format,
    "joules": lambda millijoules: f"{millijoules / 1e3:,.2f}",
    "watts": lambda milliwatts: f"{milliwatts / 1e3:,.1f}",
    "flops": flops,
}


@dataclass(frozen=True)
class Figure:
    """A figure as people read it, `value` as it is exactly, and where it stands (`of`, a JSON pointer); `why` not."""

    kind: ClassVar[str] = "figure"
    text: str
    value: str | None
    of: str
    why: str | None


@dataclass(frozen=True)
class Share:
    """A share from 0 to 1, drawn as a bar; None of nothing."""

    kind: ClassVar[str] = "share"
    value: float | None

    @property
    def text(self) -> str:
        """In percent."""
        return percent(self.value)


@dataclass(frozen=True)
class Range:
    """An estimate and the interval around it."""

    kind: ClassVar[str] = "range"
    estimate: Figure
    low: Figure
    high: Figure


Cell = str | Figure | Share | Range


@dataclass(frozen=True)
class Table:
    """Rows of cells under headers; the first cell of a row names it. Headers that are terms get their definition.

    One that is `folded` shows when its name is pressed.
    """

    kind: ClassVar[str] = "table"
    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str | None = None
    folded: bool = False

    @property
    def unknown(self) -> str:
        """Why its unknown figures are, each reason once: paper and fingers hover over nothing."""
        return _reasons(cell for row in self.rows for cell in row)


@dataclass(frozen=True)
class Chart:
    """A figure of Plotly's as plain data, `label` for those who do not see it, and the table of what it draws.

    Its table is folded unless `opened`. `ranges` are names of stretches of the x axis with their ends, the first of
    which is shown first.
    """

    kind: ClassVar[str] = "chart"
    title: str
    label: str
    data: Sequence[dict[str, Any]]
    layout: dict[str, Any]
    table: Table
    note: str | None = None
    ranges: Sequence[tuple[str, float, float]] = ()
    opened: bool = False


@dataclass(frozen=True)
class Note:
    """A sentence; `tone` is plain, good, warn or bad, and stands there in words too."""

    kind: ClassVar[str] = "note"
    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Facts:
    """Names and what they are, the most important first."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, Cell]]
    large: bool = False

    @property
    def unknown(self) -> str:
        """Why its unknown figures are, each reason once."""
        return _reasons(cell for _, cell in self.rows)


@dataclass(frozen=True)
class Item:
    """A finding: what is at stake, evidence, remedy, and the sections where it shows."""

    title: str
    stakes: Sequence[tuple[str, Figure]]
    share_of: str
    evidence: str
    remedy: str
    shows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Items:
    """Findings, by rank."""

    kind: ClassVar[str] = "items"
    items: Sequence[Item]


Block = Table | Chart | Note | Facts | Items


@dataclass(frozen=True)
class Section:
    """A part of the page that others can point to."""

    id: str
    title: str
    blocks: Sequence[Block]


class Told:
    """Figures of one result (a summary, a comparison, a sweep's), each by where it stands there."""

    def __init__(self, result: msgspec.Struct) -> None:
        self._told = msgspec.to_builtins(result)

    def __call__(self, unit: str, *path: str | int, why: str | None = None) -> Figure:
        """The figure at `path`, in a unit of UNITS; unknown where it is null, because of `why`."""
        value = self._at(path)
        text = UNKNOWN if value is None else UNITS[unit](value)
        exact = None if value is None else msgspec.json.encode(value).decode()
        return Figure(text, exact, pointer(path), None if value is not None else printable(why or "not told"))

    def interval(self, unit: str, *path: str | int, why: str | None = None) -> Range | Figure:
        """The estimate and the interval at `path`; unknown where there is no estimate, because of `why`."""
        if self._at(path) is None:
            return self(unit, *path, why=why)
        return Range(*(self(unit, *path, name, why=TOO_FEW) for name in ("estimate", "low", "high")))

    def _at(self, path: Sequence[str | int]) -> Any:
        value = self._told
        for step in path:
            value = value[step]
        return value


def _reasons(cells: Iterable[Cell]) -> str:
    inner = chain.from_iterable((cell.low,) if isinstance(cell, Range) else (cell,) for cell in cells)
    return "; ".join(dict.fromkeys(cell.why for cell in inner if isinstance(cell, Figure) and cell.why))


def pointer(path: Sequence[str | int]) -> str:
    """By RFC 6901, percent-encoded as in a URI (its section 6): a key may hold any character."""
    return "".join("/" + quote(str(step).replace("~", "~0").replace("/", "~1"), safe="") for step in path)


def words(name: str) -> str:
    """A name of ours, or of a trace, as words: on one line and without underscores."""
    return printable(name).replace("_", " ")


def counted(processes: int) -> str:
    """So many processes, in words."""
    return f"{processes} process{'' if processes == 1 else 'es'}"
