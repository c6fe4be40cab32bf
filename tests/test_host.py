"""The host's sampler: a process tree that is really there, a control group and RAPL counters as files."""

import json
import os
import resource
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.drivers import REPO
from tests.test_analyses import mark, store
from tests.test_cgroups import V2_FILES, V2_MOUNT, group
from toolkit.analyses.energy import energies
from toolkit.capture import orders, sampling
from toolkit.capture.record import Appender
from toolkit.capture.samplers import process_tree
from toolkit.capture.samplers.host import HostSampler
from toolkit.capture.samplers.machine import Machine
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
        # at least once more, and a tick of the machine's clock later
        found: dict[str, float] = {}
        while "machine_cpu" not in found:
            sampler.sample()
            found |= {metric: value for metric, value, _ in readings(tmp_path / "host.jsonl")}
        process.kill()
    assert 2 << 26 < found["pss"] < found["rss"]
    assert found["switches_waiting"] > 0
    assert found["switches_forced"] >= 0
    assert found["disk_written"] == 0 or found["disk_written"] >= 2 << 22
    assert found["cpu_time"] > 0
    assert {"cpu", "machine_cpu", "machine_memory_available"} <= found.keys()


def test_what_is_read_of_a_process_is_what_psutil_reads() -> None:
    """Time, memory, disk and switches of one that is stopped, so that both read the same."""
    command = [sys.executable, "-c", "print(sum(range(10**7)), flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        one, other = process_tree.Process(process.pid), psutil.Process(process.pid)
        other.suspend()
        times, memory, disk = other.cpu_times(), other.memory_full_info(), other.io_counters()
        found: dict[str, float] = {}
        for read in (process_tree.cpu_s, process_tree.resident, process_tree.proportional, process_tree.disk):
            found |= read(one)
        assert found == {
            "cpu_time": times.user + times.system, "rss": memory.rss, "pss": memory.pss,
            "disk_read": disk.read_bytes, "disk_written": disk.write_bytes,
        }  # fmt: skip
        counted = other.num_ctx_switches()
        assert process_tree.switches(one) == {
            "switches_waiting": counted.voluntary, "switches_forced": counted.involuntary
        }  # fmt: skip
        process.kill()


def test_switches_of_threads_that_ended_stay_in_the_sum(tmp_path: Path) -> None:
    """What a thread had when it was last read is kept: a count of switches so far never goes down."""
    process = process_tree.Process(os.getpid())
    process.folder = tmp_path
    status = "Name:\tx\nvoluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n"
    for thread, waiting, forced in (("1", 10, 1), ("2", 20, 2)):
        (tmp_path / "task" / thread).mkdir(parents=True)
        (tmp_path / "task" / thread / "status").write_text(status.format(waiting, forced))
    assert process_tree.switches(process) == {"switches_waiting": 30, "switches_forced": 3}
    shutil.rmtree(tmp_path / "task" / "2")
    (tmp_path / "task" / "1" / "status").write_text(status.format(15, 1))
    for _ in "ab":
        assert process_tree.switches(process) == {"switches_waiting": 35, "switches_forced": 3}


def test_time_that_is_not_told_is_no_nought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last process is reaped between its memory's reading and its time's: of that round there is neither."""
    (tmp_path / "file").touch()
    told = iter([{"cpu_time": 50.0}, ProcessLookupError(), {"cpu_time": 50.0}])

    def cpu_s(_: process_tree.Process) -> dict[str, float]:
        if isinstance(found := next(told), dict):
            return found
        raise found

    monkeypatch.setattr(process_tree, "cpu_s", cpu_s)
    monkeypatch.setattr(process_tree, "_children", lambda _: [])
    with Appender(tmp_path / "host.jsonl") as record:
        sampler = HostSampler(record, os.getpid(), rapl=Rapl(tmp_path))
        for _ in range(3):
            sampler.sample()
    found = [(metric, value) for metric, value, _ in readings(tmp_path / "host.jsonl") if metric in ("cpu", "cpu_time")]
    assert found == [("cpu_time", 50.0), ("cpu_time", 50.0), ("cpu", 0.0)]


def test_what_an_ended_child_had_used_stays_in_the_sum() -> None:
    """Used time never goes down as processes come and go, whether or not it is known yet that one is gone."""
    child = "import subprocess, sys; sys.stdin.readline()"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE) as process:
        tree = ProcessTree(os.getpid())
        tree.find_children(1)
        told = {process.pid: 5.0, os.getpid(): 1.0}
        assert tree.used(lambda one: {"cpu_time": told.get(one.pid, 0.0)})["cpu_time"] == 6.0
        process.kill()
        process.wait()
    told[os.getpid()] = 2.0

    def read(one: process_tree.Process) -> dict[str, float]:
        return {**process_tree.resident(one), "cpu_time": told[one.pid]}

    assert tree.used(read)["cpu_time"] == 7.0
    tree._found_at = 0.0
    tree.find_children(2)
    assert tree.used(read)["cpu_time"] == 7.0
    assert not tree.is_over


def test_children_are_looked_for_when_the_machine_has_begun_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before, whatever the time; at the first look after that; always where the kernel does not count them."""
    clock = [0.0]
    monkeypatch.setattr(process_tree.time, "monotonic", lambda: clock[0])
    looked: list[float] = []
    monkeypatch.setattr(process_tree, "_children", lambda _: looked.append(clock[0]) or [])
    tree = ProcessTree(os.getpid())
    for clock[0], begun in ((0.0, 7), (5.0, 7), (9.0, 8), (9.1, 9), (9.5, 9), (20.0, 9), (21.0, None), (22.0, None)):
        tree.find_children(begun)
    assert looked == [0.0, 9.0, 9.5, 21.0, 22.0]


def test_a_thread_that_ends_during_a_look_takes_no_child_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list is gone between being found and read; the process's other threads keep theirs."""
    for thread in ("1", "2", "3"):
        (tmp_path / "task" / thread).mkdir(parents=True)
        (tmp_path / "task" / thread / "children").write_text(f"{thread}0 {thread}1 ")
    read = Path.read_bytes

    def ended(path: Path) -> bytes:
        if path.parent.name == "2":
            raise ProcessLookupError(3, "No such process")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", ended)
    process = process_tree.Process(os.getpid())
    process.folder = tmp_path
    assert sorted(process_tree._children(process)) == [10, 11, 30, 31]


def test_a_process_that_has_the_number_of_one_that_ended_is_not_taken_for_it() -> None:
    """Files that were opened stay the first one's: it is gone, and so is the tree of which it was the root."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        tree = ProcessTree(process.pid)
        assert tree.summed(process_tree.resident)["rss"] > 0
        process.kill()
    assert tree.summed(process_tree.resident) == {}
    assert tree.is_over
    with pytest.raises(process_tree.GONE):
        ProcessTree(process.pid)


def test_the_machine_s_load_is_what_was_not_idle(tmp_path: Path) -> None:
    """Waiting for a disk is idle; time that guests took counts once; nothing is told of no time, or of no such line."""
    stat = "cpu  {} 0 100 1000 50 0 0 0 70 0\ncpu0 1 0 0 0 0 0 0 0 0 0\nintr 5 4 3\nprocesses {}\n"
    (tmp_path / "stat").write_text(stat.format(100, 41))
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    3 kB\n")
    machine = Machine(tmp_path)
    assert machine.load() == (None, 41)
    (tmp_path / "stat").write_text("cpu  130 0 100 1050 70 0 0 0 99 0\ncpu0 1 0 0 0 0 0 0 0 0 0\n")
    assert machine.load() == (30.0, None)
    assert machine.available_bytes() == 3072
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\n")
    assert machine.available_bytes() is None


def test_a_round_of_readings_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of the system a round, each reading in it with its own moment; the slow walk of pages has its own."""
    written: list[list[Any]] = []
    with Appender(tmp_path / "host.jsonl") as record:
        sampler = HostSampler(record, os.getpid(), rapl=Rapl(tmp_path))
        monkeypatch.setattr(record, "write_together", lambda records: written.append(list(records)))
        sampler.sample()
        sampler.sample()
    first, pages, second = written
    assert {one[4] for one in pages} == {"pss"}
    assert {"rss", "cpu_time", "machine_memory_available"} <= {one[4] for one in first}
    moments = [one[1] for one in first + pages + second]
    assert moments == sorted(moments)
    assert len(set(moments)) == len(moments)


def test_a_sampler_that_is_told_to_stop_first_watches_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where what starts it fails: it ends with its record closed. It may open what the system lets it have."""
    told, tell = os.pipe()
    os.write(tell, f"{orders.STOP}\n".encode())
    monkeypatch.setattr(orders, "STDIN", told)
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(usual, most - 1), most))
    try:
        sampling.main(tmp_path, 10, with_pyspy=False)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
        os.close(told)
        os.close(tell)
    lines = (tmp_path / "samplers.jsonl").read_text().splitlines()
    assert [json.loads(line)[0] for line in lines] == ["clock", "clock"]


def test_py_spy_without_permission_is_said_and_all_else_is_read(tmp_path: Path) -> None:
    """The reason is its own; what else the kernel does not let others read of it is said too, and the rest goes on."""
    sampler = [sys.executable, "-m", "toolkit.capture.sampling", str(tmp_path), "10", "true"]
    # What root may not trace without the capability is a process that has it; others may not trace root's.
    without = ["setpriv", "--bounding-set=-sys_ptrace"] if os.geteuid() == 0 else []
    pid = os.getpid() if without else 1
    pipe = subprocess.PIPE
    with subprocess.Popen([*without, *sampler], cwd=REPO, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.write(f"{pid}\n")
        process.stdin.flush()
        said = tmp_path / "pyspy.log"
        seen = tmp_path / "samplers.jsonl"
        # All of it: what ends in mid-sentence when the sampler is told to stop has given no cause.
        while not any(metric == "rss" for metric, _, _ in readings(seen)) or "os error" not in said.read_text():
            select.select([], [], [], 0.05)
        process.stdin.close()
    lines = [json.loads(line) for line in (tmp_path / "samplers.jsonl").read_text().splitlines()]
    refused = {line[3]: line[4] for line in lines if line[0] == "unavailable"}
    assert refused["stacks"].startswith("py-spy failed: ")
    assert "ermission denied" in refused["stacks"]
    assert "ermission denied" in refused["disk"]
    assert process.returncode == 0


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
