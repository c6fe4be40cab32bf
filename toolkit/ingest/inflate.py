"""A file's content in blocks of a megabyte, inflated where it is gzip, within a stated limit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip_lib, isal_zlib

from toolkit.errors import HwprofError
from toolkit.ingest.limits import INFLATED_BYTES
from toolkit.ingest.reading import WHOLE, Reading, SalvageableError

BLOCK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 16 + isal_zlib.MAX_WBITS
READ_BYTES = 1 << 18
# What stands in the same read as the damage is lost with it, so a salvage reads less at once.
SALVAGE_READ_BYTES = 1 << 12

# The library's types declare the class an instance.
_UNSOUND = cast("type[Exception]", igzip_lib.IsalError)


def blocks(path: Path, reading: Reading = WHOLE) -> Iterator[bytes]:
    """The content in blocks, none empty; they end before the damage where `reading` keeps what comes before it.

    Raises HwprofError where the file is unreadable, damaged, or over the limit.
    """
    limit = INFLATED_BYTES.value()
    total = 0
    try:
        with path.open("rb") as file:
            for block in _content(file, reading):
                total += len(block)
                if total > limit:
                    problem = f"{path} holds more than {limit} bytes once inflated."
                    raise HwprofError(problem, remedy=INFLATED_BYTES.remedy())
                yield block
                reading.came_to(file.tell())
    except _BrokenError as broken:
        size = path.stat().st_size
        problem = f"is no whole gzip file: it is damaged behind byte {broken.at} of {size}, {broken.problem}"
        kept = f"{broken.at:,} of {size:,} compressed bytes could be read, {total:,} bytes once inflated"
        reading.damaged(SalvageableError(path, problem, kept=kept))
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error


def head(path: Path, size: int) -> bytes:
    """The content's first bytes, inflated where it is gzip; none where that is damaged. Raises OSError."""
    with path.open("rb") as file:
        data = file.read(size)
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return isal_zlib.decompressobj(GZIP_WINDOW).decompress(data, size)
    except _UNSOUND:
        return b""


def ahead(content: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks; each is made by another thread while the one before it is in use."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, content, b"")
        while block := coming.result():
            coming = pool.submit(next, content, b"")
            yield block


class _BrokenError(Exception):
    """Compressed data that are damaged behind byte `at` of the file."""

    def __init__(self, problem: str, at: int) -> None:
        self.problem = problem
        self.at = at


def _content(file: BinaryIO, reading: Reading) -> Iterator[bytes]:
    magic = file.read(len(GZIP_MAGIC))
    file.seek(0)
    if magic != GZIP_MAGIC:
        return iter(lambda: file.read(BLOCK_BYTES), b"")
    if reading.salvages:
        return _gathered(_inflated(file, SALVAGE_READ_BYTES))
    return _inflated(file, READ_BYTES)


def _inflated(file: BinaryIO, read_bytes: int) -> Iterator[bytes]:
    """Inflates one gzip member after the other; zeros between and after them are padding, as for gzip itself."""
    stream = isal_zlib.decompressobj(GZIP_WINDOW)
    data = file.read(read_bytes)
    while data:
        try:
            block = stream.decompress(data, BLOCK_BYTES)
        except _UNSOUND as error:
            raise _BrokenError(str(error), file.tell() - len(data)) from error
        if block:
            yield block
        data = (stream.unused_data.lstrip(b"\0") if stream.eof else stream.unconsumed_tail) or file.read(read_bytes)
        if stream.eof and (data := data.lstrip(b"\0")):
            stream = isal_zlib.decompressobj(GZIP_WINDOW)
    if rest := stream.flush():
        yield rest
    if not stream.eof:
        raise _BrokenError("where it ends inside the compressed data", file.tell())


def _gathered(content: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of BLOCK_BYTES or more; what is gathered when `content` breaks comes before that."""
    parts, size, broken = [], 0, None
    try:
        for part in content:
            parts.append(part)
            size += len(part)
            if size >= BLOCK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
    except _BrokenError as error:
        broken = error
    if parts:
        yield b"".join(parts)
    if broken:
        raise broken
