"""The trace formats: one module each, asked in this order whether a file is theirs."""

from pathlib import Path
from typing import Protocol

from toolkit.errors import HwprofError
from toolkit.ingest import kineto, pyspy, speedscope, torch_snapshot, xplane
from toolkit.ingest.store import StoreWriter


class Importer(Protocol):
    """What each format's module offers."""

    FORMAT: str

    def matches(self, path: Path) -> bool:
        """Whether the file's name and first bytes are of this format."""

    def read(self, path: Path, *, trace: int, pass_name: str | None, store: StoreWriter) -> None:
        """Appends the file's content; raises HwprofError naming the file where it cannot be read."""


# py-spy's traces may be in an object with traceEvents, which is Kineto's as far as its first bytes tell.
IMPORTERS: tuple[Importer, ...] = (pyspy, kineto, xplane, speedscope, torch_snapshot)


NAMES = ", ".join(importer.FORMAT for importer in IMPORTERS)


def knows(path: Path) -> bool:
    """Whether some format claims the file."""
    return any(importer.matches(path) for importer in IMPORTERS)


def importer_of(path: Path) -> Importer:
    """The format's module for a file; raises HwprofError where none knows it."""
    for importer in IMPORTERS:
        if importer.matches(path):
            return importer
    raise HwprofError(f"{path} is no trace that hwprof knows.", remedy=f"Known formats: {NAMES}.")
