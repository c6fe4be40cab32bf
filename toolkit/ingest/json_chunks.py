"""One long array of a JSON document, read piece by piece: `traceEvents`, or the document itself where that is a list.

Memory stays bounded, and the elements go through a decoder at its full speed: a piece is cut where an element seems to
end, put in brackets and decoded as an array of its own. Decoding proves the cut. The first piece begins where an
element begins; if `[piece]` is valid JSON, it is a whole number of elements and ends outside of strings and brackets;
so the next piece begins where an element begins. Where a guessed cut fails, a scanner finds the true end, slowly.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from toolkit.errors import HwprofError

T = TypeVar("T")

KEY = b'"traceEvents"'
# Small enough that a piece and what is decoded from it stay in a core's cache.
PIECE_BYTES = 1 << 20
LARGEST_BYTES = 64 << 20
DEEPEST = 512
REPAIR = "Export it again from the profiler: it was cut off or edited, or it is no trace."

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_STRING + rb'|[\[\]{},"]', re.DOTALL)
_NO_NUMBER = re.compile(_STRING + rb"|-?\b(?:nan|inf(?:inity)?)\b", re.DOTALL | re.IGNORECASE)
_OPENS_LIST = re.compile(rb"\s*:\s*\[")
_BORDER = re.compile(rb"\s*\}\s*,\s*\{")
_BLANK = re.compile(rb"\s*+")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventArray(Generic[T]):
    """Iterates over `decode(b"[...]")` of every piece; then `metadata` holds the document's other members.

    `decode` raises msgspec.DecodeError where its argument is not valid JSON. NaN and infinities, which are not JSON but
    which some writers write, are given to it as null. What is otherwise not JSON, an element of more than LARGEST_BYTES
    and nesting beyond DEEPEST (or the interpreter's recursion limit) raise HwprofError naming `path`.
    """

    def __init__(self, path: Path, blocks: Iterator[bytes], decode: Callable[[bytes], T]) -> None:
        self._path = path
        self._blocks = blocks
        self._decode = decode
        self._before = b""
        self._more = True
        self.metadata: dict[str, Any] = {}

    def __iter__(self) -> Iterator[T]:
        try:
            yield from self._pieces()
        except RecursionError as error:
            raise self._error("it nests too deep") from error
        except UnicodeDecodeError as error:
            raise self._error("a text in it is not UTF-8") from error

    def _pieces(self) -> Iterator[T]:
        text, at, closed = self._head(), 0, False
        border, first = _border(text), True
        while not closed:
            if len(text) - at < PIECE_BYTES:
                text, at = text[at:] + self._next_block(), 0
            while (found := self._piece(text, at, border)) is None:
                text, at = self._grow(text[at:]), 0
            value, end = found
            closed = text[end : end + 1] == b"]"
            if _skip_blank(text, at) == end and not (first and closed):
                raise self._error("an element is missing beside a comma")
            first = False
            yield value
            at = end + 1
        self.metadata = self._members(text[at:])

    def _head(self) -> bytes:
        """Reads to the array's opening bracket and keeps what stands before it; gives what follows."""
        text = self._next_block()
        while (start := _array_start(text := text.removeprefix(_BYTE_ORDER_MARK))) is None:
            if not self._more:
                raise self._error(_why_no_array(text))
            text = self._grow(text)
        self._before = text[:start]
        return text[start:]

    def _piece(self, text: bytes, at: int, border: bytes) -> tuple[T, int] | None:
        """The elements from `at` on, decoded, and where the comma or bracket behind them stands; None if cut off."""
        guess = text.rfind(border, at, at + PIECE_BYTES)
        if guess >= 0:
            end = guess + border.index(b",")
            try:
                return self._decoded(text, at, end), end
            except msgspec.DecodeError:
                pass  # the cut is wrong, or the text is: the scanner tells which
        true_end = _elements_end(text, at)
        if true_end is None:
            return None
        try:
            return self._decoded(text, at, true_end), true_end
        except msgspec.DecodeError as error:
            raise self._error(str(error)) from error

    def _decoded(self, text: bytes, at: int, end: int) -> T:
        piece = b"".join((b"[", memoryview(text)[at:end], b"]"))
        try:
            return self._decode(piece)
        except msgspec.DecodeError:
            repaired = _without_nan(piece)
            if repaired == piece:
                raise
            return self._decode(repaired)

    def _members(self, text: bytes) -> dict[str, Any]:
        """Everything of the document but the array, whose elements are already gone."""
        text = self._read_on(text, at_least=LARGEST_BYTES)
        try:
            document = msgspec.json.decode(_without_nan(self._before + b"]" + text))
        except msgspec.DecodeError as error:
            raise self._error(str(error)) from error
        if isinstance(document, list):
            return {}
        if document.pop("traceEvents") != []:
            raise self._error("traceEvents stands in it twice")
        return dict(document)

    def _next_block(self) -> bytes:
        block = next(self._blocks, b"")
        self._more = bool(block)
        return block

    def _grow(self, text: bytes) -> bytes:
        """Twice the text, so that scanning it again from its start stays linear in what is read."""
        if not self._more:
            raise self._error("it ends before its list of events does")
        return self._read_on(text, at_least=len(text) + 1)

    def _read_on(self, text: bytes, *, at_least: int) -> bytes:
        parts, size = [text], len(text)
        while size < len(text) + at_least and (block := self._next_block()):
            parts.append(block)
            size += len(block)
            if size > LARGEST_BYTES:
                raise self._error(f"one element or member is larger than {LARGEST_BYTES} bytes")
        return b"".join(parts)

    def _error(self, problem: str) -> HwprofError:
        return HwprofError(f"{self._path} cannot be read as JSON: {problem}.", remedy=REPAIR)


def _border(text: bytes) -> bytes:
    """What seems to stand between two events, with the indentation that a nested object would not have."""
    found = _BORDER.search(text)
    return found[0] if found else b"},{"


def _array_start(text: bytes) -> int | None:
    """Behind the bracket that opens the array; None where it is not there yet."""
    start = _skip_blank(text)
    if text[start : start + 1] == b"[":
        return start + 1
    if text[start : start + 1] != b"{":
        return None
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] == KEY and depth == 1 and (opened := _OPENS_LIST.match(text, token.end())):
            return opened.end()
        if token[0] == b'"':
            return None
        depth = _deeper(depth, token[0])
    return None


def _elements_end(text: bytes, at: int) -> int | None:
    """Where the array closes, else the last comma between its elements, else None; at `at` an element begins."""
    depth, last = 0, None
    for token in _TOKEN.finditer(text, at):
        if token[0] == b'"':  # a string that the text cuts off
            return last
        if token[0] == b"," and depth == 0:
            last = token.start()
        depth = _deeper(depth, token[0])
        if depth < 0:
            return token.start()
    return last


def _deeper(depth: int, token: bytes) -> int:
    if token in (b"{", b"["):
        if depth == DEEPEST:
            raise RecursionError
        return depth + 1
    return depth - 1 if token in (b"}", b"]") else depth


def _skip_blank(text: bytes, at: int = 0) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _without_nan(text: bytes) -> bytes:
    """Bare NaN and infinities, of any sign and case, become null."""
    return _NO_NUMBER.sub(lambda found: found[0] if found[0].startswith(b'"') else b"null", text)


def _why_no_array(text: bytes) -> str:
    if _skip_blank(text) == len(text):
        return "it is empty"
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return str(error)
    return "it holds no list traceEvents"
