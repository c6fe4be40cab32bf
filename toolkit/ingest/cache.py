"""Stores of traces that people bring, kept by content: the same file is read once, wherever it lies."""

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

from toolkit.ingest import formats
from toolkit.ingest.store import StoreWriter


def stored(path: Path) -> Path:
    """The folder with the store of one trace file, made now where it is not there yet.

    Raises HwprofError naming the file where it cannot be read; nothing is kept of it then.
    """
    importer = formats.importer_of(path)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_folder() / f"{content[:32]}-{_readers()}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as making:
            partial = Path(making) / "store"
            partial.mkdir()
            with StoreWriter(partial) as store:
                importer.read(path, trace=0, pass_name=None, store=store)
            if not folder.exists():
                partial.replace(folder)
    return folder


def cache_folder() -> Path:
    """Where stores stay, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwprof" / "stores"


@cache
def _readers() -> str:
    """A hash of what reads traces: a store made by other code or another schema is no longer asked for."""
    sources = [Path(__file__).parents[1] / "schema.py", *sorted(Path(__file__).parent.glob("*.*"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources if path.is_file())).hexdigest()[:12]
