"""What a worker and all its descendants have used, those that have ended too, as the kernel tells of each in /proc.

Read here rather than by psutil, which opens each file anew and asks for more of it than is told: several times the cost
of all that a sampler does.
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import psutil

from toolkit.capture.kept_files import KeptFile, number_after

# No oftener than this, and not while the machine has begun no process or thread at all.
FIND_CHILDREN_EVERY_S = 0.5
SWITCHES = {
    "switches_waiting": b"\nvoluntary_ctxt_switches:",
    "switches_forced": b"\nnonvoluntary_ctxt_switches:",
}
KIB = 1024
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# proc(5): utime and stime are fields 14 and 15 of stat; the name, field 2, may hold anything, and ends in the last ).
UTIME, STIME = 14 - 3, 15 - 3
# A process that has ended, and is reaped meanwhile or before.
GONE = (FileNotFoundError, ProcessLookupError)

Used = dict[str, float]


class Process:
    """One process's files. Raises FileNotFoundError or ProcessLookupError where there is none of this id."""

    def __init__(self, pid: int) -> None:
        self.pid, self.folder = pid, Path("/proc", str(pid))
        self.stat, self.statm = KeptFile(self.folder / "stat"), KeptFile(self.folder / "statm")
        # what it had used when it was last read
        self.used: Used = {}
        # of which its threads' switches, by their ids, and those of threads that have ended
        self.switches: dict[str, Used] = {}
        self.switches_of_ended: Used = {}

    def lives(self) -> bool:
        """Whether it has not been reaped yet."""
        with contextlib.suppress(*GONE):
            self.stat.read()
            return True
        return False


class ProcessTree:
    """One process and its descendants, but for the branches `apart`; `is_over` once the process itself is found gone.

    Raises FileNotFoundError or ProcessLookupError where there is none of this id.
    """

    def __init__(self, pid: int, *, apart: Collection[int] = ()) -> None:
        self._root = Process(pid)
        self._apart = frozenset(apart)
        self.is_over = False
        self._tree = [self._root]
        self._found_at, self._begun = -FIND_CHILDREN_EVERY_S, -1
        self._used_by_ended: Used = {}

    def find_children(self, begun: int | None) -> None:
        """Looks for new ones, where the number of processes and threads that the machine has `begun` has grown.

        None: it does not tell.
        """
        now = time.monotonic()
        if begun == self._begun is not None or now - self._found_at < FIND_CHILDREN_EVERY_S:
            return
        self._found_at, self._begun = now, begun if begun is not None else -1
        known = {process.pid: process for process in self._tree if process.lives()}
        tree = [self._root]
        for process in tree:
            for pid in set(_children(process)) - self._apart:
                with contextlib.suppress(*GONE):
                    tree.append(known.get(pid) or Process(pid))
        for process in set(self._tree).difference(tree):
            _add(self._used_by_ended, process.used)
        self._tree = tree

    def summed(self, read: Callable[[Process], Used]) -> Used:
        """The sum over those that live; empty where none does, or all wait to be reaped."""
        total: Used = {}
        for _, found in self._read(read):
            _add(total, found)
        return total

    def used(self, read: Callable[[Process], Used]) -> Used:
        """What all of them have used so far, those that have ended as far as it was read before."""
        names: set[str] = set()
        for process, found in self._read(read):
            process.used.update(found)
            names.update(found)
        total = dict(self._used_by_ended)
        for process in self._tree:
            _add(total, process.used)
        return {name: total[name] for name in names}

    def _read(self, read: Callable[[Process], Used]) -> Iterator[tuple[Process, Used]]:
        for process in self._tree:
            try:
                found = read(process)
            except GONE:
                self.is_over |= process is self._root
                continue
            yield process, found


def _add(total: Used, part: Used) -> None:
    for name, value in part.items():
        total[name] = total.get(name, 0) + value


def _children(process: Process) -> list[int]:
    """Ids; where the kernel keeps no such list, by listing all processes, which costs milliseconds."""
    lists = []
    with contextlib.suppress(*GONE):
        for file in (process.folder / "task").glob("*/children"):
            # a thread that has ended meanwhile; the others have lists all the same
            with contextlib.suppress(*GONE):
                lists.append(file.read_bytes())
    if lists:
        return [int(pid) for one in lists for pid in one.split()]
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(process.pid).children()]
    return []


def cpu_s(process: Process) -> Used:
    """Processor time, seconds."""
    fields = process.stat.read().rpartition(b")")[2].split(None, STIME + 1)
    return {"cpu_time": (int(fields[UTIME]) + int(fields[STIME])) / TICKS_PER_S}


def resident(process: Process) -> Used:
    """Resident memory in bytes: what several share counts for each."""
    return {"rss": int(process.statm.read().split()[1]) * PAGE_BYTES}


def proportional(process: Process) -> Used:
    """Proportional set size in bytes: what several share is shared out. The kernel walks all pages for it."""
    # Not kept open: the file is of the memory that the process had when it was opened, before an exec that is.
    kib = number_after(b"\nPss:", (process.folder / "smaps_rollup").read_bytes())
    return {} if kib is None else {"pss": kib * KIB}


def disk(process: Process) -> Used:
    """Bytes read from and written to storage; what the page cache had is in neither."""
    counts = (process.folder / "io").read_bytes()
    names = {"disk_read": b"\nread_bytes:", "disk_written": b"\nwrite_bytes:"}
    found = {metric: number_after(name, counts) for metric, name in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def switches(process: Process) -> Used:
    """Context switches of all threads so far: given up while waiting, and taken by the kernel.

    The kernel tells of threads that live: of others it is what they had when they were last read.
    """
    living: dict[str, Used] = {}
    for task in (process.folder / "task").iterdir():
        with contextlib.suppress(*GONE):
            status = (task / "status").read_bytes()
            living[task.name] = {metric: number_after(name, status) or 0 for metric, name in SWITCHES.items()}
    for thread in process.switches.keys() - living.keys():
        _add(process.switches_of_ended, process.switches[thread])
    process.switches = living
    total = dict(process.switches_of_ended)
    for counts in living.values():
        _add(total, counts)
    return total
