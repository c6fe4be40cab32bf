"""The control group that this process is in: limits, use, and how often the kernel killed in it for memory.

Versions 1 and 2, by cgroups(7): /proc/self/cgroup names the group, /proc/self/mountinfo the place of its files. In a
container that is the container's own group; outside it may hold other processes too. What it does not tell is None.
"""

import os
from pathlib import Path
from typing import NamedTuple

from toolkit.capture.kept_files import KeptFile

MOUNTS = Path("/proc/self/mountinfo")
GROUPS = Path("/proc/self/cgroup")
# Version 1 says "no limit" as the largest number of pages that fits, by the size of a page.
UNLIMITED_BYTES = 1 << 62


class Limits(NamedTuple):
    """What the group may use: bytes of memory, processors' worth of time, processes and threads; None: no limit."""

    memory_bytes: int | None
    processors: float | None
    processes: int | None


class Use(NamedTuple):
    """What the group uses: bytes of memory, the page cache among them, processor time so far, and time denied it.

    Denied is what its quota kept it from, summed over processors.
    """

    memory_bytes: int | None
    cpu_ns: int | None
    throttled_ns: int | None


class Group:
    """The files of one process's control group, for each controller in whichever version has it; kept open."""

    def __init__(self, *, mounts: Path = MOUNTS, groups: Path = GROUPS) -> None:
        found = _hierarchies(groups.read_text(encoding="utf-8"), mounts.read_text(encoding="utf-8"))
        self._v1, self._v2 = found, found.get("")
        self._files: dict[tuple[str, str | None, str | None], KeptFile | None] = {}

    @property
    def version(self) -> int | None:
        """The version that has the memory controller; None where there is none."""
        return 1 if "memory" in self._v1 else 2 if self._v2 else None

    def limits(self) -> Limits:
        """What holds now."""
        memory = _number(self._text("memory", "memory.limit_in_bytes", "memory.max"))
        return Limits(
            memory_bytes=memory if memory is None or memory < UNLIMITED_BYTES else None,
            processors=self._processors(),
            processes=_number(self._text("pids", "pids.max", "pids.max")),
        )

    def use(self) -> Use:
        """What is used now."""
        v1_cpu_ns = _number(self._text("cpuacct", "cpuacct.usage", None))
        # Microseconds under version 2, nanoseconds under version 1, by different names.
        cpu = _entries(self._text("cpu", "cpu.stat", "cpu.stat"))
        return Use(
            memory_bytes=_number(self._text("memory", "memory.usage_in_bytes", "memory.current")),
            cpu_ns=cpu["usage_usec"] * 1000 if "usage_usec" in cpu else v1_cpu_ns,
            throttled_ns=cpu["throttled_usec"] * 1000 if "throttled_usec" in cpu else cpu.get("throttled_time"),
        )

    def reclaimable_bytes(self) -> int | None:
        """Of the memory used, the page cache that nothing has asked for lately: the kernel takes it back first."""
        found = _entries(self._text("memory", "memory.stat", "memory.stat"))
        # Of version 1 what is in groups below counts in `total_` alone, as in all of version 2.
        return found.get("total_inactive_file", found.get("inactive_file"))

    def out_of_memory_kills(self) -> int | None:
        """Processes of the group, and of groups in it under version 2, that the kernel has killed for memory."""
        return _entries(self._text("memory", "memory.oom_control", "memory.events")).get("oom_kill")

    def _processors(self) -> float | None:
        quota = _number(self._text("cpu", "cpu.cfs_quota_us", None))
        period = _number(self._text("cpu", "cpu.cfs_period_us", None))
        if together := self._text("cpu", None, "cpu.max"):
            quota, period = map(_number, together.split())
        return quota / period if quota and quota > 0 and period else None

    def _text(self, controller: str, v1_name: str | None, v2_name: str | None) -> str | None:
        """The content of a controller's file, whichever version has the controller."""
        key = controller, v1_name, v2_name
        try:
            if key not in self._files:
                folder, name = (self._v1[controller], v1_name) if controller in self._v1 else (self._v2, v2_name)
                self._files[key] = KeptFile(folder / name) if folder is not None and name is not None else None
            file = self._files[key]
            return None if file is None else file.read().decode("ascii")
        except OSError:
            return None


def _hierarchies(groups: str, mounts: str) -> dict[str, Path]:
    """Controller -> the folder of the process's group; version 2's stands under the empty name."""
    places = {}
    for line in groups.splitlines():
        number, controllers, group = line.split(":", 2)
        for controller in [""] if number == "0" else controllers.split(","):
            folder = _mounted(mounts, controller, group)
            if folder is not None:
                places[controller] = folder
    return places


def _mounted(mounts: str, controller: str, group: str) -> Path | None:
    """Where `group` of a controller's hierarchy lies in the file system, if the part of it that is mounted holds it."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if (kind == "cgroup2") if controller == "" else (kind == "cgroup" and controller in options.split(",")):
            inside = os.path.relpath(group, root)
            if not inside.startswith(".."):
                return Path(point, inside)
    return None


def _number(text: str | None) -> int | None:
    """The number of a file that holds one; None for `max`, which is no limit."""
    text = (text or "").strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _entries(text: str | None) -> dict[str, int]:
    """The numbers of a file of `name number` lines."""
    lines = (line.split() for line in (text or "").splitlines())
    return {line[0]: int(line[1]) for line in lines}
