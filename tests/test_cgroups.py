"""Control groups as Linux shows them: files of both versions, found by the process's own tables."""

from pathlib import Path

import pytest

from toolkit.capture.cgroups import Group, Limits, Use

V1_FILES = {
    "memory/memory.limit_in_bytes": "209715200",
    "memory/memory.usage_in_bytes": "13987840",
    "memory/memory.stat": "cache 9\ninactive_file 5\ntotal_inactive_file 4096",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3",
    "cpu/cpu.cfs_quota_us": "150000",
    "cpu/cpu.cfs_period_us": "100000",
    "cpu/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 7000",
    "cpuacct/cpuacct.usage": "56663194",
    "pids/pids.max": "77",
}
V2_FILES = {
    "memory.max": "209715200",
    "memory.current": "13987840",
    "memory.stat": "anon 9\ninactive_file 4096\nactive_file 7",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 0",
    "cpu.max": "150000 100000",
    "cpu.stat": "usage_usec 56663\nuser_usec 5\nsystem_usec 5\nthrottled_usec 7",
    "pids.max": "77",
}
V2_MOUNT = "30 23 0:26 / @ ro,nosuid - cgroup2 cgroup rw\n"
FULL = Limits(memory_bytes=209_715_200, processors=1.5, processes=77)
NONE = Limits(memory_bytes=None, processors=None, processes=None)


def group(place: Path, groups: str, mounts: str, files: dict[str, str]) -> Group:
    """The group of a process with these tables, `@` in which stands for the folder that is /sys/fs/cgroup."""
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(f"{text}\n")
    for name, text in (("cgroup", groups), ("mountinfo", mounts)):
        (place / name).write_text(text.replace("@", str(place)))
    return Group(mounts=place / "mountinfo", groups=place / "cgroup")


def v1_mounts(root: str) -> str:
    """One line a controller."""
    line = "78 77 0:29 {root} @/{name} ro,nosuid shared:9 - cgroup cgroup rw,{name}\n"
    return "".join(line.format(root=root, name=name) for name in ("memory", "cpu", "cpuacct", "pids"))


def v1_groups(path: str) -> str:
    """One line a controller."""
    names = ("memory", "cpu", "cpuacct", "pids")
    return "".join(f"{number}:{name}:{path}\n" for number, name in enumerate(names, 1)) + "0::/\n"


def test_version_1_in_a_container(tmp_path: Path) -> None:
    """The group's own folder is what is mounted, whatever its path is outside."""
    found = group(tmp_path, v1_groups("/docker/abc"), v1_mounts("/docker/abc"), V1_FILES)
    assert (found.version, found.limits()) == (1, FULL)
    assert found.use() == Use(memory_bytes=13_987_840, cpu_ns=56_663_194, throttled_ns=7_000)
    assert (found.reclaimable_bytes(), found.out_of_memory_kills()) == (4096, 3)


def test_version_1_on_the_host(tmp_path: Path) -> None:
    """The group lies under the mount; without limits there are none, not the largest number that fits."""
    unlimited = V1_FILES | {
        "memory/memory.limit_in_bytes": "9223372036854771712", "cpu/cpu.cfs_quota_us": "-1", "pids/pids.max": "max",
    }  # fmt: skip
    files = {str(Path(name).parent / "user" / Path(name).name): text for name, text in unlimited.items()}
    assert group(tmp_path, v1_groups("/user"), v1_mounts("/"), files).limits() == NONE


def test_version_2_in_a_container(tmp_path: Path) -> None:
    """A private namespace: the group is the root of what it sees."""
    found = group(tmp_path, "0::/\n", V2_MOUNT, V2_FILES)
    assert (found.version, found.limits()) == (2, FULL)
    assert found.use() == Use(memory_bytes=13_987_840, cpu_ns=56_663_000, throttled_ns=7_000)
    assert (found.reclaimable_bytes(), found.out_of_memory_kills()) == (4096, 3)


def test_version_2_on_the_host(tmp_path: Path) -> None:
    """A slice of a session; `max` is no limit."""
    files = {f"user.slice/a b/{name}": text for name, text in V2_FILES.items()}
    files |= {
        "user.slice/a b/memory.max": "max",
        "user.slice/a b/cpu.max": "max 100000",
        "user.slice/a b/pids.max": "max",
    }
    mounts = "30 23 0:26 / @ rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n"
    found = group(tmp_path, "0::/user.slice/a b\n", mounts, files)
    assert found.limits() == NONE
    assert found.out_of_memory_kills() == 3


def test_both_versions_at_once(tmp_path: Path) -> None:
    """A controller is where its line says; the unified hierarchy beside it has none."""
    mounts = "20 10 0:1 / @/unified rw - cgroup2 cgroup2 rw\n" + v1_mounts("/")
    (tmp_path / "unified").mkdir()
    found = group(tmp_path, v1_groups("/"), mounts, V1_FILES)
    assert (found.version, found.limits(), found.out_of_memory_kills()) == (1, FULL, 3)


@pytest.mark.parametrize(
    ("groups", "mounts"),
    [("0::/\n", ""), ("", ""), ("0::/../elsewhere\n", V2_MOUNT), ("0::/\n", V2_MOUNT)],
    ids=["nothing mounted", "no group", "outside of what is mounted", "a root without files"],
)  # fmt: skip
def test_what_a_group_does_not_tell_is_unknown(tmp_path: Path, groups: str, mounts: str) -> None:
    """No figure is nought for want of a file."""
    found = group(tmp_path, groups, mounts, {})
    assert found.limits() == NONE
    assert found.use() == Use(memory_bytes=None, cpu_ns=None, throttled_ns=None)
    assert found.reclaimable_bytes() is None
    assert found.out_of_memory_kills() is None
