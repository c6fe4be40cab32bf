"""The store: one Parquet file a table of `schema.TABLES`, written once, read through DuckDB views."""

import os
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import pyarrow.parquet as pq

from toolkit import schema
from toolkit.ingest import heap
from toolkit.ingest.arrays import pa
from toolkit.ingest.limits import ANALYSIS_DISK, ANALYSIS_MEMORY

if TYPE_CHECKING:
    import duckdb

ARROW_TYPES = {
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE": pa.float64(),
    "INTEGER": pa.int32(),
    # Texts repeat; Parquet writes them by their numbers, too.
    "VARCHAR": pa.dictionary(pa.int32(), pa.string()),
}
ARROW_SCHEMAS = {
    table: pa.schema([(column.name, ARROW_TYPES[column.type]) for column in columns])
    for table, columns in schema.TABLES.items()
}
# Texts repeat; numbers that do not would only fill a dictionary that Parquet then throws away.
TEXT_COLUMNS = {
    table: [column.name for column in columns if column.type == "VARCHAR"] for table, columns in schema.TABLES.items()
}
# Ids and moments mostly rise by little.
NUMBER_ENCODINGS = {
    table: {column.name: "DELTA_BINARY_PACKED" for column in columns if column.type == "BIGINT"}
    for table, columns in schema.TABLES.items()
}
# By these whole row groups are passed over. Smallest and largest of all columns would take a third of the writing.
SOUGHT_COLUMNS = {
    table: [column.name for column in columns if column.name in {"trace", "ts_ns"}]
    for table, columns in schema.TABLES.items()
}
# Row groups of at most this size compress well and are quick to scan; two of them, one being written, are in memory.
GROUP_ROWS, GROUP_BYTES = 1 << 16, 1 << 26
# What joins and sorts take before they spill to the disk; each thread that scans has row groups of its own in memory.
USUAL_MEMORY, MOST_THREADS = 80_000_000, 4


class StoreWriter:
    """Writes the tables of one store into `folder`; they appear there together when the `with` block ends well.

    Until then each is a `.partial` file, and an exception removes them: a store is never half there. Rows are gathered
    to row groups and written by another thread, so an error of writing shows at a later append or at the block's end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._gathered: dict[str, list[pa.RecordBatch]] = {}
        self._rows: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None

    def append(self, table: str, columns: Mapping[str, Any]) -> None:
        """Appends rows given as column -> array or list, all of one length; a column left out is NULL throughout."""
        wanted = ARROW_SCHEMAS[table]
        if unknown := columns.keys() - set(wanted.names):
            raise KeyError(f"table {table} has no column {sorted(unknown)}")
        length = len(next(iter(columns.values())))
        arrays = [
            _array(columns[field.name], field.type) if field.name in columns else _nulls(length, field.type)
            for field in wanted
        ]
        batch = pa.RecordBatch.from_arrays(arrays, schema=wanted)
        self._gathered.setdefault(table, []).append(batch)
        self._rows[table] += length
        self._bytes[table] += batch.nbytes
        if self._rows[table] >= GROUP_ROWS or self._bytes[table] >= GROUP_BYTES:
            self._flush(table)

    def append_rows(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends a few rows given as mappings; a column that no row names is NULL."""
        rows = list(rows)
        if rows:
            names = {name for row in rows for name in row}
            self.append(table, {name: [row.get(name) for row in rows] for name in names})

    def relative(self, path: Path) -> str:
        """How `traces.path` names a file: relative to the store's folder where it lies inside."""
        folder, file = self._folder.resolve(), path.resolve()
        return text_of(file.relative_to(folder) if file.is_relative_to(folder) else path)

    def _flush(self, table: str) -> None:
        """Has what is gathered written, once what was being written is."""
        self._wait()
        del self._rows[table], self._bytes[table]
        self._writing = self._pool.submit(self._write, table, self._gathered.pop(table))

    def _write(self, table: str, batches: list[pa.RecordBatch]) -> None:
        if table not in self._writers:
            # What is there under this name may be a container's link to a file of the caller's.
            self._partial(table).unlink(missing_ok=True)
            self._writers[table] = pq.ParquetWriter(
                self._partial(table),
                ARROW_SCHEMAS[table],
                compression="lz4",
                use_dictionary=TEXT_COLUMNS[table],
                column_encoding=NUMBER_ENCODINGS[table],
                write_statistics=SOUGHT_COLUMNS[table],
            )
        rows = pa.Table.from_batches(batches).unify_dictionaries()
        self._writers[table].write_table(rows, row_group_size=2 * GROUP_ROWS)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def _partial(self, table: str) -> Path:
        return self._folder / f".{table}.parquet.partial"

    def __enter__(self) -> Self:
        # A pool forgets a thread that an interrupt met beginning, and would not wait for what it writes: begin it now.
        self._pool.submit(int).result()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._close(whole=kind is None)
            for table in self._writers if kind is None else ():
                self._partial(table).replace(self._folder / f"{table}.parquet")
        finally:
            for table in schema.TABLES:
                self._partial(table).unlink(missing_ok=True)

    def _close(self, *, whole: bool) -> None:
        try:
            if whole:
                for table in list(self._gathered):
                    self._flush(table)
                self._wait()
                for writer in self._writers.values():
                    writer.close()
        finally:
            self._pool.shutdown()
            for writer in self._writers.values():
                # Nothing for one that is closed. Of the others there is an error already, and that one says why.
                with suppress(OSError):
                    writer.close()
            # The analyses that come next use memory of their own.
            pa.default_memory_pool().release_unused()


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    """Values of any form as an array of the type: texts by their numbers."""
    if not pa.types.is_dictionary(kind):
        return values if isinstance(values, pa.Array) else pa.array(values, kind)
    if isinstance(values, pa.StringArray):
        return values.dictionary_encode()
    return values if isinstance(values, pa.DictionaryArray) else pa.array(values, kind)


