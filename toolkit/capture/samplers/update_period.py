"""How often each power sensor has a new value, found by watching it closely, before there is a worker."""

from collections.abc import Callable
from itertools import pairwise
from statistics import fmean

from toolkit.clock import NS_PER_S

# Each value lives 10 to 100 ms on the GPUs that were measured; the watching is over where all have changed this often.
CHANGES = 8
LEAST_READS = 60
LONGEST_NS = 2 * NS_PER_S
WATCH_EVERY_NS = 2_000_000
# Of fewer gaps none is sure to be a single one: two values in a row may be equal.
LEAST_GAPS = 3

Key = tuple[str, str]


class Watch:
    """When the values of each (device, metric) changed. `at` are CLOCK_MONOTONIC nanoseconds."""

    def __init__(self) -> None:
        self._last: dict[Key, float] = {}
        self._changes: dict[Key, list[int]] = {}
        self.reads: dict[Key, int] = {}

    def see(self, key: Key, value: float, at: int) -> None:
        """One reading."""
        self.reads[key] = self.reads.get(key, 0) + 1
        if self._last.setdefault(key, value) != value:
            self._changes.setdefault(key, []).append(at)
        self._last[key] = value

    def is_enough(self) -> bool:
        """Whether every sensor has been seen changing often enough."""
        counts = (len(self._changes.get(key, [])) > CHANGES for key in self.reads)
        return all(reads >= LEAST_READS for reads in self.reads.values()) and all(counts)

    def periods_ns(self) -> dict[Key, int | None]:
        """The mean of the gaps that are about as short as the shorter ones; None where there are too few to tell."""
        return {key: _period(self._changes.get(key, [])) for key in self.reads}


def watch(read: Callable[[Watch], None], wait_until: Callable[[int], None], now_ns: Callable[[], int]) -> Watch:
    """Has `read` show a Watch all sensors again and again, until that is enough or LONGEST_NS have passed."""
    found, start = Watch(), now_ns()
    due = start
    while now_ns() - start < LONGEST_NS and not (found.reads and found.is_enough()):
        read(found)
        due = max(due + WATCH_EVERY_NS, now_ns())
        wait_until(due)
    return found


def _period(changes: list[int]) -> int | None:
    gaps = sorted(later - earlier for earlier, later in pairwise(changes))
    if len(gaps) < LEAST_GAPS:
        return None
    # A quarter of them at least are single ones; twice as long is two.
    single = gaps[len(gaps) // 4]
    return round(fmean(gap for gap in gaps if abs(gap - single) <= single // 2))
