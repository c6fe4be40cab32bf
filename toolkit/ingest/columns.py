"""Lists of decoded values to columns: exact nanoseconds from microseconds, and repeating values by their numbers."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import Raw

from toolkit.clock import NS_PER_US

# The axis ends in 2116 and begins as long before 1970 as a duration may be at most, 73 years: so every end, and every
# difference of two moments, fits int64.
LATEST_NS = 2**62
LONGEST_NS = 2**61

_NOT_ASKED = -1
# Of an integer that an event does not tell, until it becomes NULL in a column of the store.
UNTOLD = -(2**63)
_LATEST_US = LATEST_NS // NS_PER_US

Ns = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
V = TypeVar("V", bound=Hashable)


def integers(values: Sequence[int | None]) -> Ns:
    """Integers; UNTOLD for None."""
    try:
        return np.fromiter(values, np.int64, len(values))
    except TypeError:
        return np.fromiter((UNTOLD if value is None else value for value in values), np.int64)


def ns_of_us(times: Sequence[int | Raw]) -> tuple[Ns, npt.NDArray[np.bool_]]:
    """Microseconds, integers or decimal text, to nanoseconds (half to even), and which are times; the others are 0.

    No time: what is no number, and what lies outside of ±LATEST_NS. Equal to `clock.us_to_ns` on each.
    """
    if not times or type(times[0]) is int:
        # NumPy refuses a text among them, unless it is that of a whole number, which it takes for that.
        with suppress(OverflowError, TypeError, ValueError):
            return _of_whole(np.fromiter(times, np.int64, len(times)))
    texts = [time if isinstance(time, Raw) else Raw(str(time).encode()) for time in times]
    # Imported on use: it needs pyarrow, which a process that reads whole numbers can do without.
    ns, known = import_module("toolkit.ingest.decimals").ns_of_texts(texts)
    return ns, known


def _of_whole(us: Ns) -> tuple[Ns, npt.NDArray[np.bool_]]:
    known = (us >= -_LATEST_US) & (us <= _LATEST_US)
    return np.where(known, us, 0) * NS_PER_US, known


def on_axis(ts_ns: Ns) -> npt.NDArray[np.bool_]:
    """Which moments lie on the axis that the store can hold."""
    inside: npt.NDArray[np.bool_] = (ts_ns > -LONGEST_NS) & (ts_ns < LATEST_NS)
    return inside


class Numbering(dict[V, int]):
    """Numbers distinct values 0, 1, 2 … as they come, over all calls; `distinct` has them in that order."""

    def __init__(self) -> None:
        super().__init__()
        self.distinct: list[V] = []

    def __missing__(self, value: V) -> int:
        self[value] = number = len(self)
        self.distinct.append(value)
        return number

    def of(self, values: Iterable[V]) -> Codes:
        """The number of each value."""
        return np.fromiter(map(self.__getitem__, values), np.int32)


class Answers(Generic[V]):
    """A rule's small whole answers by the number of a value; it is asked once of each, when first needed."""

    def __init__(self, rule: Callable[[V], int], numbering: Numbering[V]) -> None:
        self._rule, self._numbering = rule, numbering
        self._known = np.empty(0, dtype=np.int8)

    def of(self, numbers: Codes) -> npt.NDArray[np.int8]:
        """The rule's answer for the value of each number."""
        unasked = len(self._numbering) - len(self._known)
        self._known = np.append(self._known, np.full(unasked, _NOT_ASKED, dtype=np.int8))
        for number in set(numbers[self._known[numbers] == _NOT_ASKED].tolist()):
            self._known[number] = self._rule(self._numbering.distinct[number])
        answers: npt.NDArray[np.int8] = self._known[numbers]
        return answers
