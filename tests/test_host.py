"""The host's sampler: a process tree that is really there, a control group and RAPL counters as files."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_analyses import mark, store
from tests.test_cgroups import V2_FILES, V2_MOUNT, group
from toolkit.analyses.energy import energies
from toolkit.capture.record import Appender
from toolkit.capture.samplers import process_tree
from toolkit.capture.samplers.host import HostSampler
from toolkit.capture.samplers.process_tree import ProcessTree
from toolkit.capture.samplers.rapl import Rapl

MS = 1_000_000
RANGE_UJ = 262_143_328_850
# Holds 64 MiB, has a child that does, writes to the disk, says so, and goes on when told.
BUSY = """
import os, subprocess, sys
held = bytearray(os.urandom(1 << 20) * 64)
if len(sys.argv) < 3:
    command = [sys.executable, __file__, sys.argv[1], "child"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
with open(sys.argv[1] + "".join(sys.argv[2:]), "wb") as file:
    file.write(held[: 1 << 22])
    os.fsync(file.fileno())
print(flush=True)
sys.stdin.readline()
"""


def zone(root: Path, name: str, called: str, energy_uj: int | str) -> Path:
    """One zone of a made-up powercap tree."""
    folder = root / name
    folder.mkdir(parents=True)
    for file, value in (("name", called), ("energy_uj", energy_uj), ("max_energy_range_uj", RANGE_UJ)):
        (folder / file).write_text(f"{value}\n")
    return folder / "energy_uj"


def readings(path: Path) -> list[tuple[str, float, str]]:
    """(metric, value, unit) of each counter."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [tuple(line[4:7]) for line in lines if line[0] == "counter"]


def test_a_tree_s_memory_disk_and_switches_are_read(tmp_path: Path) -> None:
    """Parent and child together; what the two share counts twice in the resident memory, once in the proportional."""
    program = tmp_path / "busy.py"
    program.write_text(BUSY)
    command = [sys.executable, str(program), str(tmp_path / "written")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process, Appender(tmp_path / "host.jsonl") as record:
        assert process.stdout is not None
        process.stdout.readline()
        sampler = HostSampler(record, process.pid, rapl=Rapl(tmp_path / "none"))
        sampler.sample()
        sampler.sample()
        process.kill()
    found = {metric: value for metric, value, _ in readings(tmp_path / "host.jsonl")}
    assert 2 << 26 < found["pss"] < found["rss"]
    assert found["switches_waiting"] > 0
    assert found["switches_forced"] >= 0
    assert found["disk_written"] == 0 or found["disk_written"] >= 2 << 22
    assert found["cpu_time"] > 0
    assert {"cpu", "machine_cpu", "machine_memory_available"} <= found.keys()


def test_what_an_ended_child_had_used_stays_in_the_sum() -> None:
    """Used time never goes down as processes come and go."""
    child = "import subprocess, sys; sys.stdin.readline()"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE) as process:
        tree = ProcessTree(os.getpid())
        tree.find_children()
        told = {process.pid: 5.0, os.getpid(): 1.0}
        assert tree.used(lambda one: {"cpu_time": told.get(one.pid, 0.0)})["cpu_time"] == 6.0
        process.kill()
        process.wait()
    told[os.getpid()] = 2.0
    again = tree.used(lambda one: {**process_tree.resident(one), "cpu_time": told[one.pid]})
    assert again["cpu_time"] == 7.0


def test_the_control_group_s_limits_and_use_are_recorded(tmp_path: Path) -> None:
    """Bytes, processors and the time that its quota denied it, as its files tell."""
    own = group(tmp_path, "0::/\n", V2_MOUNT, V2_FILES)
    with Appender(tmp_path / "host.jsonl") as record:
        HostSampler(record, os.getpid(), group=own, rapl=Rapl(tmp_path)).sample()
    found = {metric: (value, unit) for metric, value, unit in readings(tmp_path / "host.jsonl")}
    assert found["cgroup_memory"] == (13_987_840, "B")
    assert found["cgroup_memory_limit"] == (209_715_200, "B")
    assert found["cgroup_processors_limit"] == (1.5, "processors")
    assert found["cgroup_throttled"] == (7_000, "ns")


def test_rapl_counts_on_past_its_range(tmp_path: Path) -> None:
    """A counter that starts anew loses nothing; a zone inside another has both names."""
    package = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    dram = zone(tmp_path, "intel-rapl:0:1", "dram", 5_000)
    rapl = Rapl(tmp_path)
    assert dict(rapl.energy_mj()) == {"rapl_package-0": 0.0, "rapl_package-0_dram": 0.0}
    package.write_text(str(RANGE_UJ))
    dram.write_text("7000")
    assert dict(rapl.energy_mj()) == {"rapl_package-0": 1_000.0, "rapl_package-0_dram": 2.0}
    package.write_text("1999999")
    assert dict(rapl.energy_mj())["rapl_package-0"] == 3_000.0


@pytest.mark.parametrize("energy_uj", ["", "not a number"])
def test_a_zone_that_cannot_be_read_says_why(tmp_path: Path, energy_uj: str) -> None:
    """It is no nought; a machine without any zone says that."""
    zone(tmp_path, "intel-rapl:0", "package-0", energy_uj)
    assert list(Rapl(tmp_path).energy_mj()) == []
    assert "invalid literal" in Rapl(tmp_path).refused["rapl_package-0"]
    assert "holds no RAPL counters" in Rapl(tmp_path / "none").refused["rapl"]


def test_a_zone_for_root_alone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As since CVE-2020-8694, the reason is the system's own."""
    zone(tmp_path, "intel-rapl:0", "package-0", 1)
    read = Path.read_text

    def refuse(path: Path, **options: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert Rapl(tmp_path).refused == {"rapl_package-0": "Permission denied"}


def test_a_package_s_energy_has_a_bound_as_a_gpu_s(tmp_path: Path) -> None:
    """By the counter alone, with the reason why there is no integral."""
    counter = {"pass_name": "time", "source": "host", "metric": "rapl_package-0", "unit": "mJ"}
    counters = [counter | {"ts_ns": at * MS, "value": 50.0 * at} for at in range(0, 12_000, 100)]
    with store(tmp_path, counters=counters, marks=[mark(1, None, "epoch", "train", 1_030, 11_070)]) as connection:
        (one,) = energies(connection)
    assert one.device == "rapl_package-0"
    assert abs(one.counter_mj - 50 * 10_040) <= one.counter_bound_mj < 0.05 * one.counter_mj
    assert (one.integral_mj, one.integral_reason) == (None, "RAPL has a counter alone")
