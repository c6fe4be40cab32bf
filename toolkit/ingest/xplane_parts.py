"""The parts of an XSpace that are whole, for files whose end is not.

A space is a sequence of planes, each a message of its own, so that those before the damage can be told without it. A
plane's names stand behind its events, so of a plane that is cut off nothing can be kept.
"""

from collections.abc import Iterator
from typing import NamedTuple

from toolkit.ingest.xplane_schema import tags_of
from toolkit.ingest.xplane_wire import BYTES, LONGEST_VARINT

PLANE = tags_of("XSpace")["planes"]
_WIRE = 7
_GOES_ON = 0x80


class Part(NamedTuple):
    """A field of the space: its tag, its content, and where it ends."""

    tag: int
    content: bytes
    end: int


def parts(content: bytes) -> Iterator[Part]:
    """The fields from the first to the last that is whole; all of a space's are bytes of a stated length."""
    end = 0
    while end < len(content):
        tag, at = _varint(content, end)
        length, start = _varint(content, at)
        end = start + length
        if tag & _WIRE != BYTES or not at or not start or end > len(content):
            return
        yield Part(tag, content[start:end], end)


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at` and where it ends; 0 for its end where it has none."""
    value = 0
    for place, byte in enumerate(content[at : at + LONGEST_VARINT]):
        value |= (byte & ~_GOES_ON) << (7 * place)
        if byte < _GOES_ON:
            return value, at + place + 1
    return value, 0
