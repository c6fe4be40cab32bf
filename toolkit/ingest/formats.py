"""The trace formats: one module each, asked in this order whether a file is theirs."""

import stat
from pathlib import Path
from typing import Protocol

from toolkit.errors import HwprofError
from toolkit.ingest import jax_memory, kineto, nvidia_smi, pyspy, speedscope, torch_snapshot, xplane
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
IMPORTERS: tuple[Importer, ...] = (pyspy, kineto, xplane, speedscope, torch_snapshot, jax_memory, nvidia_smi)


NAMES = ", ".join(importer.FORMAT for importer in IMPORTERS)


def knows(path: Path) -> bool:
    """Whether some format claims the file."""
    return any(importer.matches(path) for importer in IMPORTERS)


def importer_of(path: Path) -> Importer:
    """The format's module for a file; raises HwprofError where none knows it, or it is no file that can be read."""
    _check(path)
    for importer in IMPORTERS:
        if importer.matches(path):
            return importer
    raise HwprofError(f"{path} is no trace that hwprof knows.", remedy=f"Known formats: {NAMES}.")


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
