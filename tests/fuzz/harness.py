"""What every harness does: one input goes through one importer, and nothing but HwprofError may come out.

Without atheris here, so that the inputs that once broke an importer go the same way in the ordinary tests.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from toolkit.errors import HwprofError
from toolkit.ingest.formats import Importer
from toolkit.ingest.reading import Reading, Salvage
from toolkit.ingest.store import StoreWriter

REPO = Path(__file__).parents[2]
SHARED = REPO.parent / "shared" / "traces"
DATA = REPO / "tests" / "data"
LARGEST_SEED = 1 << 14


class Harness(NamedTuple):
    """An importer, what its file is called, inputs to begin with, and a change of an input that knows its form."""

    importer: Importer
    file: str
    seeds: Callable[[], list[bytes]]
    mutated: Callable[[bytes, random.Random], bytes]


class UnwrittenStore(StoreWriter):
    """Checks rows as the store does, and leaves out writing them, which takes most of the time."""

    def _write(self, table: str, batches: list[pa.RecordBatch]) -> None:
        pa.Table.from_batches(batches).validate()


def check(harness: Harness, content: bytes, folder: Path, store: type[StoreWriter] = StoreWriter) -> None:
    """Reads the input whole, and again as far as it is whole; raises what is no HwprofError of one line."""
    path = folder / harness.file
    path.write_bytes(content)
    harness.importer.matches(path)
    for reading in (Reading(), Salvage()):
        target = folder / "store"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        try:
            with store(target) as writer:
                harness.importer.read(path, trace=0, pass_name=None, store=writer, reading=reading)
        except HwprofError as error:
            if not str(error).isprintable():
                raise ValueError(f"an error of more than one line: {error!r}") from error
            if any(target.iterdir()):
                raise ValueError(f"half a store beside the error {error!r}") from error


def small_files(folder: Path, pattern: str) -> list[bytes]:
    """Traces that are there and small enough to begin with."""
    found = sorted(path for path in folder.glob(pattern) if path.stat().st_size <= LARGEST_SEED)
    return [path.read_bytes() for path in found]