def _nulls(length: int, kind: pa.DataType) -> pa.Array:
    """NULL throughout; a dictionary that holds one could not be united with others."""
    if not pa.types.is_dictionary(kind):
        return pa.nulls(length, kind)
    return pa.DictionaryArray.from_arrays(pa.nulls(length, kind.index_type), pa.array([], kind.value_type))


def text_of(path: Path) -> str:
    """The path as text that can be stored and encoded: bytes that are not UTF-8 stand escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _bounds() -> dict[str, str | bool | int | float | list[str]]:
    """Settings by which a store that strangers' data filled cannot take all memory, nor all of the disk."""
    return {
        "memory_limit": f"{min(USUAL_MEMORY, ANALYSIS_MEMORY.value())}B",
        "threads": min(os.cpu_count() or 1, MOST_THREADS),
        "max_temp_directory_size": f"{ANALYSIS_DISK.value()}B",
        "temp_directory": str(Path(tempfile.gettempdir(), f"hwprof-{uuid.uuid4().hex}")),
    }


def connect(folder: Path) -> "duckdb.DuckDBPyConnection":
    """A DuckDB connection with one view a table of `schema.TABLES`, and what rules.sql says of them.

    A table that the store lacks is there, empty; a column that it lacks, being older, is there and NULL throughout.
    """
    connection = bare()
    attach(connection, folder)
    return connection


def engine() -> ModuleType:
    """DuckDB, imported on use: a store is written without it."""
    return import_module("duckdb")


def bare() -> "duckdb.DuckDBPyConnection":
    """A DuckDB connection that holds nothing yet, with bounds on what it may take."""
    heap.return_freed()
    return cast("duckdb.DuckDBPyConnection", engine().connect(config=_bounds()))


def attach(connection: "duckdb.DuckDBPyConnection", folder: Path) -> None:
    """Adds the views of the store in `folder` to the connection's current schema."""
    rules = files(__package__).joinpath("rules.sql").read_text(encoding="utf-8")
    connection.execute(";".join([*(_view(table, folder) for table in schema.TABLES), rules]))


def allow_more(connection: "duckdb.DuckDBPyConnection") -> None:
    """Lets the connection use ANALYSIS_MEMORY rather than what is usual: not every query can be done by spilling."""
    connection.execute(f"SET memory_limit = '{ANALYSIS_MEMORY.value()}B'")


def _view(table: str, folder: Path) -> str:
    path = folder / f"{table}.parquet"
    stored = pq.read_schema(path).names if path.exists() else []
    nulls = [f"NULL::{column.type} AS {column.name}" for column in schema.TABLES[table] if column.name not in stored]
    if not stored:
        return f"CREATE VIEW {table} AS SELECT {', '.join(nulls)} WHERE false"
    quoted = str(path).replace("'", "''")
    return f"CREATE VIEW {table} AS SELECT {', '.join(['*', *nulls])} FROM read_parquet('{quoted}')"  # noqa: S608 - our own names
