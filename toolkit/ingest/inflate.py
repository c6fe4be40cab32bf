"""A file's content in blocks of a megabyte, inflated where it is gzip, within a stated limit."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

from isal import isal_zlib

from toolkit.errors import HwprofError

BLOCK_BYTES = 1 << 20
LIMIT_VARIABLE = "HWPROF_MAX_INFLATED_BYTES"
DEFAULT_LIMIT_BYTES = 16 << 30
GZIP_MAGIC = b"\x1f\x8b"
# The stub gives the class as an instance of Exception.
INFLATE_ERROR = cast(type[Exception], isal_zlib.error)
GZIP_WINDOW = 16 + isal_zlib.MAX_WBITS
READ_BYTES = 1 << 18
DAMAGED = "Take the file again from where it was written: it was cut off or damaged on the way."


def limit_bytes() -> int:
    """How much a trace may hold once inflated: HWPROF_MAX_INFLATED_BYTES, 16 GiB unless set."""
    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT_BYTES))
    if not text.isascii() or not text.isdigit():
        raise HwprofError(f"{LIMIT_VARIABLE} is {text!r}.", remedy="Give it as a whole number of bytes.")
    return int(text)


def blocks(path: Path) -> Iterator[bytes]:
    """The content in blocks, none empty. Raises HwprofError where it is unreadable, damaged, or over `limit_bytes`."""
    limit = limit_bytes()
    total = 0
    try:
        with path.open("rb") as file:
            compressed = file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
            for block in _inflated(file) if compressed else iter(lambda: file.read(BLOCK_BYTES), b""):
                total += len(block)
                if total > limit:
                    remedy = f"If it is to be trusted, set {LIMIT_VARIABLE} higher."
                    raise HwprofError(f"{path} holds more than {limit} bytes once inflated.", remedy=remedy)
                yield block
    except (EOFError, INFLATE_ERROR) as error:
        raise HwprofError(f"{path} is no whole gzip file: {error}.", remedy=DAMAGED) from error
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error


def ahead(content: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks; each is made by another thread while the one before it is in use."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, content, b"")
        while block := coming.result():
            coming = pool.submit(next, content, b"")
            yield block


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """Inflates one gzip member after the other; zeros between and after them are padding, as for gzip itself."""
    stream = isal_zlib.decompressobj(GZIP_WINDOW)
    data = file.read(READ_BYTES)
    while data:
        if block := stream.decompress(data, BLOCK_BYTES):
            yield block
        data = (stream.unused_data.lstrip(b"\0") if stream.eof else stream.unconsumed_tail) or file.read(READ_BYTES)
        if stream.eof and (data := data.lstrip(b"\0")):
            stream = isal_zlib.decompressobj(GZIP_WINDOW)
    if rest := stream.flush():
        yield rest
    if not stream.eof:
        raise EOFError("it ends inside the compressed data")
