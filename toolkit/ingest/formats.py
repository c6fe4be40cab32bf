"""The trace formats: one module each, asked in this order whether a file is theirs.

Each is imported when it is asked: together they take as long as reading a small trace.
"""

import stat
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from toolkit.errors import HwprofError
from toolkit.ingest.inflate import GZIP_MAGIC, head
from toolkit.ingest.reading import WHOLE, Reading
from toolkit.ingest.store import StoreWriter

HEAD_BYTES = 1 << 12
# What people give that is no trace but may hold one, by its first bytes.
WRAPPED = {
    b"PK\x03\x04": ("is a zip archive", "Unpack it, and give the traces inside."),
    b"\x28\xb5\x2f\xfd": ("is compressed by zstd", "Unpack it: hwprof reads plain files and gzip."),
    b"\xfd7zXZ\x00": ("is compressed by xz", "Unpack it: hwprof reads plain files and gzip."),
    b"BZh": ("is compressed by bzip2", "Unpack it: hwprof reads plain files and gzip."),
}


class Importer(Protocol):
    """What each format's module offers."""

    FORMAT: str

    def matches(self, path: Path) -> bool:
        """Whether the file's name and first bytes are of this format."""

    def read(
        self, path: Path, *, trace: int, pass_name: str | None, store: StoreWriter, reading: Reading = WHOLE
    ) -> None:
        """Appends the file's content; raises HwprofError naming the file where it cannot be read.

        Where a part of it can be kept, damage goes to `reading.damaged`, which raises it or has the part kept.
        """


# py-spy's traces may be in an object with traceEvents, which is Kineto's as far as its first bytes tell.
MODULES = ("pyspy", "kineto", "xplane", "speedscope", "torch_snapshot", "jax_memory", "nvidia_smi")


def importers() -> Iterator[Importer]:
    """Each format's module."""
    return (cast("Importer", import_module(f"{__package__}.{name}")) for name in MODULES)


def names() -> str:
    """The formats, for a sentence."""
    return ", ".join(importer.FORMAT for importer in importers())


def knows(path: Path) -> bool:
    """Whether some format claims the file."""
    return any(importer.matches(path) for importer in importers())


def importer_of(path: Path) -> Importer:
    """The format's module for a file; raises HwprofError where none knows it, or it is no file that can be read."""
    _check(path)
    for importer in importers():
        if importer.matches(path):
            return importer
    raise HwprofError(f"{path} is no trace that hwprof knows.", remedy=f"Known formats: {names()}.")


def _check(path: Path) -> None:
    """Raises HwprofError for what no format is read from: devices and pipes, nothing, archives."""
    try:
        # Asked before it is opened: opening a pipe waits for who writes into it.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise HwprofError(f"{path} is no regular file.", remedy="Write the trace into a file, and give that.")
        first = head(path, HEAD_BYTES)
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    if not status.st_size:
        raise HwprofError(f"{path} is empty.", remedy="Take the file again from where it was written.")
    for magic, (problem, remedy) in WRAPPED.items():
        if first.startswith(magic):
            raise HwprofError(f"{path} {problem}.", remedy=remedy)
    if first.startswith(GZIP_MAGIC):
        raise HwprofError(f"{path} is gzip inside of gzip.", remedy="Unpack it once, and give the result.")
