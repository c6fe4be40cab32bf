"""Lists of decoded values to columns: exact nanoseconds from decimal text, and repeating texts by their numbers."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Raw

from toolkit.clock import NS_PER_US, us_to_ns

# The axis ends in 2116 and begins as long before 1970 as a duration may be at most, 73 years: so every end, and every
# difference of two moments, fits int64.
LATEST_NS = 2**62
LONGEST_NS = 2**61
LONGEST_DECIMAL = 64

_TOO_LARGE = "beyond any time"
_NO_NUMBER = "no number"
_SEPARATOR = b","
_NOT_ASKED = -1
# Of an integer that an event does not tell, until it becomes NULL in a column of the store.
UNTOLD = -(2**63)
_LATEST_US = LATEST_NS // NS_PER_US
# Digits to the left are far more than int64 takes; one decimal place beyond the nanosecond is an error, not rounded.
_THOUSANDTHS = pa.decimal128(28, 3)

Ns = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
V = TypeVar("V", bound=Hashable)


def integers(values: Sequence[int | None]) -> Ns:
    """Integers; UNTOLD for None."""
    try:
        return np.fromiter(values, np.int64)
    except TypeError:
        return np.fromiter((UNTOLD if value is None else value for value in values), np.int64)


def ns_of_us(times: Sequence[int | Raw]) -> tuple[Ns, npt.NDArray[np.bool_]]:
    """Microseconds, integers or decimal text, to nanoseconds (half to even), and which are times; the others are 0.

    No time: what is no number, and what lies outside of ±LATEST_NS. Equal to `clock.us_to_ns` on each.
    """
    if Raw not in map(type, times):
        with suppress(OverflowError):
            return _of_whole(np.fromiter(times, np.int64))
    return _of_texts([time if isinstance(time, Raw) else Raw(str(time).encode()) for time in times])


def _of_whole(us: Ns) -> tuple[Ns, npt.NDArray[np.bool_]]:
    known = (us >= -_LATEST_US) & (us <= _LATEST_US)
    return np.where(known, us, 0) * NS_PER_US, known


def _of_texts(texts: Sequence[Raw]) -> tuple[Ns, npt.NDArray[np.bool_]]:
    try:
        ns = _thousandths(_SEPARATOR + _SEPARATOR.join(texts), len(texts))
    except pa.ArrowInvalid:  # something else than a number, a digit beyond the nanosecond, or more than any time has
        return _one_by_one(texts)
    return ns, np.ones(len(ns), dtype=bool)


def on_axis(ts_ns: Ns) -> npt.NDArray[np.bool_]:
    """Which moments lie on the axis that the store can hold."""
    inside: npt.NDArray[np.bool_] = (ts_ns > -LONGEST_NS) & (ts_ns < LATEST_NS)
    return inside


def _thousandths(decimals: bytes, count: int) -> Ns:
    """Decimals, each behind a separator, as integers of their thousandths. Raises ArrowInvalid where one is none."""
    points = decimals.count(b".")
    if points == 0:
        return _checked(_numbers(decimals, count).cast(pa.int64()), LATEST_NS // NS_PER_US) * NS_PER_US
    if points == count and _three_places(decimals):
        return _checked(_numbers(decimals.replace(b".", b""), count).cast(pa.int64()), LATEST_NS)
    words = _numbers(decimals, count).cast(_THOUSANDTHS)
    # A decimal128 is the integer of its thousandths: 16 bytes, little-endian.
    low, high = np.frombuffer(words.buffers()[1], dtype=np.int64).reshape(-1, 2)[: len(words)].T
    if np.any(high != low >> 63):
        raise pa.ArrowInvalid(_TOO_LARGE)
    return _checked(np.ascontiguousarray(low), LATEST_NS)


def _three_places(decimals: bytes) -> bool:
    """Whether each decimal's fourth byte from the end is its point, as Kineto writes them; none is empty."""
    text = np.frombuffer(decimals + _SEPARATOR, dtype=np.uint8)
    ends = np.flatnonzero(text == ord(_SEPARATOR))[1:]
    return bool(np.all(text[ends - len(".000")] == ord(".")))


def _numbers(joined: bytes, count: int) -> pa.StringArray:
    """Texts behind a separator each as a column, in which a zero stands for it: that changes no number but a negative.

    Raises ArrowInvalid where one is empty or holds a separator, so that it is no number.
    """
    text = np.frombuffer(joined, dtype=np.uint8).copy()
    offsets = np.append(np.flatnonzero(text == ord(_SEPARATOR)), len(text)).astype(np.int32)
    if len(offsets) != count + 1 or np.any(offsets[1:] - offsets[:-1] == 1):
        raise pa.ArrowInvalid(_NO_NUMBER)
    text[offsets[:-1]] = ord("0")
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def _checked(values: pa.Int64Array | Ns, limit: int) -> Ns:
    numbers = np.asarray(values)
    if np.any(numbers >= limit) or np.any(numbers <= -limit):
        raise pa.ArrowInvalid(_TOO_LARGE)
    return numbers


def _one_by_one(texts: Sequence[Raw]) -> tuple[Ns, npt.NDArray[np.bool_]]:
    times = [_ns(bytes(text)) for text in texts]
    known = np.array([time is not None for time in times], dtype=bool)
    return np.array([time or 0 for time in times], dtype=np.int64), known


def _ns(text: bytes) -> int | None:
    if not text or len(text) > LONGEST_DECIMAL or text[:1] not in b"-0123456789":
        return None
    with localcontext(prec=2 * LONGEST_DECIMAL):
        try:
            us = Decimal(text.decode())
        except InvalidOperation:
            return None
        if not us.is_finite() or us.adjusted() > len(str(LATEST_NS)):
            return None
        ns = us_to_ns(us)
    return ns if abs(ns) < LATEST_NS else None


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


def numbered_texts(numbers: npt.NDArray[Any], texts: Sequence[str | None]) -> pa.DictionaryArray:
    """The text of each number as a column; NULL where that is None."""
    known = np.array([text is not None for text in texts], dtype=bool)
    return numbered(numbers, pa.array([text or "" for text in texts], pa.string()), known[numbers])


def numbered(
    numbers: npt.NDArray[Any], texts: pa.StringArray, known: npt.NDArray[np.bool_] | None = None
) -> pa.DictionaryArray:
    """The text of each number as a column; NULL where it is not known."""
    masked = None if known is None or known.all() else ~known
    return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32), mask=masked), texts)
