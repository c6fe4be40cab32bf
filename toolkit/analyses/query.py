"""Someone's own question in SQL, of the stores of many runs at once.

Every table of the schema is there under its name, and every analysis that does not have the name of one, the rows of
all runs together with the column `run` before the others; so are the view and the functions of rules.sql, and `runs`,
a row a run. Nothing else is: neither files nor network, and nothing can change.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from toolkit import schema
from toolkit.analyses import runner
from toolkit.errors import HwprofError
from toolkit.ingest import store
from toolkit.ingest.limits import ANALYSIS_MEMORY

RUNS = "runs"
# The steps that a framework marked, as rules.sql has them.
STEPS = "marked_steps"
REMEDY = "Give one SELECT over the tables of docs/schema.md, the analyses of docs/analyses.md, and `runs`."
WORD = re.compile(r"\w+")


def ask(stores: Mapping[str, Path], facts: Sequence[Mapping[str, Any]], question: str) -> pa.Table:
    """The answer to the question, a single SELECT; `stores` are by the name of their run, `facts` the rows of `runs`.

    Raises HwprofError where it is no SELECT, is wrong, or takes more memory than allowed.
    """
    _check(question)
    with opened(stores, facts, question) as connection:
        _lock(connection, stores.values())
        return _answer(connection, question)


@contextmanager
def opened(
    stores: Mapping[str, Path], facts: Sequence[Mapping[str, Any]], question: str = ""
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with every table, `runs`, and the analyses that the question names."""
    with store.bare() as connection:
        words = {word.lower() for word in WORD.findall(question)}
        _fill(connection, stores, [name for name in analyses() if name in words])
        connection.register("_facts", pa.Table.from_pylist(list(facts)))
        connection.execute(f"CREATE TABLE main.{RUNS} AS FROM _facts")
        connection.unregister("_facts")
        yield connection


def analyses() -> list[str]:
    """The analyses that can be asked: where a table has the same name, that is the table's."""
    return [name for name in runner.names() if name not in schema.TABLES]


def _check(question: str) -> None:
    try:
        statements = duckdb.extract_statements(question)
    except duckdb.Error as error:
        raise _wrong(error) from error
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        named = ", ".join(kind.name for kind in kinds) or "nothing"
        raise HwprofError(f"The question is {named}, not one SELECT.", remedy=REMEDY)


def _fill(connection: duckdb.DuckDBPyConnection, stores: Mapping[str, Path], asked: Sequence[str]) -> None:
    """Views of each store in a schema of its own, and over them all a view of each name in the main one."""
    for number, folder in enumerate(stores.values()):
        connection.execute(f"CREATE SCHEMA run{number}; SET schema = 'run{number}'")
        store.attach(connection, folder)
        for name in asked:
            connection.execute(f"CREATE VIEW {name} AS {runner.text(name)}")
    # rules.sql's functions are the same in every schema: they are found in the first store's
    connection.execute("SET search_path = 'main,run0'")
    for name in (*schema.TABLES, STEPS, *asked):
        parts = (f"FROM run{number}.{name} SELECT {_quoted(run)} AS run, *" for number, run in enumerate(stores))
        connection.execute(f"CREATE VIEW main.{name} AS {' UNION ALL '.join(parts)}")


def _lock(connection: duckdb.DuckDBPyConnection, folders: Iterable[Path]) -> None:
    """From here on the connection reads the stores' own files and nothing else, and no question can undo that."""
    paths = [str(path.absolute()) for folder in folders for path in folder.glob("*.parquet")]
    connection.execute(f"SET allowed_paths = [{', '.join(map(_quoted, paths))}]")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")


def _answer(connection: duckdb.DuckDBPyConnection, question: str) -> pa.Table:
    try:
        return connection.sql(question).to_arrow_table()
    except duckdb.OutOfMemoryException as error:
        problem = "The question takes more memory or disk than allowed."
        raise HwprofError(problem, remedy=ANALYSIS_MEMORY.remedy()) from error
    except duckdb.Error as error:
        raise _wrong(error) from error


def _wrong(error: duckdb.Error) -> HwprofError:
    reason = " ".join(str(error).partition("\n\nLINE")[0].split())
    return HwprofError(f"The question cannot be answered: {reason.rstrip('.'):.300}.", remedy=REMEDY)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
