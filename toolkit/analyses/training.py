"""The training steps of each whole epoch together: how long they took, and how many samples they had."""

from typing import Annotated

import duckdb
from msgspec import Meta, Struct, convert

from toolkit.analyses import runner


class Training(Struct, frozen=True, kw_only=True):
    """The training steps of one epoch as a whole: to the moment when the device had done them all.

    `samples` are those that they had, of which a last batch may have fewer than the others; null where nobody tells.
    """

    pass_name: str
    epoch: int
    steps: int
    compiled_steps: int
    profiled_steps: int
    samples: int | None
    ns: Annotated[int, Meta(description="nanoseconds")]


def trainings(
    connection: duckdb.DuckDBPyConnection, *, batch: int | None = None, epoch_samples: int | None = None
) -> list[Training]:
    """Of each whole epoch; `epoch_samples` are an epoch's by the worker, where it told, else `batch` is each step's."""
    rows = runner.run(connection, "training")
    return [convert(row | {"samples": epoch_samples or (batch and batch * row["steps"])}, Training) for row in rows]
