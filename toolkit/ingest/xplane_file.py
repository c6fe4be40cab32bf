"""An XPlane file walked by its frame: planes, lines, and where events begin, a window of the file in memory at a time.

The protobuf library parses whole messages only, and a plane, or a line, may be nearly the whole file. So what can be
large is walked here field by field, and what is small goes to the library: a plane without its lines, a line without
its events. Fields may stand in any order, as the library takes them. Wherever the file is broken, DamageError.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from toolkit.ingest.xplane_schema import tags_of
from toolkit.ingest.xplane_wire import (
    BYTES,
    FIXED32,
    FIXED64,
    LONGEST_VARINT,
    PADDING,
    VARINT,
    WORD_BYTES,
    DamageError,
    Int64s,
    Messages,
)

# What numpy takes at a time: large enough that its calls cost little, small enough for the processor's cache.
WINDOW_BYTES = 1 << 21
HEADS_BYTES = 1 << 14
# Writers put a line's own fields before its events and behind them, so few windows have more than two runs of events.
BLIND_TRIES = 4

PLANES, LINES, EVENTS = tags_of("XSpace")["planes"], tags_of("XPlane")["lines"], tags_of("XLine")["events"]

_HEAD_BYTES = 2 * LONGEST_VARINT
_WIRE = 7
_FIRST_TAG = 8
_CONTINUES, _LOW7 = 0x80, 0x7F
_SIZES = {FIXED64: WORD_BYTES, FIXED32: WORD_BYTES // 2}
_CUT_OFF = "a message in it is cut off"
_NO_MESSAGE = "a message in it is no protobuf message"


class Span(NamedTuple):
    """Where bytes lie in the file."""

    start: int
    end: int


class Window(NamedTuple):
    """A part of a line, and where in it events begin."""

    span: Span
    heads: Int64s


class Events(NamedTuple):
    """Events: the bytes that they lie in, and where each begins and ends there."""

    content: Messages
    starts: Int64s
    ends: Int64s


class File:
    """An open file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._heads, self._heads_at = b"", 0
        self.whole = Span(0, os.fstat(descriptor).st_size)

    def split(self, message: Span, tag: int) -> tuple[list[Span], bytes]:
        """Where the values of the message's fields of this tag lie, and all its other fields as they stand."""
        chosen: list[Span] = []
        others: list[Span] = []
        for start, found, value, end in self.fields(message):
            if found == tag:
                chosen.append(Span(value, end))
            elif others and others[-1].end == start:
                others[-1] = Span(others[-1].start, end)
            else:
                others.append(Span(start, end))
        return chosen, b"".join(map(self._read, others))

    def line(self, line: Span) -> tuple[bytes, list[Window]]:
        """A line's own fields as they stand, and its events."""
        own: list[bytes] = []
        windows = []
        at, size = line.start, WINDOW_BYTES
        while at < line.end:
            data = self._read(Span(at, min(at + size, line.end)))
            heads, reached = _cut(data, own)
            if not reached and at + len(data) == line.end:
                raise DamageError(_CUT_OFF)
            if heads:
                windows.append(Window(Span(at, at + reached), np.concatenate(heads).astype(np.uint32)))
            at, size = at + reached, WINDOW_BYTES if reached else 2 * size
        return b"".join(own), windows

    def events(self, window: Window) -> Events:
        """The events of a window."""
        content = Messages(self._read(window.span) + PADDING)
        lengths, starts = content.varints(window.heads.astype(np.int64) + 1)
        return Events(content, starts, starts + lengths.view(np.int64))

    def fields(self, message: Span) -> Iterator[tuple[int, int, int, int]]:
        """Each field of a message: start, tag, start of the value, end; DamageError behind the last that is whole."""
        at = message.start
        while at < message.end:
            try:
                tag, value, end = _field(self._head(at), 0)
            except IndexError:
                raise DamageError(_CUT_OFF) from None
            if at + end > message.end:
                raise DamageError(_CUT_OFF)
            yield at, tag, at + value, at + end
            at += end

    def _head(self, at: int) -> bytes:
        """The first bytes of a field."""
        place = at - self._heads_at
        if not 0 <= place <= len(self._heads) - _HEAD_BYTES:
            self._heads, self._heads_at, place = self._read(Span(at, min(at + HEADS_BYTES, self.whole.end))), at, 0
        return self._heads[place : place + _HEAD_BYTES]

    def _read(self, span: Span) -> bytes:
        try:
            data = os.pread(self._descriptor, span.end - span.start, span.start)
        except OSError as error:
            raise DamageError(f"it cannot be read: {error.strerror}") from error
        if len(data) < span.end - span.start:
            raise DamageError("it has become shorter while it was read")
        return data


def _cut(data: bytes, own: list[bytes]) -> tuple[list[Int64s], int]:
    """Where the events among a line's fields begin, and the end of the last field that is whole; others go to `own`."""
    heads: list[Int64s] = []
    at, tries = 0, BLIND_TRIES
    try:
        while at < len(data):
            if tries and data[at] == EVENTS:
                found, at = _events(data, at)
                heads.append(found)
                tries -= 1
            tag, _, end = _field(data, at)
            if end > len(data):
                break
            if tag != EVENTS:
                own.append(data[at:end])
            elif data[at] == EVENTS:
                heads.append(np.array([at]))
            else:
                raise DamageError(_NO_MESSAGE)
            at = end
    except IndexError:  # the window ends in a field's head
        pass
    return heads, at


def _events(data: bytes, at: int) -> tuple[Int64s, int]:
    """Where the events that follow one another from here on begin, and the end of the last.

    Takes every field for an event with a length of one or two bytes, and looks only then whether it was one, because a
    trace has millions of events, and hardly anything between them.
    """
    lengths: list[int] = []
    append = lengths.append
    place = at + 1
    try:
        while True:
            append(place)
            length = data[place]
            if length < _CONTINUES:
                place += 2 + length
            elif (more := data[place + 1]) < _CONTINUES:
                place += 3 + (length & _LOW7 | more << 7)
            else:
                break
    except IndexError:
        pass
    borders = np.fromiter(lengths, np.int64, len(lengths)) - 1
    whole = int(np.searchsorted(borders[1:], len(data), side="right"))
    others = np.flatnonzero(np.frombuffer(data, np.uint8)[borders[:whole]] != EVENTS)
    events = int(others[0]) if len(others) else whole
    return borders[:events], int(borders[events])


def _field(data: bytes, at: int) -> tuple[int, int, int]:
    """The field at this place: tag, start of the value and end; IndexError where the data end in its head."""
    tag, value = _varint(data, at)
    wire = tag & _WIRE
    if tag < _FIRST_TAG:
        raise DamageError(_NO_MESSAGE)
    if wire == VARINT:
        return tag, value, _varint(data, value)[1]
    if wire == BYTES:
        length, value = _varint(data, value)
        return tag, value, value + length
    if wire in _SIZES:
        return tag, value, value + _SIZES[wire]
    raise DamageError(_NO_MESSAGE)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = 0
    for place in range(LONGEST_VARINT):
        octet = data[at + place]
        value |= (octet & _LOW7) << 7 * place
        if octet < _CONTINUES:
            return value, at + place + 1
    raise DamageError(_NO_MESSAGE)
