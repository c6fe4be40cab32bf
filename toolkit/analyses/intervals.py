"""Exact arithmetic on sets of half-open intervals of int64 nanoseconds."""

from typing import Self

import numpy as np
import numpy.typing as npt

Ns = npt.NDArray[np.int64]


class Union:
    """The union of intervals [start, end): disjoint, in order. Raises ValueError where one ends before it starts."""

    def __init__(self, starts: Ns, ends: Ns) -> None:
        if np.any(ends < starts):
            raise ValueError("an interval ends before it starts")
        order = np.argsort(starts, kind="stable")
        sorted_starts, reach = starts[order], np.maximum.accumulate(ends[order]) if len(starts) else ends
        gaps = np.flatnonzero(sorted_starts[1:] > reach[:-1])
        self.starts = sorted_starts[np.concatenate(([0], gaps + 1))] if len(starts) else starts
        self.ends = reach[np.concatenate((gaps, [len(starts) - 1]))] if len(starts) else ends
        self._before = np.concatenate(([0], np.cumsum(self.ends - self.starts)))

    def with_(self, other: Self) -> "Union":
        """The union of both."""
        return Union(np.concatenate((self.starts, other.starts)), np.concatenate((self.ends, other.ends)))

    def covered_ns(self, start_ns: int, end_ns: int) -> int:
        """How much of [start_ns, end_ns) the union covers."""
        return self._covered_until(end_ns) - self._covered_until(start_ns)

    def _covered_until(self, moment_ns: int) -> int:
        place = int(np.searchsorted(self.starts, moment_ns, side="right"))
        if place == 0:
            return 0
        return int(self._before[place - 1]) + min(moment_ns, int(self.ends[place - 1])) - int(self.starts[place - 1])
