"""Exact arithmetic on sets of half-open intervals of int64 nanoseconds."""

from collections.abc import Sequence
from typing import Any, Self

import duckdb
import numpy as np
import numpy.typing as npt

from toolkit.analyses import runner

Ns = npt.NDArray[np.int64]
BATCH_ROWS = 1 << 16


class Union:
    """The union of intervals [start, end): disjoint, in order. Raises ValueError where one ends before it starts."""

    def __init__(self, starts: Ns, ends: Ns) -> None:
        if np.any(ends < starts):
            raise ValueError("an interval ends before it starts")
        order = np.argsort(starts, kind="stable")
        starts = starts[order]
        reach = ends[order]
        del order, ends  # with millions of intervals, memory counts
        np.maximum.accumulate(reach, out=reach)
        # A new stretch begins where a start lies beyond all ends before it.
        edge = np.full(len(starts) + 1, fill_value=True)
        np.greater(starts[1:], reach[:-1], out=edge[1:-1])
        self.starts, self.ends = starts[edge[:-1]], reach[edge[1:]]

    @property
    def ns(self) -> int:
        """How much it covers."""
        return int(np.sum(self.ends - self.starts))

    def with_(self, other: Self) -> "Union":
        """The union of both."""
        return Union(np.concatenate((self.starts, other.starts)), np.concatenate((self.ends, other.ends)))

    def within(self, start_ns: int, end_ns: int) -> "Union":
        """What of it lies in [start, end)."""
        own = slice(np.searchsorted(self.ends, start_ns, side="right"), np.searchsorted(self.starts, end_ns))
        return Union(np.maximum(self.starts[own], start_ns), np.minimum(self.ends[own], end_ns))


def unions_of(connection: duckdb.DuckDBPyConnection, analysis: str, parts: Sequence[str], **where: Any) -> list[Union]:
    """For each part, the union of its rows of an analysis with columns part, start_ns and end_ns, read once.

    `where` gives the values that the analysis's other columns must have; every row's part must be among `parts`.
    """
    chosen = " AND ".join(f"{column} = ${column}" for column in where)
    numbered = "list_position($parts, part)::UTINYINT AS number, start_ns, end_ns"
    query = f"SELECT {numbered} FROM ({runner.text(analysis)}) WHERE {chosen}"  # noqa: S608 # our own texts
    unions = [Growing() for _ in parts]
    for batch in connection.sql(query, params={**where, "parts": list(parts)}).to_arrow_reader(BATCH_ROWS):
        number, starts, ends = (np.asarray(batch[name]) for name in ("number", "start_ns", "end_ns"))
        for place, union in enumerate(unions, start=1):
            union.add(Union(starts[number == place], ends[number == place]))
    return [union.whole() for union in unions]


class Growing:
    """A union that takes more, and joins what it took where that is much beside what it had."""

    def __init__(self) -> None:
        self._parts, self._taken = [Union(*np.empty((2, 0), dtype=np.int64))], 0

    def add(self, union: Union) -> None:
        """Takes this too."""
        self._parts.append(union)
        self._taken += len(union.starts)
        if self._taken > max(len(self._parts[0].starts) // 4, BATCH_ROWS):
            self._parts, self._taken = [self.whole()], 0

    def whole(self) -> Union:
        """All that it took. It is empty then: to hold millions twice would count."""
        starts = [union.starts for union in self._parts]
        ends = [union.ends for union in self._parts]
        self._parts = []
        return Union(_joined(starts), _joined(ends))


def _joined(columns: list[Ns]) -> Ns:
    joined = np.concatenate(columns)
    columns.clear()
    return joined
