"""One long array of a JSON document, read piece by piece: `traceEvents`, or the document itself where that is a list.

Memory stays bounded, and the elements go through a decoder at its full speed: a piece is cut where an element seems to
end, put in brackets and decoded as an array of its own. Decoding proves the cut. The first piece begins where an
element begins; if `[piece]` is valid JSON, it is a whole number of elements and ends outside of strings and brackets;
so the next piece begins where an element begins. Where a guessed cut fails, a scanner finds the true end, slowly.
Pieces may be cut, and their decoding begun, before the one in front is known to be right: if not, they are cut anew.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from toolkit.errors import HwprofError
from toolkit.ingest import json_text
from toolkit.ingest.limits import EVENT_BYTES, MEMBER_BYTES, NESTING, Limit
from toolkit.ingest.reading import WHOLE, Reading, SalvageableError

T = TypeVar("T")

# Small enough that a piece and what is decoded from it stay in a core's cache.
PIECE_BYTES = 1 << 20
REPAIR = "Export it again from the profiler: it was cut off or edited, or it is no trace."

# How many pieces may be begun before the one in front is known.
MOST_BEGUN = 8

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def at_once(decode: Callable[[bytes], T], piece: bytes) -> Future[T]:
    """What `decode_tolerantly` makes of a piece, known already."""
    future: Future[T] = Future()
    try:
        future.set_result(decode_tolerantly(decode, piece))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        future.set_exception(error)
    return future


def decode_tolerantly(decode: Callable[[bytes], T], piece: bytes) -> T:
    """What `decode` makes of a piece, in which NaN and infinities count as null."""
    try:
        return decode(piece)
    except msgspec.DecodeError:
        repaired = json_text.without_nan(piece)
        if repaired == piece:
            raise
        return decode(repaired)


class _Begun(NamedTuple, Generic[T]):
    """A piece from the byte `offset` of the document on, in brackets, and what becomes of it."""

    text: bytes
    offset: int
    result: Future[T]


class EventArray(Generic[T]):
    """Iterates over `decode(b"[...]")` of every piece; then `metadata` holds the document's other members.

    Where `begin` is given, pieces go there first, to be known later: it may have another process decode them.

    `decode` raises msgspec.DecodeError where its argument is not valid JSON. NaN and infinities, which are not JSON but
    which some writers write, are given to it as null. What is otherwise not JSON, and an element or nesting over the
    limits, raise HwprofError naming `path` and the byte; unless `reading` keeps what comes before that: then the pieces
    end there, `whole` turns false, and `metadata` holds the members before the array.
    """

    def __init__(
        self,
        path: Path,
        blocks: Iterator[bytes],
        decode: Callable[[bytes], T],
        reading: Reading = WHOLE,
        begin: Callable[[bytes], Future[T]] | None = None,
    ) -> None:
        self._path = path
        self._blocks = blocks
        self._decode = decode
        self._begin = begin or partial(at_once, decode)
        self._most_begun = MOST_BEGUN if begin else 1
        self._reading = reading
        self._event_bytes, self._member_bytes, self._deepest = (
            limit.value() for limit in (EVENT_BYTES, MEMBER_BYTES, NESTING)
        )
        self._before = b""
        self._more = True
        # What of the document is in memory, the byte that it begins with, and where in it the next element does.
        self._text, self._offset, self._at = b"", 0, 0
        # Whether the next element must be found by the scanner.
        self._misled = False
        self.whole = True
        self.metadata: dict[str, Any] = {}

    def __iter__(self) -> Iterator[T]:
        try:
            self._find_array()
            yield from self._pieces()
            self.metadata = self._members()
        except _BrokenError as broken:
            yield from self._kept(broken)

    def _find_array(self) -> None:
        """Reads to the array's opening bracket and keeps what stands before it."""
        text = self._next_block()
        try:
            while (start := json_text.array_start(text := self._unmarked(text), self._deepest)) is None:
                if not self._more:
                    raise self._refused(json_text.why_no_array(text))
                text = self._grow(text, MEMBER_BYTES, self._member_bytes)
        except _BrokenError as broken:
            raise self._refused(broken.problem, broken.remedy) from broken
        except RecursionError as error:
            raise self._refused(self._too_deep()) from error
        self._before, self._text, self._at = text[:start], text, start

    def _unmarked(self, text: bytes) -> bytes:
        if text.startswith(_BYTE_ORDER_MARK):
            self._offset = len(_BYTE_ORDER_MARK)
        return text.removeprefix(_BYTE_ORDER_MARK)

    def _pieces(self) -> Iterator[T]:
        closed, first = False, True
        border = json_text.border(self._text[self._at :])
        begun: deque[_Begun[T]] = deque()
        while not closed:
            while len(begun) < self._most_begun and (piece := self._guessed(border)):
                begun.append(piece)
            if begun:
                try:
                    value = begun[0].result.result()
                    begun.popleft()
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self._go_back(begun)
                    begun.clear()
                    continue
            else:
                value, end = self._next_piece()
                closed = self._text[end : end + 1] == b"]"
                if json_text.skip_blank(self._text, self._at) == end and not (first and closed):
                    raise _BrokenError("an element is missing beside a comma")
                self._at = end + 1
            first = False
            yield value

    def _guessed(self, border: bytes) -> _Begun[T] | None:
        """The next piece, cut where an element seems to end; None where none does, or such a cut was wrong here."""
        if self._misled:
            return None
        if len(self._text) - self._at < PIECE_BYTES:
            self._drop_read()
            self._text += self._next_block()
        guess = self._text.rfind(border, self._at, self._at + PIECE_BYTES)
        if guess < 0:
            return None
        end = guess + border.index(b",")
        text, offset = json_text.as_array(self._text, self._at, end), self._offset + self._at
        self._at = end + 1
        return _Begun(text, offset, self._begin(text))

    def _go_back(self, begun: Iterable[_Begun[T]]) -> None:
        """Takes back pieces whose first was cut in a wrong place, or is no JSON."""
        self._offset = next(iter(begun)).offset
        self._text = b",".join([*(piece.text[1:-1] for piece in begun), self._text[self._at :]])
        self._at, self._misled = 0, True

    def _next_piece(self) -> tuple[T, int]:
        """The next elements, as many as are in memory, and where the comma or bracket behind them stands."""
        self._misled = False
        try:
            while (end := json_text.elements_end(self._text, self._at, self._deepest)) is None:
                self._drop_read()
                self._text = self._grow(self._text, EVENT_BYTES, self._event_bytes)
            return self._decoded(self._text, self._at, end), end
        except msgspec.DecodeError as error:
            raise _BrokenError(str(error)) from error
        except RecursionError as error:
            raise _BrokenError(self._too_deep()) from error
        except UnicodeDecodeError as error:
            raise _BrokenError("a text in it is not UTF-8") from error

    def _decoded(self, text: bytes, at: int, end: int) -> T:
        return decode_tolerantly(self._decode, json_text.as_array(text, at, end))

    def _members(self) -> dict[str, Any]:
        """Everything of the document but the array, whose elements are already gone."""
        self._drop_read()
        behind, self._text = self._text, b""
        try:
            behind = self._read_on(behind, up_to=self._member_bytes + 1)
            if len(self._before) + len(behind) > self._member_bytes:
                problem = f"the members beside its events are larger than {self._member_bytes} bytes"
                raise _BrokenError(problem, remedy=MEMBER_BYTES.remedy())
            document = msgspec.json.decode(json_text.without_nan(self._before + b"]" + behind))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _BrokenError(str(error)) from error
        except RecursionError as error:
            raise _BrokenError(self._too_deep()) from error
        if isinstance(document, list):
            return {}
        if document.pop("traceEvents") != []:
            raise self._refused("traceEvents stands in it twice")
        return dict(document)

    def _kept(self, broken: "_BrokenError") -> Iterator[T]:
        """The last elements before what is broken, where they are to be kept; else raises HwprofError."""
        end = json_text.whole_end(self._text, self._at, self._deepest)
        try:
            values = [self._decoded(self._text, self._at, end)] if end > self._at else []
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            values, end = [], self._at
        byte = self._offset + end
        problem = f"cannot be read as JSON from byte {byte} on: {broken.problem}"
        kept = f"events are kept up to byte {byte:,} of the JSON text"
        self._reading.damaged(SalvageableError(self._path, problem, kept=kept, remedy=broken.remedy))
        self.whole = False
        self.metadata = self._members_before()
        yield from values

    def _members_before(self) -> dict[str, Any]:
        try:
            document = msgspec.json.decode(json_text.without_nan(self._before + b"]}"))
        except (ValueError, RecursionError):  # a bare list has no members
            return {}
        return {name: value for name, value in document.items() if name != "traceEvents"}

    def _drop_read(self) -> None:
        self._offset += self._at
        self._text, self._at = self._text[self._at :], 0

    def _next_block(self) -> bytes:
        block = next(self._blocks, b"")
        self._more = bool(block)
        return block

    def _grow(self, text: bytes, limit: Limit, most: int) -> bytes:
        """Twice the text, so that scanning it again from its start stays linear in what is read."""
        if not self._more:
            raise _BrokenError("it ends before its list of events does")
        if len(text) > most:
            raise _BrokenError(f"one element or member is larger than {most} bytes", remedy=limit.remedy())
        return self._read_on(text, up_to=min(2 * len(text), most) + 1)

    def _read_on(self, text: bytes, *, up_to: int) -> bytes:
        parts, size = [text], len(text)
        while size < up_to and (block := self._next_block()):
            parts.append(block)
            size += len(block)
        return b"".join(parts)

    def _too_deep(self) -> str:
        return f"it nests deeper than {self._deepest} ({NESTING.variable})"

    def _refused(self, problem: str, remedy: str = REPAIR) -> HwprofError:
        return HwprofError(f"{self._path} cannot be read as JSON: {problem}.", remedy=remedy)


class _BrokenError(Exception):
    """The document from the next element on."""

    def __init__(self, problem: str, remedy: str = REPAIR) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
