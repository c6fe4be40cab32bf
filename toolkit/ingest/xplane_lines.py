"""What a line's events come to, exact to the picosecond: number, sum, union, first start, last end."""

import numpy as np

from toolkit.ingest.xplane_clock import Int64s

INT64_MAX = 2**63 - 1
# Disjoint stretches that are kept apart until they are joined; each takes 16 bytes.
LOOSE_STRETCHES = 1 << 16


class LineFigures:
    """Adds up a line's events, which may come in any order and lie in each other, batch by batch."""

    def __init__(self) -> None:
        self._sum_ps, self._first_ps, self._last_ps = 0, INT64_MAX, -INT64_MAX
        self._starts: list[Int64s] = []
        self._ends: list[Int64s] = []
        self._loose, self._joined = 0, 0

    def add(self, offset_ps: Int64s, duration_ps: Int64s) -> None:
        """Adds events."""
        if not len(offset_ps):
            return
        starts, ends = _union(offset_ps, offset_ps + duration_ps)
        fits = int(duration_ps.max()) <= INT64_MAX // len(duration_ps)
        self._sum_ps += int(duration_ps.sum()) if fits else sum(duration_ps.tolist())
        self._first_ps, self._last_ps = min(self._first_ps, int(starts[0])), max(self._last_ps, int(ends[-1]))
        self._starts.append(starts)
        self._ends.append(ends)
        self._loose += len(starts)
        if self._loose > LOOSE_STRETCHES + self._joined:
            self._join()

    def figures(self, start_ps: int) -> dict[str, int | None]:
        """The row of `lines`: NULL where there are no events or int64 does not hold a figure.

        `start_ps` is what the offsets count from; it is added to the first and the last.
        """
        if not self._starts:
            return {}
        self._join()
        busy_ps = int((self._ends[0] - self._starts[0]).sum())
        figures = {
            "sum_ps": self._sum_ps,
            "busy_ps": busy_ps,
            "first_ps": start_ps + self._first_ps,
            "last_ps": start_ps + self._last_ps,
        }
        return {name: value if abs(value) <= INT64_MAX else None for name, value in figures.items()}

    def _join(self) -> None:
        starts, ends = _union(np.concatenate(self._starts), np.concatenate(self._ends))
        self._starts, self._ends = [starts], [ends]
        self._loose, self._joined = 0, len(starts)


def _union(starts: Int64s, ends: Int64s) -> tuple[Int64s, Int64s]:
    """The disjoint stretches that these cover, in order; at least one, which may last nothing."""
    order = np.argsort(starts, kind="stable")
    starts, reached = starts[order], np.maximum.accumulate(ends[order])
    fresh = np.append(True, starts[1:] > reached[:-1])
    return starts[fresh], reached[np.append(fresh[1:], True)]
