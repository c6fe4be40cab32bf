"""Where the elements of a JSON array stand in its text, without decoding it: slow, and only what decoding cannot tell.

A position is an index into the text. What nests deeper than allowed raises RecursionError.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator

import msgspec
from msgspec import Raw

KEY = b'"traceEvents"'

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_STRING + rb'|[\[\]{},"]', re.DOTALL)
# A string that nothing closes ends with the text: looking for its end again from each quote in it would take for ever.
_ANY_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_NO_NUMBER = re.compile(_ANY_STRING + rb"|-?\b(?:nan|inf(?:inity)?)\b", re.DOTALL | re.IGNORECASE)
_OPENS_LIST = re.compile(rb"\s*:\s*\[")
_BORDER = re.compile(rb"\}\s*+,\s*+\{")
_WHITE = b" \t\r\n"
_BLANK = re.compile(rb"\s*+")


def array_start(text: bytes, deepest: int) -> int | None:
    """Behind the bracket that opens the array; None where it is not there yet."""
    start = skip_blank(text)
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
        depth = _deeper(depth, token[0], deepest)
    return None


def why_no_array(text: bytes) -> str:
    """What is wrong with a whole document in which `array_start` finds nothing."""
    if skip_blank(text) == len(text):
        return "it is empty"
    try:
        msgspec.json.decode(text, type=Raw)
    except msgspec.DecodeError as error:
        return str(error)
    return "it holds no list traceEvents"


def border(text: bytes) -> bytes:
    """What seems to stand between two events, with the indentation that a nested object would not have."""
    found = _BORDER.search(text)
    if not found:
        return b"},{"
    indented = len(text[: found.start()].rstrip(_WHITE))
    return text[indented : found.end()]


def elements_end(text: bytes, at: int, deepest: int) -> int | None:
    """Where the array closes, else the last comma between its elements, else None; at `at` an element begins."""
    last = None
    for last in _ends(text, at, deepest):  # noqa: B007 - the last is what is wanted
        pass
    return last


def whole_end(text: bytes, at: int, deepest: int) -> int:
    """Behind the last element from `at` on that is valid JSON together with all before it; `at` where none is."""
    ends = [at]
    try:
        for end in _ends(text, at, deepest):
            ends.append(end)  # noqa: PERF402 - what was found before an error counts
    except RecursionError:
        pass
    broken = bisect_left(range(1, len(ends)), True, key=lambda place: not _is_whole(text, at, ends[place]))  # noqa: FBT003
    return ends[broken]


def as_array(text: bytes, at: int, end: int) -> bytes:
    """The elements between two positions, in brackets."""
    return b"".join((b"[", memoryview(text)[at:end], b"]"))


def without_nan(text: bytes) -> bytes:
    """Bare NaN and infinities, of any sign and case, become null."""
    return _NO_NUMBER.sub(lambda found: found[0] if found[0].startswith(b'"') else b"null", text)


def skip_blank(text: bytes, at: int = 0) -> int:
    """Behind the white space that begins at `at`."""
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _ends(text: bytes, at: int, deepest: int) -> Iterator[int]:
    """The commas between elements, then the bracket that closes the array, as far as the text reaches."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        if token[0] == b'"':  # a string that the text cuts off
            return
        if token[0] == b"," and depth == 0:
            yield token.start()
        depth = _deeper(depth, token[0], deepest)
        if depth < 0:
            yield token.start()
            return


def _deeper(depth: int, token: bytes, deepest: int) -> int:
    if token in (b"{", b"["):
        if depth == deepest:
            raise RecursionError
        return depth + 1
    return depth - 1 if token in (b"}", b"]") else depth


def _is_whole(text: bytes, at: int, end: int) -> bool:
    piece = as_array(text, at, end)
    try:
        piece.decode()  # a text that is not UTF-8 passes for a Raw
        msgspec.json.decode(without_nan(piece), type=list[Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
