"""What a worker and all its descendants have used, those that have ended too, as the kernel tells of each in /proc."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil

FIND_CHILDREN_EVERY_S = 1.0
SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
KIB = 1024
GONE = (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError)

Used = dict[str, float]


class ProcessTree:
    """One process and its descendants. Raises psutil.NoSuchProcess where there is none of this id."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._tree = [self._root]
        self._found_at = -FIND_CHILDREN_EVERY_S
        self._used: dict[tuple[psutil.Process, str], float] = {}

    def find_children(self) -> None:
        """Looks for new ones, once a second at most."""
        now = time.monotonic()
        if now - self._found_at >= FIND_CHILDREN_EVERY_S:
            self._found_at = now
            known = {process.pid: process for process in self._tree}
            self._tree = [self._root]
            for process in self._tree:
                for pid in _children(process):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        self._tree.append(known.get(pid) or psutil.Process(pid))

    def summed(self, read: Callable[[psutil.Process], Used]) -> Used:
        """The sum over those that live; empty where none does, or all wait to be reaped."""
        found: Used = {}
        for process in self._tree:
            with contextlib.suppress(*GONE):
                for name, value in read(process).items():
                    found[name] = found.get(name, 0) + value
        return found

    def used(self, read: Callable[[psutil.Process], Used]) -> Used:
        """What all of them have used so far, those that have ended as far as it was read before."""
        names = set()
        for process in self._tree:
            with contextlib.suppress(*GONE):
                for name, value in read(process).items():
                    self._used[process, name] = value
                    names.add(name)
        return {name: sum(value for (_, key), value in self._used.items() if key == name) for name in names}


def _children(process: psutil.Process) -> list[int]:
    """Ids; where the kernel keeps no such list, by listing all processes, which costs milliseconds."""
    try:
        lists = [file.read_text(encoding="ascii") for file in Path(f"/proc/{process.pid}/task").glob("*/children")]
    except GONE:
        return []
    if lists:
        return [int(pid) for text in lists for pid in text.split()]
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in process.children()]
    return []


def cpu_s(process: psutil.Process) -> Used:
    """Processor time, seconds."""
    times = process.cpu_times()
    return {"cpu_time": times.user + times.system}


def resident(process: psutil.Process) -> Used:
    """Resident memory in bytes: what several share counts for each."""
    return {"rss": process.memory_info().rss}


def proportional(process: psutil.Process) -> Used:
    """Proportional set size in bytes: what several share is shared out. The kernel walks all pages for it."""
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return {"pss": int(line.split()[1]) * KIB}
    return {}


def disk(process: psutil.Process) -> Used:
    """Bytes read from and written to storage; what the page cache had is in neither."""
    counts = process.io_counters()
    return {"disk_read": counts.read_bytes, "disk_written": counts.write_bytes}


def switches(process: psutil.Process) -> Used:
    """Context switches of all threads: given up while waiting, and taken by the kernel."""
    found = dict.fromkeys(SWITCHES, 0.0)
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        with contextlib.suppress(*GONE):
            for line in (task / "status").read_text(encoding="utf-8", errors="replace").splitlines():
                name, _, count = line.partition(":")
                if name in found:
                    found[name] += int(count)
    return {"switches_waiting": found[SWITCHES[0]], "switches_forced": found[SWITCHES[1]]}
