"""Stores of traces that people bring, kept by content: the same file is read once, wherever it lies.

What the analyses said of one is kept beside its tables (toolkit.analyses.kept).
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from toolkit.errors import FAILED, HwprofError
from toolkit.ingest import formats, salvage
from toolkit.ingest.reading import Reading, Salvage
from toolkit.ingest.store import StoreWriter

HASH_BYTES = 1 << 22
# The store of a damaged file's part must never be taken for the whole's.
PART = "-part"

Watch = Callable[[str, int], None]


def stored(path: Path, *, salvages: bool = False, watch: Watch | None = None) -> Path:
    """The folder with the store of one trace file, made now where it is not there yet.

    Where `salvages`, a damaged file's store holds what comes before its damage, and the warning `salvaged`. `watch` is
    told what is being done, and how many bytes of the file that has come through.

    Raises HwprofError naming the file where it cannot be read; nothing is kept of it then.
    """
    importer = formats.importer_of(path)
    watch = watch or _tell_no_one
    whole = cache_folder() / f"{_digest(path, partial(watch, 'comparing'))}-{_readers()}"
    part = whole.with_name(whole.name + PART)
    for folder in (whole, part) if salvages else (whole,):
        if folder.exists():
            return folder
    reading = (Salvage if salvages else Reading)(partial(watch, "reading"))
    with _making(whole.parent) as making:
        with StoreWriter(making) as store:
            importer.read(path, trace=0, pass_name=None, store=store, reading=reading)
        if isinstance(reading, Salvage) and reading.damages:
            salvage.note(making, path, reading.damages.values())
            whole = part
        if not whole.exists():
            making.replace(whole)
    return whole


def cache_folder() -> Path:
    """Where stores stay, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwprof" / "stores"


@contextmanager
def _making(parent: Path) -> Iterator[Path]:
    """A folder in `parent` to make a store in, which is gone at the end unless it has been moved."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            making = Path(folder) / "store"
            making.mkdir()
            yield making
    except OSError as error:
        problem = f"No store can be written in {parent}: {error.strerror or error}."
        raise HwprofError(
            problem, remedy="Make room, or set XDG_CACHE_HOME to another folder.", exit_code=FAILED
        ) from error


def _digest(path: Path, came_to: Callable[[int], None]) -> str:
    """A hash of the content."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(HASH_BYTES):
                digest.update(block)
                came_to(file.tell())
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Check the file.") from error
    return digest.hexdigest()[:32]


def _tell_no_one(doing: str, read_bytes: int) -> None:
    """Nobody watches."""


@cache
def _readers() -> str:
    """A hash of what reads traces: a store made by other code or another schema is no longer asked for."""
    sources = [Path(__file__).parents[1] / "schema.py", *sorted(Path(__file__).parent.glob("*.*"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources if path.is_file())).hexdigest()[:12]
