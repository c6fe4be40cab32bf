"""Microseconds as decimal text to exact nanoseconds."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation, localcontext

import numpy as np
import numpy.typing as npt
from msgspec import Raw

from toolkit.clock import NS_PER_US, us_to_ns
from toolkit.ingest.arrays import pa
from toolkit.ingest.columns import LATEST_NS, Ns

LONGEST_DECIMAL = 64

_TOO_LARGE = "beyond any time"
_NO_NUMBER = "no number"
_SEPARATOR = b","
# Digits to the left are far more than int64 takes; one decimal place beyond the nanosecond is an error, not rounded.
_THOUSANDTHS = pa.decimal128(28, 3)


def ns_of_texts(texts: Sequence[Raw]) -> tuple[Ns, npt.NDArray[np.bool_]]:
    """Microseconds to nanoseconds (half to even), and which are times; the others are 0."""
    try:
        ns = _thousandths(_SEPARATOR + _SEPARATOR.join(texts), len(texts))
    except pa.ArrowInvalid:  # something else than a number, a digit beyond the nanosecond, or more than any time has
        return _one_by_one(texts)
    return ns, np.ones(len(ns), dtype=bool)


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
