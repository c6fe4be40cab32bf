"""Runs one analysis: the SQL file of its name over a store's views. `@name` in it stands for the analysis `name`."""

import itertools
import re
from importlib.resources import files
from typing import Any

import duckdb

from toolkit.errors import HwprofError
from toolkit.ingest import store

COLUMN_LINE = re.compile(r"^-- (\w+): (.+)$", re.MULTILINE)
ANALYSIS = re.compile(r"@(\w+)")


def names() -> list[str]:
    """Names of all analyses."""
    return sorted(path.name.removesuffix(".sql") for path in files(__package__).iterdir() if path.name.endswith(".sql"))


def text(name: str) -> str:
    """The analysis's SQL, whose head describes each output column, with the analyses that it builds on in place."""
    try:
        own = files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HwprofError(f"There is no analysis {name!r}.", remedy=f"Known: {', '.join(names())}.") from None
    return ANALYSIS.sub(lambda found: f"({text(found[1])})", own)


def description(name: str) -> str:
    """What the analysis says, from the SQL file's head."""
    lines = itertools.takewhile(
        lambda line: line.startswith("--") and not COLUMN_LINE.match(line), text(name).splitlines()
    )
    return " ".join(line.removeprefix("--").strip() for line in lines)


def documented_columns(name: str) -> dict[str, str]:
    """Output columns and what they hold, as the SQL file's head says."""
    head = itertools.takewhile(lambda line: line.startswith("--"), text(name).splitlines())
    return dict(COLUMN_LINE.findall("\n".join(head)))


def run(connection: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    """Rows of the analysis `name` as column -> value, in its order; NULL is None."""
    result = _executed(connection, text(name))
    columns = [column[0] for column in result.description or []]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]


def keep(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Keeps the rows of the analysis `name` as a temporary table of that name, for several queries to read."""
    _executed(connection, f"CREATE OR REPLACE TEMP TABLE {name} AS {text(name)}")


def _executed(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyConnection:
    try:
        return connection.execute(query)
    except duckdb.OutOfMemoryException:
        store.allow_more(connection)
        return connection.execute(query)
