"""Columns of many small protobuf messages at once, cut from their bytes: no Python object a message.

What the store takes is columns, so an object for each event and stat would be made only to be taken apart. What is
broken gives a DamageError, as with the library; a group, a way of writing that no field of XPlane's uses, counts as
broken. The format: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIRE = 7
_FIRST_TAG = 8
WORD_BYTES = 8
# A varint's tenth byte holds its 64th bit only.
LONGEST_VARINT = 10
# What is read beyond a message's last byte at most: a tag, a value, and the eight bytes that a value is cut from.
PADDING = bytes(2 * LONGEST_VARINT + WORD_BYTES)


def _words(*values: int) -> list[np.uint64]:
    return [np.uint64(value) for value in values]


_ENDS, _ONE, _LOW7 = _words(0x8080_8080_8080_8080, 1, 0x7F)
# Seven bits in each byte draw together to 14 in two, 28 in four, 56 in eight: which stay, which move, and how far.
_DRAW = (
    _words(0x007F_007F_007F_007F, 0x7F00_7F00_7F00_7F00, 1),
    _words(0x0000_3FFF_0000_3FFF, 0x3FFF_0000_3FFF_0000, 2),
    _words(0x0000_0000_0FFF_FFFF, 0x0FFF_FFFF_0000_0000, 4),
)
_SEVEN, _NINTH, _TENTH = _words(7, 56, 63)
_CONTINUES = 0x80
_KNOWN_WIRES = np.isin(np.arange(_WIRE + 1), (VARINT, FIXED64, BYTES, FIXED32))


class DamageError(Exception):
    """A file is no whole XPlane trace; the text says why."""


class Fields(NamedTuple):
    """One field of each message that has one left: its message's row, its tag, value (a length for BYTES) and end.

    A tag is the field's number times 8, and how the value is written: VARINT, FIXED64, BYTES or FIXED32. `only` is the
    tag that all have, if they do.
    """

    rows: Int64s
    tags: Int64s
    values: UInt64s
    ends: Int64s
    only: int | None

    def of(self, tag: int) -> tuple[Int64s, UInt64s, Int64s]:
        """Rows, values and ends of those with this tag."""
        if self.only == tag:
            return self.rows, self.values, self.ends
        chosen = np.flatnonzero(self.tags == tag) if self.only is None else slice(0)
        return self.rows[chosen], self.values[chosen], self.ends[chosen]


class Messages:
    """Bytes in which messages lie, with PADDING behind them; `at`, `starts` and `ends` count from their beginning."""

    def __init__(self, content: bytes) -> None:
        self.bytes = content
        self.octets = np.frombuffer(self.bytes, np.uint8)
        self._words = np.ndarray((len(self.bytes) - WORD_BYTES + 1,), "<u8", self.bytes, strides=(1,))

    def fields(self, starts: Int64s, ends: Int64s) -> Iterator[Fields]:
        """The fields of the messages between `starts` and `ends`: the first of each, then the second of each, and on.

        Raises DamageError where one is broken.
        """
        rows, at = np.arange(len(starts)), starts
        while True:
            left = at < ends
            if not left.all():
                rows, at, ends = rows[left], at[left], ends[left]
            if not len(rows):
                return
            unsigned, at = self.varints(at)
            tags = unsigned.view(np.int64)
            only = int(tags[0]) if (tags == tags[0]).all() else None
            values, after = self._values(tags, only, at, ends)
            if (after > ends).any():
                raise DamageError("a message in it is cut off")
            yield Fields(rows, tags, values, after, only)
            at = after

    def _values(self, tags: Int64s, only: int | None, at: Int64s, ends: Int64s) -> tuple[UInt64s, Int64s]:
        """Values, a length for BYTES, and where each field ends."""
        wire = tags & _WIRE if only is None else np.array([only & _WIRE])
        if (tags[: len(wire)] < _FIRST_TAG).any() or not _KNOWN_WIRES[wire].all():
            raise DamageError("a message in it is no protobuf message")
        values, after = self.varints(at)
        if (wire == BYTES).any():
            # a length beyond the message, which may be any number, ends one byte beyond it
            most = (np.maximum(ends - at, 0) + 1).astype(np.uint64)
            after = np.where(wire == BYTES, after + np.minimum(values, most).view(np.int64), after)
        if (wire == FIXED64).any():
            values = np.where(wire == FIXED64, self._words[at], values)
            after = np.where(wire == FIXED64, at + WORD_BYTES, after)
        if (wire == FIXED32).any():
            after = np.where(wire == FIXED32, at + WORD_BYTES // 2, after)
        return values, after

    def varints(self, at: Int64s) -> tuple[UInt64s, Int64s]:
        """The varints that start at `at`, and where they end."""
        first = self.octets[at]
        if not len(at) or first.max() < _CONTINUES:
            return first.astype(np.uint64), at + 1
        second = self.octets[at + 1]
        two = first >= _CONTINUES
        if second[two].max() < _CONTINUES:
            return np.where(two, (first & _LOW7) | (second.astype(np.uint64) << _SEVEN), first), at + 1 + two
        words = self._words[at]
        stops = ~words & _ENDS
        lowest = stops & -stops
        inside = lowest | (lowest - _ONE)
        values = words & inside & ~_ENDS
        for stay, move, shift in _DRAW:
            moved = values & move
            moved >>= shift
            values &= stay
            values |= moved
        ends = at + (np.bitwise_count(inside) >> 3)
        long = np.flatnonzero(stops == 0)
        if len(long):
            ninth, tenth = (self.octets[at[long] + place].astype(np.uint64) for place in (8, 9))
            goes_on = ninth > _LOW7
            values[long] |= ((ninth & _LOW7) << _NINTH) | np.where(goes_on, tenth << _TENTH, 0)
            ends[long] = at[long] + np.where(goes_on, LONGEST_VARINT, LONGEST_VARINT - 1)
        return values, ends
