"""The store: one Parquet file a table of `schema.TABLES`, written once, read through DuckDB views."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit import schema

ARROW_TYPES = {
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE": pa.float64(),
    "INTEGER": pa.int32(),
    "VARCHAR": pa.string(),
}
ARROW_SCHEMAS = {
    table: pa.schema([(column.name, ARROW_TYPES[column.type]) for column in columns])
    for table, columns in schema.TABLES.items()
}


class StoreWriter:
    """Writes the tables of one store into `folder`; they appear there together when the `with` block ends well.

    Until then each is a `.partial` file, and an exception removes them: a store is never half there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def append(self, table: str, columns: Mapping[str, Any]) -> None:
        """Appends rows given as column -> array or list, all of one length; a column left out is NULL throughout."""
        wanted = ARROW_SCHEMAS[table]
        if unknown := columns.keys() - set(wanted.names):
            raise KeyError(f"table {table} has no column {sorted(unknown)}")
        length = len(next(iter(columns.values())))
        arrays = [
            columns[field.name] if isinstance(columns.get(field.name), pa.Array)
            else pa.array(columns[field.name], field.type) if field.name in columns
            else pa.nulls(length, field.type)
            for field in wanted
        ]  # fmt: skip
        self._writer(table).write_batch(pa.RecordBatch.from_arrays(arrays, schema=wanted))

    def append_rows(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends a few rows given as mappings; a column that no row names is NULL."""
        rows = list(rows)
        if rows:
            names = {name for row in rows for name in row}
            self.append(table, {name: [row.get(name) for row in rows] for name in names})

    def _writer(self, table: str) -> pq.ParquetWriter:
        if table not in self._writers:
            self._writers[table] = pq.ParquetWriter(self._partial(table), ARROW_SCHEMAS[table], compression="zstd")
        return self._writers[table]

    def _partial(self, table: str) -> Path:
        return self._folder / f".{table}.parquet.partial"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for writer in self._writers.values():
            writer.close()
        for table in schema.TABLES:
            if kind is None and table in self._writers:
                self._partial(table).replace(self._folder / f"{table}.parquet")
            else:
                self._partial(table).unlink(missing_ok=True)


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with one view a table of `schema.TABLES`; a table that the store lacks is there, empty."""
    connection = duckdb.connect()
    for table, columns in schema.TABLES.items():
        path = folder / f"{table}.parquet"
        if path.exists():
            connection.read_parquet(str(path)).create_view(table)
        else:
            declared = ", ".join(f"NULL::{column.type} AS {column.name}" for column in columns)
            connection.execute(f"CREATE VIEW {table} AS SELECT {declared} WHERE false")
    return connection
