"""Stores of trace files, as tests read them."""

from pathlib import Path
from typing import Any

import duckdb

from toolkit.ingest import formats
from toolkit.ingest.store import StoreWriter, connect

TRACE, PASS = 2, "profile"


def read(path: Path, importer: formats.Importer | None = None) -> duckdb.DuckDBPyConnection:
    """The store of this file, trace TRACE of pass PASS, in a new folder `store` beside it; by its format's importer."""
    folder = path.parent / "store"
    folder.mkdir()
    with StoreWriter(folder) as store:
        (importer or formats.importer_of(path)).read(path, trace=TRACE, pass_name=PASS, store=store)
    return connect(folder)


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query."""
    return connection.execute(query).fetchall()


def warned(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, bool]]:
    """Count and doubt of each warning."""
    found = rows(connection, "SELECT code, count, untrusted FROM warnings")
    return {code: (count, doubt) for code, count, doubt in found}
