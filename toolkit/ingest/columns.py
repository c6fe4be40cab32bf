"""Lists of decoded values to Arrow columns: exact nanoseconds from decimal text, and strings without a call each."""

from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal, InvalidOperation, localcontext
from typing import TypeVar

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
# Digits to the left are far more than int64 takes; one decimal place beyond the nanosecond is an error, not rounded.
_THOUSANDTHS = pa.decimal128(28, 3)

Ns = npt.NDArray[np.int64]
V = TypeVar("V", bound=Hashable)


def ns_of_us(texts: Sequence[Raw]) -> tuple[Ns, npt.NDArray[np.bool_]]:
    """Decimal microseconds as text to nanoseconds (half to even), and which of them are times; the others are 0.

    No time: what is no number, and what lies outside of ±LATEST_NS. Equal to `clock.us_to_ns` on each.
    """
    joined = b"".join(texts)
    lengths = np.fromiter(map(len, texts), dtype=np.int32, count=len(texts))
    try:
        ns = _thousandths(joined, lengths)
    except pa.ArrowInvalid:  # something else than a number, a digit beyond the nanosecond, or more than any time has
        return _one_by_one(texts)
    return ns, np.ones(len(ns), dtype=bool)


def on_axis(ts_ns: Ns) -> npt.NDArray[np.bool_]:
    """Which moments lie on the axis that the store can hold."""
    inside: npt.NDArray[np.bool_] = (ts_ns > -LONGEST_NS) & (ts_ns < LATEST_NS)
    return inside


def _thousandths(decimals: bytes, lengths: npt.NDArray[np.int32]) -> Ns:
    """Decimals, joined, as integers of their thousandths. Raises ArrowInvalid where one is none, or too large."""
    points = decimals.count(b".")
    if points == 0:
        return _checked(_text_column(decimals, lengths).cast(pa.int64()), LATEST_NS // NS_PER_US) * NS_PER_US
    if points == len(lengths) and _three_places(decimals, lengths):
        return _checked(_text_column(decimals.replace(b".", b""), lengths - 1).cast(pa.int64()), LATEST_NS)
    words = _text_column(decimals, lengths).cast(_THOUSANDTHS)
    # A decimal128 is the integer of its thousandths: 16 bytes, little-endian.
    low, high = np.frombuffer(words.buffers()[1], dtype=np.int64).reshape(-1, 2)[: len(words)].T
    if np.any(high != low >> 63):
        raise pa.ArrowInvalid(_TOO_LARGE)
    return _checked(np.ascontiguousarray(low), LATEST_NS)


def _three_places(decimals: bytes, lengths: npt.NDArray[np.int32]) -> bool:
    """Whether each decimal's fourth byte from the end is its point, as Kineto writes them."""
    text = np.frombuffer(decimals, dtype=np.uint8)
    return bool(lengths.min() > len(".000") and np.all(text[np.cumsum(lengths) - len(".000")] == ord(".")))


def _checked(values: pa.Int64Array | Ns, limit: int) -> Ns:
    numbers = np.asarray(values)
    if np.any(numbers >= limit) or np.any(numbers <= -limit):
        raise pa.ArrowInvalid(_TOO_LARGE)
    return numbers


def _text_column(joined: bytes, lengths: npt.NDArray[np.int32]) -> pa.StringArray:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(joined))


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


def strings(texts: Sequence[str]) -> pa.StringArray:
    """The texts as a column; one join instead of a call a text is six times faster than `pa.array`."""
    joined = "".join(texts).encode()
    sizes = map(len, texts) if joined.isascii() else (len(text.encode()) for text in texts)
    return _text_column(joined, np.fromiter(sizes, dtype=np.int32, count=len(texts)))


def repeating(values: Sequence[V], text: Callable[[V], str | None]) -> pa.StringArray:
    """`text` of each value as a column, called once for each distinct one."""
    numbers = {value: number for number, value in enumerate(set(values))}
    texts = pa.array([text(value) for value in numbers], pa.string())
    if len(numbers) == 1:
        return pa.repeat(texts[0], len(values))
    codes = [numbers[value] for value in values]
    few = len(numbers) <= 1 << 8  # then bytes hold the codes, and need no conversion
    return texts.take(pa.array(np.frombuffer(bytes(codes), dtype=np.uint8) if few else np.array(codes, dtype=np.int32)))
