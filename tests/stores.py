"""Stores of trace files, as tests read them."""

import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from toolkit.ingest import cache, formats
from toolkit.ingest.store import StoreWriter, connect

SHARED = Path(__file__).parents[2] / "shared" / "traces"
# What marks or is said of a test that reads them.
TRACES_ABSENT = "the real traces that this figure is known of are not beside the repository"
needs_traces = pytest.mark.skipif(not SHARED.exists(), reason=TRACES_ABSENT)
TRACE, PASS = 2, "profile"


def read(path: Path, importer: formats.Importer | None = None) -> duckdb.DuckDBPyConnection:
    """The store of this file, trace TRACE of pass PASS, in a new folder `store` beside it; by its format's importer."""
    folder = path.parent / "store"
    folder.mkdir()
    with StoreWriter(folder) as store:
        (importer or formats.importer_of(path)).read(path, trace=TRACE, pass_name=PASS, store=store)
    return connect(folder)


def traces_cache(folders: pytest.TempPathFactory) -> Path:
    """The cache folder (as XDG_CACHE_HOME names one) of all tests of real traces, in whichever process they run."""
    own = folders.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "traces"
    folder.mkdir(exist_ok=True)
    return folder


def shared(file: str, folders: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """The store of one shared trace, trace 0 of no pass, read once for all tests: none may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(traces_cache(folders)))
        return connect(cache.stored(SHARED / file))


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query."""
    return connection.execute(query).fetchall()


def warned(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, bool]]:
    """Count and doubt of each warning."""
    found = rows(connection, "SELECT code, count, untrusted FROM warnings")
    return {code: (count, doubt) for code, count, doubt in found}
