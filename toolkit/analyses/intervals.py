"""Exact arithmetic on sets of half-open intervals of int64 nanoseconds."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import duckdb
import numpy as np
import numpy.typing as npt

from toolkit.analyses import runner

Ns = npt.NDArray[np.int64]


class Union:
    """The union of intervals [start, end): disjoint, in order. Raises ValueError where one ends before it starts."""

    def __init__(self, starts: Ns, ends: Ns) -> None:
        if np.any(ends < starts):
            raise ValueError("an interval ends before it starts")
        order = np.argsort(starts, kind="stable")
        starts, reach = starts[order], ends[order]
        del order  # with millions of intervals, memory counts
        np.maximum.accumulate(reach, out=reach)
        # A new stretch begins where a start lies beyond all ends before it.
        edge = np.full(len(starts) + 1, fill_value=True)
        np.greater(starts[1:], reach[:-1], out=edge[1:-1])
        self.starts, self.ends = starts[edge[:-1]], reach[edge[1:]]

    @property
    def ns(self) -> int:
        """How much it covers."""
        return int(np.sum(self.ends - self.starts))

    @cached_property
    def _before(self) -> Ns:
        return np.concatenate(([0], np.cumsum(self.ends - self.starts)))

    def with_(self, other: Self) -> "Union":
        """The union of both."""
        return Union(np.concatenate((self.starts, other.starts)), np.concatenate((self.ends, other.ends)))

    def covered_ns(self, start_ns: int, end_ns: int) -> int:
        """How much of [start_ns, end_ns) it covers."""
        return self._covered_until(end_ns) - self._covered_until(start_ns)

    def _covered_until(self, moment_ns: int) -> int:
        place = int(np.searchsorted(self.starts, moment_ns, side="right"))
        if place == 0:
            return 0
        return int(self._before[place - 1]) + min(moment_ns, int(self.ends[place - 1])) - int(self.starts[place - 1])


def unions_of(
    connection: duckdb.DuckDBPyConnection, analysis: str, parts: Sequence[str], **where: Any
) -> Iterator[Union]:
    """For each part, the union of its rows of an analysis with columns part, start_ns and end_ns, read once.

    `where` gives the values that the analysis's other columns must have; every row's part must be among `parts`.
    """
    chosen = " AND ".join(f"{column} = ${column}" for column in where)
    numbered = "list_position($parts, part)::UTINYINT AS number, start_ns, end_ns"
    query = f"SELECT {numbered} FROM ({runner.text(analysis)}) WHERE {chosen}"  # noqa: S608 # our own texts
    columns = connection.execute(query, {**where, "parts": list(parts)}).fetchnumpy()
    number, starts, ends = (np.asarray(columns[name]) for name in ("number", "start_ns", "end_ns"))
    for place in range(1, len(parts) + 1):
        yield Union(starts[number == place], ends[number == place])
