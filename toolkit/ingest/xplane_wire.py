"""Columns of many small protobuf messages at once, cut from their bytes: no Python object a message.

For bytes that the protobuf library has parsed before, so it need not find what is broken in them. It takes a fifth of
the time of the library's Python messages, nearly all of which goes into making and dropping objects.
The format: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIRE = 7
WORD_BYTES = 8
# A varint's tenth byte holds its 64th bit only.
LONGEST_VARINT = 10


def _words(*values: int) -> list[np.uint64]:
    return [np.uint64(value) for value in values]


_ENDS, _ONE, _LOW7 = _words(0x8080_8080_8080_8080, 1, 0x7F)
# Seven bits in each byte draw together to 14 in two, 28 in four, 56 in eight: which stay, which move, and how far.
_DRAW = (
    _words(0x007F_007F_007F_007F, 0x7F00_7F00_7F00_7F00, 1),
    _words(0x0000_3FFF_0000_3FFF, 0x3FFF_0000_3FFF_0000, 2),
    _words(0x0000_0000_0FFF_FFFF, 0x0FFF_FFFF_0000_0000, 4),
)
_NINTH, _TENTH = _words(56, 63)


class Fields(NamedTuple):
    """One field of each message that has one left: its message's row, its tag, value (a length for BYTES) and end.

    A tag is the field's number times 8, and how the value is written: VARINT, FIXED64, BYTES or FIXED32.
    """

    rows: Int64s
    tags: Int64s
    values: UInt64s
    ends: Int64s


class Messages:
    """Messages laid end to end."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        lengths = np.array([len(message) for message in messages], np.int64)
        self.bytes = b"".join([*messages, bytes(WORD_BYTES + LONGEST_VARINT)])
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        self._octets = np.frombuffer(self.bytes, np.uint8)
        words = len(self.bytes) - WORD_BYTES + 1
        self._words = np.ndarray((words,), "<u8", self.bytes, strides=(1,))

    def fields(self, at: Int64s, ends: Int64s) -> Iterator[Fields]:
        """The fields of the messages between `at` and `ends`: the first of each, then the second of each, and so on.

        A message ends for it where a group begins, a way of writing that no field of XPlane's uses.
        """
        rows = np.arange(len(at))
        while len(rows := rows[left := at < ends]):
            at, ends = at[left], ends[left]
            unsigned, at = self._varints(at)
            tags = unsigned.view(np.int64)
            values, after = self._varints(at)
            wire = tags & _WIRE
            if not (wire == VARINT).all():
                values = np.where(wire == FIXED64, self._words[at], values)
                ways = [wire == VARINT, wire == BYTES, wire == FIXED64, wire == FIXED32]
                after = np.select(ways, [after, after + values.view(np.int64), at + WORD_BYTES, at + 4], ends)
            at = after
            yield Fields(rows, tags, values, at)

    def _varints(self, at: Int64s) -> tuple[UInt64s, Int64s]:
        """The varints that start at `at`, and where they end."""
        words = self._words[at]
        stops = ~words & _ENDS
        first = stops & -stops
        inside = first | (first - _ONE)
        values = words & inside & ~_ENDS
        for stay, move, shift in _DRAW:
            values = (values & stay) | ((values & move) >> shift)
        ends = at + (np.bitwise_count(inside) >> 3)
        long = np.flatnonzero(stops == 0)
        if len(long):
            ninth, tenth = (self._octets[at[long] + place].astype(np.uint64) for place in (8, 9))
            goes_on = ninth > _LOW7
            values[long] |= ((ninth & _LOW7) << _NINTH) | np.where(goes_on, tenth << _TENTH, 0)
            ends[long] = at[long] + np.where(goes_on, LONGEST_VARINT, LONGEST_VARINT - 1)
        return values, ends
