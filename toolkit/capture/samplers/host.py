"""What the worker's process tree uses of the machine, its control group, the machine's own load, and RAPL's energy.

The control group is the container's where there is one. Its memory holds the page cache too.
"""

import time
from collections.abc import Callable

import psutil

from toolkit.capture.cgroups import Group
from toolkit.capture.record import Records
from toolkit.capture.samplers import process_tree
from toolkit.capture.samplers.process_tree import ProcessTree, Used
from toolkit.capture.samplers.rapl import Rapl

SLOW_EVERY_S = 1.0
# The kernel walks all pages of the worker for its proportional memory: that may take this share of the time.
MOST_OF_TIME = 1 / 500


class HostSampler:
    """Reads one process tree. `cpu` is percent of one processor, over the time since the reading before."""

    source = "host"

    def __init__(self, record: Records, pid: int, *, group: Group | None = None, rapl: Rapl | None = None) -> None:
        self._record = record
        self._tree = ProcessTree(pid)
        self._group, self._rapl = group or Group(), rapl or Rapl()
        self._before: tuple[float, float] | None = None
        self._group_before: tuple[int, int] | None = None
        self._slow_due = self._pages_due = 0.0
        self._refused: set[str] = set()
        if self._group.use().memory_bytes is None:
            record.unavailable(self.source, None, "cgroup_memory", "the control group does not tell")
        for metric, reason in self._rapl.refused.items():
            record.unavailable(self.source, None, metric, reason)
        psutil.cpu_percent()

    def sample(self) -> None:
        """Writes one reading of each, more seldom of what is slow to read; a process that ended is left out."""
        now = time.monotonic()
        self._tree.find_children()
        self._sample_tree(now)
        self._sample_group()
        self._write("machine_cpu", psutil.cpu_percent(), "%")
        self._write("machine_memory_available", psutil.virtual_memory().available, "B")
        for metric, millijoules in self._rapl.energy_mj():
            self._write(metric, millijoules, "mJ")
        if now >= self._slow_due:
            self._slow_due = now + SLOW_EVERY_S
            self._sample_slow()
        if now >= self._pages_due:
            self._told("pss", self._tree.summed, process_tree.proportional, "B")
            after = time.monotonic()
            self._pages_due = after + max((after - now) / MOST_OF_TIME, SLOW_EVERY_S)

    def _sample_tree(self, now: float) -> None:
        rss = self._tree.summed(process_tree.resident).get("rss")
        cpu_seconds = self._tree.used(process_tree.cpu_s).get("cpu_time", 0.0)
        if not rss:
            # It is being started, or has ended and waits to be reaped: nothing is resident, and nothing is known.
            return
        self._write("rss", rss, "B")
        self._write("cpu_time", cpu_seconds, "s")
        if self._before is not None:
            seconds_before, at_before = self._before
            self._write("cpu", 100 * (cpu_seconds - seconds_before) / (now - at_before), "%")
        self._before = (cpu_seconds, now)

    def _sample_slow(self) -> None:
        self._told("disk", self._tree.used, process_tree.disk, "B")
        self._told("switches", self._tree.used, process_tree.switches, "switches")
        limits = self._group.limits()
        if limits.memory_bytes is not None:
            self._write("cgroup_memory_limit", limits.memory_bytes, "B")
        if limits.processors is not None:
            self._write("cgroup_processors_limit", limits.processors, "processors")

    def _told(
        self,
        what: str,
        gather: Callable[[Callable[[psutil.Process], Used]], Used],
        read: Callable[[psutil.Process], Used],
        unit: str,
    ) -> None:
        """Writes what /proc tells; what it does not allow is said once, and asked no more."""
        if what in self._refused:
            return
        try:
            found = gather(read)
        except (OSError, psutil.AccessDenied) as error:
            self._refused.add(what)
            self._record.unavailable(self.source, None, what, str(error))
            return
        for metric, value in found.items():
            self._write(metric, value, unit)

    def _sample_group(self) -> None:
        use, now_ns = self._group.use(), time.monotonic_ns()
        if use.memory_bytes is not None:
            self._write("cgroup_memory", use.memory_bytes, "B")
        if use.throttled_ns is not None:
            self._write("cgroup_throttled", use.throttled_ns, "ns")
        if use.cpu_ns is None:
            return
        if self._group_before is not None:
            cpu_before, at_before = self._group_before
            self._write("cgroup_cpu", 100 * (use.cpu_ns - cpu_before) / (now_ns - at_before), "%")
        self._group_before = use.cpu_ns, now_ns

    def _write(self, metric: str, value: float, unit: str) -> None:
        self._record.counter(self.source, None, metric, value, unit)
