"""What a mechanism is made of: figures of both sides of a claim, and the words for its sentence."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import NamedTuple

from msgspec import Struct

from toolkit.analyses.processes import Process

Side = Sequence[Process]
Read = Callable[[Process], float | None]


class Row(Struct, frozen=True, kw_only=True):
    """One figure of both sides in `unit` (ns, B, %, ratio, count, number, mW); null with `why`, or told in `words`."""

    what: str
    a: float | None
    b: float | None
    unit: str
    why: str | None


class Mechanism(Struct, frozen=True, kw_only=True):
    """What was looked at, in figures of both sides, and what they come to in one sentence."""

    name: str
    title: str
    says: str
    rows: list[Row]


class Teller(NamedTuple):
    """A mechanism: what it tells, for docs/studies.md, and what reads it off two sides."""

    about: str
    tell: Callable[[Side, Side], Mechanism | None]


def row(what: str, unit: str, a: float | None, b: float | None, why: str = "not told") -> Row:
    """One figure of both sides."""
    return Row(what=what, a=a, b=b, unit=unit, why=why if a is None or b is None else None)


def middle(side: Side, read: Read) -> float | None:
    """The median over processes of what they tell; None where none does."""
    told = [value for process in side if (value := read(process)) is not None]
    return median(told) if told else None


def both(what: str, unit: str, sides: tuple[Side, Side], read: Read, why: str = "not told") -> Row:
    """A figure of both sides, each the median over its processes."""
    return row(what, unit, middle(sides[0], read), middle(sides[1], read), why)


def told(name: str, title: str, says: str, rows: Iterable[Row]) -> Mechanism | None:
    """The mechanism, without rows of which neither side tells anything; None where none is left."""
    kept = [row for row in rows if not (row.a is None and row.b is None and row.why == "not told")]
    return Mechanism(name=name, title=title, says=says, rows=kept) if kept else None


def ms(ns: float | None) -> str:
    """Milliseconds, for a sentence."""
    return "–" if ns is None else f"{ns / 1e6:,.2f} ms"


def signed(ns: float | None) -> str:
    """A difference in milliseconds, for a sentence."""
    return "–" if ns is None else f"{ns / 1e6:+,.2f} ms"


def share(part: float | None, whole: float | None) -> str:
    """A part of a whole, for a sentence."""
    return "–" if part is None or not whole else f"{part / whole:.1%}"


def number(value: float | None, places: int = 1) -> str:
    """A figure to so many decimal places, for a sentence."""
    return "–" if value is None else f"{value:,.{places}f}".removesuffix(".0")
