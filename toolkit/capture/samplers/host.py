"""Processor time and resident memory of the worker's process tree, of its control group, and the machine's own.

The control group is the container's where there is one. Its memory holds the page cache too.
"""

import contextlib
import time

import psutil

from toolkit.capture.cgroups import Group
from toolkit.capture.record import Records

# Listing all processes to find children costs milliseconds; reading known ones costs microseconds.
FIND_CHILDREN_EVERY_S = 1.0


class HostSampler:
    """Reads one process tree. `cpu` is percent of one processor, over the time since the reading before."""

    source = "host"

    def __init__(self, record: Records, pid: int) -> None:
        self._record = record
        self._root = psutil.Process(pid)
        self._tree = [self._root]
        self._found_at = -FIND_CHILDREN_EVERY_S
        self._before: tuple[float, float] | None = None
        self._group = Group()
        self._group_before: tuple[int, int] | None = None
        if self._group.use().memory_bytes is None:
            record.unavailable(self.source, None, "cgroup_memory", "the control group does not tell")
        psutil.cpu_percent()

    def sample(self) -> None:
        """Writes one reading of each; a process that ended in between is left out."""
        now = time.monotonic()
        if now - self._found_at >= FIND_CHILDREN_EVERY_S:
            self._find_children(now)
        self._sample_tree(now)
        self._sample_group()
        self._record.counter(self.source, None, "machine_cpu", psutil.cpu_percent(), "%")
        self._record.counter(self.source, None, "machine_memory_available", psutil.virtual_memory().available, "B")

    def _sample_tree(self, now: float) -> None:
        rss = cpu_seconds = 0.0
        for process in self._tree:
            with contextlib.suppress(psutil.NoSuchProcess), process.oneshot():
                times = process.cpu_times()
                cpu_seconds += times.user + times.system
                rss += process.memory_info().rss
        if not rss:
            # It is being started, or has ended and waits to be reaped: nothing is resident, and nothing is known.
            return
        self._record.counter(self.source, None, "rss", rss, "B")
        if self._before is not None:
            seconds_before, at_before = self._before
            percent = 100 * max(cpu_seconds - seconds_before, 0.0) / (now - at_before)
            self._record.counter(self.source, None, "cpu", percent, "%")
        self._before = (cpu_seconds, now)

    def _sample_group(self) -> None:
        use, now_ns = self._group.use(), time.monotonic_ns()
        if use.memory_bytes is not None:
            self._record.counter(self.source, None, "cgroup_memory", use.memory_bytes, "B")
        if use.cpu_ns is None:
            return
        if self._group_before is not None:
            cpu_before, at_before = self._group_before
            percent = 100 * (use.cpu_ns - cpu_before) / (now_ns - at_before)
            self._record.counter(self.source, None, "cgroup_cpu", percent, "%")
        self._group_before = use.cpu_ns, now_ns

    def _find_children(self, now: float) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self._tree = [self._root, *self._root.children(recursive=True)]
            self._found_at = now
