"""What the analyses say of a store, kept beside it: a trace that was analysed once is answered from there.

It is asked for by the code that analyses and by each table's size and time, so that other code, or a table that someone
changed, is analysed anew.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from toolkit.analyses.ranks import Collective, Collectives, Key, collectives
from toolkit.analyses.sound import sound
from toolkit.analyses.traces import TraceAnalysis, analyse
from toolkit.ingest.store import connect

Analysed = list[tuple[TraceAnalysis, Collectives]]


class _Kept(Struct, frozen=True):
    """One trace; its collectives as pairs, for they are found by more than text."""

    trace: TraceAnalysis
    collectives: list[tuple[Key, list[Collective]]]


_DECODER = msgspec.msgpack.Decoder(list[_Kept])


def analysed(store: Path) -> Analysed:
    """Each trace of a store, with its collectives, which only the comparison of ranks needs.

    Raises HwprofError where its figures contradict each other, or cannot be read.
    """
    with sound(store), connect(store) as connection:
        found = collectives(connection)
        return [(trace, found[number]) for number, trace in enumerate(analyse(connection))]


def kept(store: Path, path: str) -> Analysed:
    """The same of a store that is kept for a trace, which now lies at `path`; kept beside it from the first time on."""
    place = store / f"analysed-{_asked_for(store)}.msgpack"
    try:
        found = [(one.trace, dict(one.collectives)) for one in _DECODER.decode(place.read_bytes())]
    except (OSError, msgspec.DecodeError):
        found = analysed(store)
        # what cannot be kept is analysed again next time
        with suppress(OSError):
            _keep(place, found)
    return [(structs.replace(trace, path=path), own) for trace, own in found]


def _keep(place: Path, found: Analysed) -> None:
    content = msgspec.msgpack.encode([_Kept(trace, list(own.items())) for trace, own in found])
    for older in place.parent.glob("analysed-*"):
        older.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
        try:
            file.write(content)
            Path(file.name).replace(place)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise


def _asked_for(store: Path) -> str:
    tables = ((path.name, path.stat()) for path in sorted(store.glob("*.parquet")))
    told = [_code(), *(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in tables)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:32]


@cache
def _code() -> str:
    """A hash of what analyses; what reads traces is part of the store's own name."""
    sources = sorted(os.scandir(Path(__file__).parent), key=lambda entry: entry.name)
    return hashlib.sha256(b"".join(Path(entry).read_bytes() for entry in sources if entry.is_file())).hexdigest()
