"""What the worker's process tree uses of the machine, its control group, the machine's own load, and RAPL's energy.

The control group is the container's where there is one. Its memory holds the page cache too.
"""

import time
from collections.abc import Callable, Collection
from typing import Any

from toolkit.capture.cgroups import Group
from toolkit.capture.record import Appender
from toolkit.capture.samplers import process_tree
from toolkit.capture.samplers.machine import Machine
from toolkit.capture.samplers.process_tree import Process, ProcessTree, Used
from toolkit.capture.samplers.rapl import Rapl

SLOW_EVERY_S = 1.0
# The kernel walks all pages of the worker for its proportional memory: that may take this share of a processor.
MOST_OF_TIME = 1 / 500


class HostSampler:
    """Reads one process tree, but for the branches `apart`, by their pids.

    `cpu` is percent of one processor, over the time since the reading before.
    Raises FileNotFoundError or ProcessLookupError where there is no process of this id.
    """

    source = "host"

    def __init__(
        self,
        record: Appender,
        pid: int,
        *,
        apart: Collection[int] = (),
        group: Group | None = None,
        rapl: Rapl | None = None,
    ) -> None:
        self._record = record
        self._tree = ProcessTree(pid, apart=apart)
        self._group, self._rapl, self._machine = group or Group(), rapl or Rapl(), Machine()
        self._before: tuple[float, float] | None = None
        self._group_before: tuple[int, int] | None = None
        self._slow_due = self._pages_due = 0.0
        self._refused: set[str] = set()
        self._round: list[tuple[Any, ...]] = []
        if self._group.use().memory_bytes is None:
            record.unavailable(self.source, None, "cgroup_memory", "the control group does not tell")
        for metric, reason in self._rapl.refused.items():
            record.unavailable(self.source, None, metric, reason)

    @property
    def is_over(self) -> bool:
        """Whether the root of the tree has ended and been reaped, as the last reading found."""
        return self._tree.is_over

    def sample(self) -> None:
        """Writes one reading of each, more seldom of what is slow to read; a process that ended is left out."""
        now = time.monotonic()
        self._sample_machine()
        self._sample_tree(now)
        self._sample_group()
        for metric, millijoules in self._rapl.energy_mj():
            self._told(metric, millijoules, "mJ")
        if now >= self._slow_due:
            self._slow_due = now + SLOW_EVERY_S
            self._sample_slow()
        self._write_round()
        if now >= self._pages_due:
            self._sample_pages()

    def _sample_machine(self) -> None:
        """With what it tells of processes begun, the tree's new ones are found."""
        percent, begun = self._machine.load()
        self._told("machine_cpu", percent, "%")
        self._told("machine_memory_available", self._machine.available_bytes(), "B")
        self._tree.find_children(begun)

    def _sample_tree(self, now: float) -> None:
        rss = self._tree.summed(process_tree.resident).get("rss")
        cpu_seconds = self._tree.used(process_tree.cpu_s).get("cpu_time")
        if not rss or cpu_seconds is None:
            # It is being started, has ended and waits to be reaped, or was just now: nothing is known.
            return
        self._told("rss", rss, "B")
        self._told("cpu_time", cpu_seconds, "s")
        if self._before is not None:
            seconds_before, at_before = self._before
            self._told("cpu", 100 * (cpu_seconds - seconds_before) / (now - at_before), "%")
        self._before = (cpu_seconds, now)

    def _sample_slow(self) -> None:
        self._ask("disk", self._tree.used, process_tree.disk, "B")
        self._ask("switches", self._tree.used, process_tree.switches, "switches")
        limits = self._group.limits()
        self._told("cgroup_memory_limit", limits.memory_bytes, "B")
        self._told("cgroup_processors_limit", limits.processors, "processors")

    def _sample_pages(self) -> None:
        """Alone: what a round has read does not wait for it to be written."""
        before = time.thread_time()
        self._ask("pss", self._tree.summed, process_tree.proportional, "B")
        self._pages_due = time.monotonic() + max((time.thread_time() - before) / MOST_OF_TIME, SLOW_EVERY_S)
        self._write_round()

    def _sample_group(self) -> None:
        use, now_ns = self._group.use(), time.monotonic_ns()
        self._told("cgroup_memory", use.memory_bytes, "B")
        self._told("cgroup_throttled", use.throttled_ns, "ns")
        if use.cpu_ns is None:
            return
        if self._group_before is not None:
            cpu_before, at_before = self._group_before
            self._told("cgroup_cpu", 100 * (use.cpu_ns - cpu_before) / (now_ns - at_before), "%")
        self._group_before = use.cpu_ns, now_ns

    def _ask(
        self,
        what: str,
        gather: Callable[[Callable[[Process], Used]], Used],
        read: Callable[[Process], Used],
        unit: str,
    ) -> None:
        """Takes what /proc tells; what it does not allow is said once, and asked no more."""
        if what in self._refused:
            return
        try:
            found = gather(read)
        except OSError as error:
            self._refused.add(what)
            self._record.unavailable(self.source, None, what, str(error))
            return
        for metric, value in found.items():
            self._told(metric, value, unit)

    def _told(self, metric: str, value: float | None, unit: str) -> None:
        """Takes a reading, now; None is what is not told, or not limited."""
        if value is not None:
            self._round.append(("counter", time.monotonic_ns(), self.source, None, metric, value, unit))

    def _write_round(self) -> None:
        """All by one call of the system, at once: a kill loses no round that has ended."""
        self._record.write_together(self._round)
        self._round.clear()
