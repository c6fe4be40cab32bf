"""The only place that converts time. One axis: int64 nanoseconds of CLOCK_REALTIME; no binary float ever holds a time.

Our own records are taken on CLOCK_MONOTONIC, which no wall-clock step disturbs, beside (realtime, monotonic) pairs that
place them on the axis. Native traces are already on CLOCK_REALTIME.
"""

import time
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NS_PER_US = 1_000
NS_PER_S = 1_000_000_000
PS_PER_NS = 1_000
WALL_STEP_NS = 1_000_000

Integers = TypeVar("Integers", int, "npt.NDArray[np.int64]")


class ClockPair(NamedTuple):
    """Both clocks read at one moment, in nanoseconds."""

    realtime_ns: int
    monotonic_ns: int


def read_pair() -> ClockPair:
    """Both clocks at one moment: of five tries, the one whose monotonic reads lie closest around the wall clock's."""
    tries = []
    for _ in range(5):
        before = time.monotonic_ns()
        realtime = time.time_ns()
        after = time.monotonic_ns()
        tries.append((after - before, ClockPair(realtime, before + (after - before) // 2)))
    return min(tries)[1]


class MonotonicAxis:
    """Places CLOCK_MONOTONIC readings on the axis by the last pair taken before each, the first pair before that.

    The two clocks are slewed together, so their distance is constant but where someone sets the wall clock; `steps`
    lists those.
    """

    def __init__(self, pairs: Sequence[ClockPair]) -> None:
        if not pairs:
            raise ValueError("a clock needs at least one (realtime, monotonic) pair")
        self._pairs = sorted(pairs, key=lambda pair: pair.monotonic_ns)
        self._starts = [pair.monotonic_ns for pair in self._pairs]

    def realtime_ns(self, monotonic_ns: int) -> int:
        """The same moment in nanoseconds of CLOCK_REALTIME."""
        pair = self._pairs[max(bisect_right(self._starts, monotonic_ns) - 1, 0)]
        return monotonic_ns + pair.realtime_ns - pair.monotonic_ns

    def steps(self) -> list[tuple[int, int]]:
        """(monotonic_ns, by how many ns) for each pair between which and the last the wall clock moved over 1 ms."""
        offsets = [pair.realtime_ns - pair.monotonic_ns for pair in self._pairs]
        moves = zip(self._starts[1:], (b - a for a, b in pairwise(offsets)), strict=True)
        return [(at, move) for at, move in moves if abs(move) > WALL_STEP_NS]


def written_ns(text: str) -> tuple[int, bool]:
    """(nanoseconds of CLOCK_REALTIME, whether a zone is written) of a date and time by ISO 8601; without a zone, UTC.

    Raises ValueError for what is no such time, or none that 64 bits hold.
    """
    moment = datetime.fromisoformat(text)
    zoned = moment.tzinfo is not None
    since = (moment if zoned else moment.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)
    ns = since // timedelta(microseconds=1) * NS_PER_US
    if abs(ns) >= 1 << 63:
        raise ValueError(f"{text!r} is out of the range of times")
    return ns, zoned


def us_to_ns(us: Decimal) -> int:
    """Decimal microseconds, as Kineto writes them, to nanoseconds; half a nanosecond goes to the even one."""
    return int((us * NS_PER_US).to_integral_value(rounding=ROUND_HALF_EVEN))


def s_to_ns(s: Decimal) -> int:
    """Decimal seconds, as speedscope weighs samples, to nanoseconds; half a nanosecond goes to the even one."""
    return int((s * NS_PER_S).to_integral_value(rounding=ROUND_HALF_EVEN))


def ps_to_ns(ps: Integers) -> Integers:
    """Picoseconds, as XPlane counts them, to nanoseconds; half a nanosecond goes to the even one.

    Takes one int or a NumPy array of int64; this module does not import NumPy, because the worker need not have it.
    """
    ns = ps // PS_PER_NS  # not divmod, which takes NumPy four times as long
    rest = ps - ns * PS_PER_NS
    half = PS_PER_NS // 2
    rounded: Integers = ns + ((rest > half) | ((rest == half) & (ns % 2 == 1)))
    return rounded
