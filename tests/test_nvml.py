"""The GPU sampler through the real bindings, over a stand-in for the driver's library that plays scripts."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.drivers import POWERLESS, REPO, play, scripted
from tests.stores import rows
from toolkit.capture import gpu_sampling
from toolkit.capture.record import Appender
from toolkit.capture.samplers.update_period import Watch
from toolkit.ingest import records
from toolkit.ingest.store import StoreWriter, connect

DETECT = """
import json
from toolkit.capture.samplers import nvml
presence = nvml.detect()
print(json.dumps([[gpu._asdict() for gpu in presence.gpus], presence.driver, presence.reason, presence.cuda]))
"""
SQUARE = "load 0 100 500 100 500.001 400 1000 400\nrepeat 1000\n"
MS = 1_000_000
POWERS = {"power", "power_average", "power_instant", "energy"}


def detected(driver: Path, folder: Path, script: str) -> Any:
    """What detection says: GPUs, driver, reason, CUDA."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(driver), "NVML_SCRIPT": scripted(folder, script)}
    command = [sys.executable, "-c", DETECT]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def readings(played: list[list[Any]], device: str = "0") -> list[tuple[int, dict[str, float]]]:
    """(moment, values) of each reading of a device."""
    return [(line[1], line[4]) for line in played if line[0] == "readings" and line[3] == device]


def refusals(played: list[list[Any]]) -> list[list[Any]]:
    """What could not be had: device, metric, reason."""
    return [line[2:] for line in played if line[0] == "unavailable"]


def test_a_gpu_is_detected_with_its_driver(driver: Path, tmp_path: Path) -> None:
    """Name, memory, driver and the CUDA that it runs."""
    gpus, version, reason, cuda = detected(driver, tmp_path, "gpu Stub GPU")
    assert gpus == [{"number": 0, "name": "Stub GPU", "uuid": "GPU-stub", "memory_bytes": 8 << 30}]
    assert (version, reason, cuda) == ("580.00.01", None, [13, 0])


def test_every_metric_of_every_gpu_is_read(driver: Path, tmp_path: Path) -> None:
    """Two GPUs, each with all that NVML tells, in its units; memory that the driver reserves stands apart."""
    script = "gpu A\nload 0 200\nmemory 81559 500 1024\ngpu B\nload 0 300\narch 7"
    played = play(driver, tmp_path, script, seconds=3)
    units = next(line[1] for line in played if line[0] == "units")
    for device, milliwatts in (("0", 200_000), ("1", 300_000)):
        last = {metric: value for _, values in readings(played, device) for metric, value in values.items()}
        assert {last[metric] for metric in POWERS - {"energy"}} == {milliwatts}
        assert (last["utilisation"], last["sm_clock"], last["memory_clock"], last["temperature"]) == (
            37,
            1980,
            3201,
            41,
        )
        assert (last["ecc_corrected"], last["ecc_uncorrected"], last["throttle_reasons"]) == (3, 0, 0)
        assert last["pcie_received"] > last["pcie_sent"] > 0
        assert last.keys() <= units.keys()
    last = {metric: value for _, values in readings(played) for metric, value in values.items()}
    assert (last["memory_used"], last["memory_reserved"]) == (1 << 30, 500 << 20)
    told = [line[1:6] for line in played if line[0] == "gpu"]
    assert told == [
        ["0", "A", "GPU-stub", "hopper", "580.00.01"], ["1", "B", "GPU-stub-1", "ampere", "580.00.01"],
    ]  # fmt: skip
    assert refusals(played) == []


@pytest.mark.parametrize("update_ms", [15, 20, 100, 130])
def test_the_sensor_is_polled_at_half_its_own_period(driver: Path, tmp_path: Path, update_ms: int) -> None:
    """The period is found from the values at the start, within the 2 ms between looks, and no update is missed."""
    script = f"gpu A\nload 0 100 4000 900\nrepeat 4000\nsensor instant {update_ms} {update_ms}\n"
    played = play(driver, tmp_path, script, seconds=4)
    found = {line[2]: line[3] for line in played if line[0] == "sensor"}
    assert abs(found["power_instant"] - update_ms * MS) <= 2 * MS
    assert abs(found["energy"] - 20 * MS) <= MS
    running = [at for at, values in readings(played) if "power" in values and at > 2_100 * MS]
    gaps = {later - earlier for earlier, later in pairwise(running)}
    shortest = min(found[metric] for metric in POWERS - {"energy"})
    assert max(gaps) <= min(shortest // 2 + 1, 50 * MS)
    values = {values["power_instant"] for at, values in readings(played) if "power" in values and at > 2_100 * MS}
    # As many values as updates, but where two of the ramp are equal.
    assert len(values) >= 0.9 * (running[-1] - running[0]) / (update_ms * MS)


def test_what_is_no_oftener_than_power_goes_with_a_poll_of_it(driver: Path, tmp_path: Path) -> None:
    """The process wakes once for both and reads as often as asked; what is oftener than power keeps its own grid."""
    found = {}
    for hz in (10, 50):
        played = play(driver, tmp_path, f"gpu A\n{SQUARE}", seconds=5, hz=hz)
        polls, usual = ([at for at, values in readings(played) if one in values] for one in ("power", "temperature"))
        started = usual[1]
        found[hz] = {at for at in polls if at >= started}, [at for at in usual if at >= started]
        (tmp_path / "gpu.jsonl").unlink()
    polls, usual = found[10]
    assert polls.issuperset(usual)
    assert 0 <= len(usual) - 10 * (usual[-1] - usual[0]) / 1e9 < 2
    assert max(later - earlier for earlier, later in pairwise(usual)) < 150 * MS
    polls, usual = found[50]
    assert {later - earlier for earlier, later in pairwise(usual)} == {20 * MS}
    assert {later - earlier for earlier, later in pairwise(sorted(polls))} <= {46_875_000, 47 * MS}


def test_nothing_is_lost_at_a_hundred_hertz(driver: Path, tmp_path: Path) -> None:
    """Every poll of a hundredth of an hour is there at its moment, and so is all else.

    `benchmarks/sampler_overhead.py --hour` plays the whole of it, and tells the memory as well.
    """
    script = "gpu A\nload 0 100 4000 900\nrepeat 4000\nsensor usage 20 10\nsensor average 20 10\nsensor instant 20 10\n"
    played = play(driver, tmp_path, script, seconds=36, hz=100)
    polls, usual = ([at for at, values in readings(played) if one in values] for one in ("power", "temperature"))
    end = polls[-1]
    polls = [at for at in polls if at > end - 36 * 1000 * MS]
    (period,) = {later - earlier for earlier, later in pairwise(polls)}
    assert period < 10 * MS
    assert len(polls) == 36 * 1000 * MS // period
    assert abs(sum(at > end - 36 * 1000 * MS for at in usual) - 3600) <= 1


def test_equal_values_in_a_row_do_not_lengthen_the_period() -> None:
    """A gap over an update that changed nothing counts as no period; too few changes tell none."""
    seen = Watch()
    for at, value in enumerate([1, 2, 3, 3, 4, 5, 5, 6, 7, 8]):
        seen.see(("0", "power"), value, at * 100 * MS)
        seen.see(("0", "energy"), at // 5, at * 100 * MS)
    assert seen.periods_ns() == {("0", "power"): 100 * MS, ("0", "energy"): None}


def test_the_driver_s_buffer_is_taken_without_a_gap_or_a_double(driver: Path, tmp_path: Path) -> None:
    """Samples between two polls are kept with the driver's own times."""
    played = play(driver, tmp_path, f"gpu A\n{SQUARE}buffer 20 60", seconds=5)
    times = [us for line in played if line[0] == "samples" for us, _ in line[4]]
    gaps = {later - earlier for earlier, later in pairwise(times)}
    assert gaps == {20_000}
    assert len(times) >= 250


def test_a_metric_that_the_gpu_lacks_is_unavailable_once_with_the_reason(driver: Path, tmp_path: Path) -> None:
    """A GPU without a power sensor has no power, not zero watts; the rest goes on."""
    played = play(driver, tmp_path, POWERLESS, seconds=2)
    lacking = [*sorted(POWERS), "power_buffer"]
    assert sorted(refusals(played)) == [["0", metric, "Not Supported"] for metric in sorted(lacking)]
    assert not any(POWERS & values.keys() for _, values in readings(played))
    assert sum("temperature" in values for _, values in readings(played)) > 20


def test_one_field_of_two_may_be_refused(driver: Path, tmp_path: Path) -> None:
    """Each value of a field has a return code of its own: GA100 has no average, and everything else all the same."""
    played = play(driver, tmp_path, "gpu A\nfail 185 3\nfail nvmlDeviceGetTotalEccErrors 4", seconds=1)
    assert refusals(played) == [
        ["0", "power_average", "Not Supported"],
        ["0", "ecc_corrected", "Insufficient Permissions"],
        ["0", "ecc_uncorrected", "Insufficient Permissions"],
    ]
    assert any("power_instant" in values for _, values in readings(played))


def test_a_driver_without_newer_calls_is_read_by_older_ones(driver: Path, tmp_path: Path) -> None:
    """Memory without its reserved part, which `memory_used` then holds; PCIe by rate; and both said."""
    script = "gpu A\nmemory 8192 512 1024\nfail nvmlDeviceGetMemoryInfo_v2 13\nfail 197 3\nfail 198 3\n"
    played = play(driver, tmp_path, script, seconds=1)
    last = {metric: value for _, values in readings(played) for metric, value in values.items()}
    assert last["memory_used"] == 1536 << 20
    assert "memory_reserved" not in last
    assert {metric for _, metric, _ in refusals(played)} == {"memory_reserved", "pcie_sent", "pcie_received"}


def test_a_gpu_lost_in_mid_run_is_said_once_and_the_other_goes_on(driver: Path, tmp_path: Path) -> None:
    """From its moment on nothing of it is recorded or asked; what came before is kept."""
    played = play(driver, tmp_path, f"gpu A\n{SQUARE}fail * 15 4000\ngpu B\n{SQUARE}", seconds=5)
    (lost,) = [line for line in played if line[0] == "lost"]
    assert lost[2:] == ["nvml", "0", "all", "GPU is lost"]
    assert 4_000 * MS <= lost[1] <= 4_100 * MS
    assert 3_900 * MS < max(at for at, _ in readings(played)) < 4_000 * MS
    assert max(at for at, _ in readings(played, "1")) > 5_000 * MS


def test_a_passing_fault_leaves_a_gap_and_no_end(driver: Path, tmp_path: Path) -> None:
    """What cannot be told for a while is said once, with the moment, and read again when it can be."""
    played = play(driver, tmp_path, f"gpu A\n{SQUARE}fail nvmlDeviceGetPowerUsage 999 3000 4000", seconds=5)
    assert [line[2:] for line in played if line[0] == "lost"] == [["nvml", "0", "power", "Unknown Error"]]
    moments = [at for at, values in readings(played) if "power" in values and at > 2_500 * MS]
    assert not any(3_000 * MS <= at < 4_000 * MS for at in moments)
    assert max(moments) > 5_000 * MS


def test_mig_instances_are_read_beside_the_gpu_that_they_share(driver: Path, tmp_path: Path) -> None:
    """The GPU is marked as split; memory is told of each instance, power of the whole alone."""
    played = play(driver, tmp_path, "gpu A\nmemory 8192 512 1024\nmig 2", seconds=1)
    assert [line[6] for line in played if line[0] == "gpu"] == [True]
    for device in ("0.mig0", "0.mig1"):
        found = [values for _, values in readings(played, device)]
        assert {json.dumps(values) for values in found} == {
            json.dumps({"memory_used": 512 << 20, "memory_reserved": 256 << 20})
        }
    assert ["0", "utilisation", "Not Supported"] in refusals(played)


@pytest.mark.parametrize(
    ("variable", "used"),
    [
        ("0,9,1", [True, False, False]), ("GPU-stub-1", [False, True, False]), ("2, 0", [True, False, True]),
        ("", [False, False, False]), ("MIG-stub-2-0", [False, False, True]),
    ],
)  # fmt: skip
def test_gpus_that_a_run_was_given_are_those_that_cuda_shows(
    driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, used: list[bool]
) -> None:
    """The first name that fits none ends the list; an instance's may be of any GPU that is split."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    played = play(driver, tmp_path, "gpu A\ngpu B\ngpu C\nmig 2", seconds=1)
    assert [line[7] for line in played if line[0] == "gpu"] == used


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("init 9\ngpu A", "Driver Not Loaded"),
        ("init 18\ngpu A", "RM has detected an NVML/RM version mismatch."),
        ("driver 580.1", "the driver shows no GPU"),
    ],
)
def test_a_driver_that_shows_no_gpu_is_unavailable_with_the_reason(
    driver: Path, tmp_path: Path, script: str, reason: str
) -> None:
    """Detection and sampler say it in NVML's own words, and neither raises."""
    assert detected(driver, tmp_path, script)[0] == []
    assert detected(driver, tmp_path, script)[2] == reason
    assert refusals(play(driver, tmp_path, script, seconds=1)) == [[None, "all", reason]]


def test_the_sampler_s_process_survives_in_its_record_when_killed(driver: Path, tmp_path: Path) -> None:
    """Every reading is in the file at the moment it was taken: a kill leaves whole lines, and ingest reads them all."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(driver), "NVML_SCRIPT": scripted(tmp_path, f"gpu A\n{SQUARE}")}
    command = [sys.executable, "-m", "toolkit.capture.gpu_sampling", tmp_path, "100", "cuda"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPO, env=environment, stdin=pipe, stdout=pipe, text=True) as sampler:
        assert sampler.stdout is not None
        assert sampler.stdout.readline() == "ready\n"
        before = (tmp_path / "gpu.jsonl").stat().st_size
        sampler.send_signal(signal.SIGKILL)
    lines = (tmp_path / "gpu.jsonl").read_text().splitlines()
    assert before > 0
    assert sum(line.startswith('["readings"') for line in lines) >= 60
    with (tmp_path / "gpu.jsonl").open("a") as file:
        file.write('["readings",1,"nvml","0",{"pow')
    counts = Counter(metric for (metric,) in rows(ingested(tmp_path), "SELECT metric FROM counters"))
    expected = Counter(metric for line in map(json.loads, lines) if line[0] == "readings" for metric in line[4])
    assert counts == expected


class Slow:
    """A sampler whose slow reading goes on until it is waited for."""

    devices = ("0",)

    def __init__(self, record: Appender, **_: bool) -> None:
        self.record = record
        self.begun, self.awaited = threading.Event(), threading.Event()

    def slow(self) -> None:
        """Writes what it read."""
        self.begun.set()
        self.awaited.wait()
        self.record.counter("nvml", "0", "ecc", 0, "errors")


def test_a_slow_reading_at_the_end_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is closed after it, and has it before its last line."""
    samplers: list[Slow] = []

    class Waiting(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            samplers[0].awaited.set()
            super().join(timeout)

    def made(*arguments: Any, **named: Any) -> Slow:
        samplers.append(Slow(*arguments, **named))
        return samplers[0]

    monkeypatch.setattr(gpu_sampling, "GpuSampler", made)
    monkeypatch.setattr(gpu_sampling, "find_poll", lambda *_: 1)
    monkeypatch.setattr(gpu_sampling, "sample", lambda *_: samplers[0].begun.wait())
    monkeypatch.setattr(gpu_sampling, "SLOW_EVERY_S", 0.0)
    monkeypatch.setattr(gpu_sampling.orders, "first", lambda: "1")
    monkeypatch.setattr(gpu_sampling.threading, "Thread", Waiting)
    gpu_sampling.main(tmp_path, 10, "cuda")
    lines = (tmp_path / "gpu.jsonl").read_text().splitlines()
    assert [json.loads(line)[0] for line in lines][-2:] == ["counter", "clock"]


@pytest.mark.parametrize("module", ["sampling", "gpu_sampling"])
def test_a_full_disk_ends_a_sampler_with_one_line(module: str, driver: Path, tmp_path: Path) -> None:
    """/dev/full takes nothing: no traceback, exit code 1, and no waiting for a worker."""
    for name in ("samplers.jsonl", "gpu.jsonl"):
        (tmp_path / name).symlink_to("/dev/full")
    command = [sys.executable, "-m", f"toolkit.capture.{module}", tmp_path, "10", "false"]
    environment = os.environ | {"LD_LIBRARY_PATH": str(driver)}
    done = subprocess.run(
        command, cwd=REPO, env=environment, input=f"{os.getpid()}\n", capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "hwprof: a sampler's record cannot be written: No space left on device\n",
    )


def ingested(folder: Path) -> Any:
    """The store of a sampler's record."""
    store = folder / "store"
    store.mkdir()
    with StoreWriter(store) as writer:
        records.read(folder / "gpu.jsonl", pass_name="time", store=writer)
    return connect(store)


def test_records_become_columns_at_their_moments(driver: Path, tmp_path: Path) -> None:
    """Readings on the run's clock with the driver's own time; samples at the driver's; GPU, sensors, losses."""
    script = f"gpu A100 of old\narch 7\n{SQUARE}fail nvmlDeviceGetClockInfo 15 4500"
    played = play(driver, tmp_path, script, seconds=4)
    store = ingested(tmp_path)
    query = "SELECT device, name, architecture, driver, mig, used, power_limit_mw FROM gpus"
    assert rows(store, query) == [("0", "A100 of old", "ampere", "580.00.01", False, True, 700_000)]
    ((device, metric, reason, since_ns),) = rows(store, "SELECT device, metric, reason, ts_ns FROM unavailable")
    assert (device, metric, reason) == ("0", "all", "GPU is lost")
    assert 4_500 * MS <= since_ns - 1_700_000_000_000_000_000 <= 4_600 * MS
    assert len(rows(store, "SELECT * FROM sensors WHERE update_ns IS NOT NULL")) >= 3
    last = rows(store, "SELECT max(ts_ns), max(told_ns), any_value(unit) FROM counters WHERE metric = 'power_instant'")
    assert last[0][0] == last[0][1]
    assert last[0][2] == "mW"
    sampled = rows(store, "SELECT count(*), min(told_ns = ts_ns) FROM counters WHERE metric = 'power_buffer'")
    assert sampled == [(sum(len(line[4]) for line in played if line[0] == "samples"), True)]
