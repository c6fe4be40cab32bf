"""Energy against scripted true power: through NVML's bindings, the sampler, its record, ingest and analysis."""

import io
import json
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from rich.console import Console

from tests.commands import hwprof
from tests.drivers import REPO, play, scripted
from tests.power_loads import LOADS, Load, burst, square
from tests.test_analyses import store
from toolkit.analyses import power_sensors, runner
from toolkit.analyses.category_energy import category_energies
from toolkit.analyses.efficiency import efficiencies
from toolkit.analyses.energy import Energy, energies
from toolkit.analyses.power_sensors import sensor_of
from toolkit.analyses.summary import Summary, summarise
from toolkit.analyses.training import trainings
from toolkit.ingest import records
from toolkit.ingest.store import StoreWriter, connect
from toolkit.reports import summary_json
from toolkit.reports.energy import energy_sections
from toolkit.reports.html.content import Figure, Note, Table, Told
from toolkit.reports.html.energy import section

MS = 1_000_000
EPOCH_NS = 1_700_000_000_000_000_000
PUBLISHED = REPO.parent / "shared" / "studies" / "ref_nvml_power_sensor.toml"
# GPU, architecture and sensors as the table of power_sensors.py has them.
GPUS = {
    "NVIDIA H200": "arch 9\nsensor usage 100 1000\nsensor average 100 1000\nsensor instant 100 25\n",
    "NVIDIA A100-PCIE-40GB": "arch 7\nsensor usage 100 25\nsensor instant 100 25\nfail 185 3\n",
    "NVIDIA GeForce RTX 4090": "arch 8\nsensor usage 100 1000\nsensor average 100 1000\nsensor instant 100 100\n",
    "Tesla V100": "arch 5\nsensor usage 20 10\nsensor instant 20 10\nfail 185 3\n",
    "Never Measured": "arch 10\nsensor usage 100 600\nsensor average 100 300\nsensor instant 100 40\n",
}
# Windows of the scripted time, ms, after the two seconds in which the period is found.
SPANS = ((2_500, 33_000), (3_137, 9_137), (4_000, 5_500), (10_011, 21_777), (12_000, 12_030))


def marks(*spans: tuple[int, int], **more: Any) -> list[dict[str, Any]]:
    """An epoch over each span of scripted time, ms."""
    mark = {"pass_name": "time", "kind": "epoch", "name": "train", "complete": True} | more
    return [
        mark | {"id": place, "epoch": place, "ts_ns": EPOCH_NS + start * MS, "dur_ns": (end - start) * MS}
        for place, (start, end) in enumerate(spans, 1)
    ]


@contextmanager
def sampled(  # noqa: PLR0913 - what is played, and what is recorded beside it
    driver: Path,
    folder: Path,
    script: str,
    rows: list[dict[str, Any]],
    *,
    seconds: float = 34,
    slices: Sequence[dict[str, Any]] = (),
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The store of a script that was sampled for so long, with these marks and slices."""
    play(driver, folder, script, seconds=seconds)
    kept = folder / "store"
    kept.mkdir()
    with StoreWriter(kept) as writer:
        records.read(folder / "gpu.jsonl", pass_name="time", store=writer)
        writer.append_rows("marks", rows)
        writer.append_rows("slices", slices)
    with connect(kept) as connection:
        yield connection


def of_epochs(connection: duckdb.DuckDBPyConnection) -> list[Energy]:
    """In the order of the epochs."""
    return sorted((one for one in energies(connection) if one.kind == "epoch"), key=lambda one: one.epoch or 0)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
@pytest.mark.e2e
@pytest.mark.parametrize("gpu", GPUS)
def test_energy_lies_within_the_bound_that_is_told(gpu: str, load: Load, driver: Path, tmp_path: Path) -> None:
    """Counter and integral of every window that has a figure hold the true energy, and the longest has both of them."""
    with sampled(driver, tmp_path, f"gpu {gpu}\n{GPUS[gpu]}{load.script}", marks(*SPANS)) as connection:
        found = of_epochs(connection)
    for (start, end), one in zip(SPANS, found, strict=True):
        true = load.energy_mj(start, end)
        for mj, bound, reason in (
            (one.counter_mj, one.counter_bound_mj, one.counter_reason),
            (one.integral_mj, one.integral_bound_mj, one.integral_reason),
        ):
            assert (mj is None) == (reason is not None)
            assert mj is None or (bound is not None and abs(mj - true) <= bound <= mj / 4)
    assert found[0].counter_mj is not None
    assert found[0].integral_mj is not None
    assert found[-1].integral_mj is None


@pytest.mark.e2e
@pytest.mark.parametrize("load", [LOADS["burst"], burst(90, 650, 100, 1000), square(100, 600, 1000)])
def test_a_naive_sum_once_a_second_misses_it(load: Load, driver: Path, tmp_path: Path) -> None:
    """One reading a second times a second lies outside of the bound within which the counter's figure lies."""
    start, end = 3_000, 33_000
    script = f"gpu NVIDIA H200\n{GPUS['NVIDIA H200']}{load.script}"
    with sampled(driver, tmp_path, script, marks((start, end))) as connection:
        (one,) = of_epochs(connection)
        query = """
            SELECT sum(1000 * value / 1000) FROM (
                SELECT arg_min(value, ts_ns) AS value FROM counters
                WHERE metric = 'power_instant' AND ts_ns >= $1 AND ts_ns < $2 GROUP BY (ts_ns - $1) // 1000000000
            )
        """
        ((naive,),) = connection.execute(query, [EPOCH_NS + start * MS, EPOCH_NS + end * MS]).fetchall()
    true = load.energy_mj(start, end)
    assert abs(one.counter_mj - true) <= one.counter_bound_mj < abs(naive - true)
    assert abs(one.integral_mj - true) <= one.integral_bound_mj


@pytest.mark.e2e
@pytest.mark.parametrize(("step_ms", "told"), [(100, False), (300, False), (317, True), (37, True)])
def test_a_sensor_in_step_with_the_training_tells_nothing(
    step_ms: int, told: bool, driver: Path, tmp_path: Path  # noqa: FBT001 - a parameter
) -> None:  # fmt: skip
    """What sees 25 ms of every 100 sees the same part of every step of 300 ms: that is no figure, and said."""
    load = square(100, 600, step_ms)
    rows = marks((3_000, 33_000))
    rows += [
        row | {"kind": "step", "epoch": 1, "step": row["id"], "id": 10 + row["id"]}
        for row in marks(*((at, at + step_ms) for at in range(3_000, 33_000 - step_ms, step_ms)))
    ]
    script = f"gpu NVIDIA A100\n{GPUS['NVIDIA A100-PCIE-40GB']}{load.script}"
    with sampled(driver, tmp_path, script, rows) as connection:
        (one,) = of_epochs(connection)
    if told:
        assert abs(one.integral_mj - load.energy_mj(3_000, 33_000)) <= one.integral_bound_mj
    else:
        assert "keeps step with the training" in str(one.integral_reason)
    assert abs(one.counter_mj - load.energy_mj(3_000, 33_000)) <= one.counter_bound_mj


def test_counter_and_sensor_may_disagree_and_that_is_told(driver: Path, tmp_path: Path) -> None:
    """A sensor that reads 5 % low beside a counter that is right: both stand, with their ratio and its own error."""
    load = square(100, 600, 5000)
    sensors = "arch 7\nsensor usage 100 25 0.9422\nsensor instant 100 25 0.9422\nfail 185 3\n"
    script = f"gpu NVIDIA A100-PCIE-40GB\n{sensors}{load.script}"
    with sampled(driver, tmp_path, script, marks((3_000, 33_000))) as connection:
        (one,) = of_epochs(connection)
    true = load.energy_mj(3_000, 33_000)
    assert one.disagreement == pytest.approx(-0.0578, abs=0.01)
    assert (one.sensor_error, one.sensor_error_is_own) == (pytest.approx(0.0578), True)
    assert abs(one.integral_mj - true) <= one.integral_bound_mj + one.sensor_error * true


def test_a_window_with_a_hole_in_its_readings_has_no_figure(driver: Path, tmp_path: Path) -> None:
    """Nothing is interpolated over a second in which the driver did not answer, nor past its last word."""
    faults = "".join(f"fail {what} 999 8000 9500\n" for what in ("*",))
    script = f"gpu NVIDIA H200\n{GPUS['NVIDIA H200']}load 0 300\n{faults}"
    spans = ((3_000, 7_500), (7_000, 12_000), (10_500, 15_000), (15_000, 60_000))
    with sampled(driver, tmp_path, script, marks(*spans), seconds=16) as connection:
        found = of_epochs(connection)
    reasons = [one.counter_reason for one in found]
    assert reasons == [None, "there are no readings of a part of it", None, "there are no readings of a part of it"]
    assert found[0].counter_mj == pytest.approx(300 * 4_500, rel=0.01)


def test_a_gpu_without_sensors_has_no_energy_with_the_reason(driver: Path, tmp_path: Path) -> None:
    """Unknown is null and said, never 0."""
    faults = "fail 185 3\nfail 186 3\nfail nvmlDeviceGetPowerUsage 3\nfail nvmlDeviceGetTotalEnergyConsumption 3\n"
    with sampled(driver, tmp_path, f"gpu Stub\n{faults}", marks((3_000, 5_000)), seconds=5) as connection:
        (one,) = of_epochs(connection)
    assert (one.counter_mj, one.counter_reason) == (None, "there is no energy counter")
    assert (one.integral_mj, one.integral_reason) == (None, "there are no readings of power")


def test_images_per_joule_are_of_the_gpus_that_the_run_was_given(driver: Path, tmp_path: Path) -> None:
    """Of training steps as a whole; one that no sensor resolves counts, but has no figure; idle power stands apart."""
    script = "".join(f"gpu NVIDIA H200\n{GPUS['NVIDIA H200']}load 0 {watts}\n" for watts in (400, 100))
    rows = [row | {"kind": "run", "name": "time", "epoch": None} for row in marks((2_500, 20_000))]
    rows += [row | {"id": 2, "epoch": 1} for row in marks((3_000, 18_000))]
    rows += [
        row | {"kind": "step", "epoch": 1, "step": row["id"], "id": 10 + row["id"], "parent": 2}
        for row in marks(*((at, at + 40) for at in range(3_000, 13_000, 40)))
    ]
    with sampled(driver, tmp_path, script, rows, seconds=20) as connection:
        found = energies(connection)
        (one,) = efficiencies(connection, found, trainings(connection, batch=32))
        (fewer,) = efficiencies(connection, found, trainings(connection, batch=32, epoch_samples=250 * 16))
        summary = summarise(connection, batch=32)
    assert (one.devices, one.steps, one.resolved_steps, one.source) == (["0", "1"], 250, 0, "counter")
    assert one.step_mj == pytest.approx(500 * 40, rel=one.bound)
    assert one.images_per_joule == pytest.approx(32 / 20, rel=one.bound)
    assert fewer.images_per_joule == one.images_per_joule / 2
    assert one.bound < 0.02
    idle = {(entry.device, entry.metric): entry.mean_mw for entry in summary.idle_power}
    assert idle["0", "power_instant"] == 400_000
    assert {entry.kind for entry in summary.energy} == {"run", "epoch", "training"}
    assert_page_tells(summary)


def assert_page_tells(summary: Summary) -> None:
    """Windows with a figure, the others by number and reason; what bounds hold; idle power; images a joule."""
    nothing = msgspec.structs.replace(
        summary.energy[0], counter_mj=None, integral_mj=None, counter_reason="told by none", pass_name="profile"
    )
    summary = msgspec.structs.replace(summary, energy=[nothing, *summary.energy])
    page = section(summary, Told(summary))
    assert page is not None
    windows, missing, idle, efficiency = page.blocks
    assert isinstance(windows, Table)
    assert isinstance(missing, Note)
    assert isinstance(idle, Table)
    assert isinstance(efficiency, Table)
    assert [str(row[0]) for row in windows.rows] == [
        f"time pass, gpu {device} {what}" for device in "01" for what in ("run", "epoch 1", "training, epoch 1")
    ]
    assert windows.note is not None
    assert "the sensor itself ±" in windows.note
    assert missing.text == "1 windows without a figure: told by none ×1"
    mean = next(row[2] for row in idle.rows if row[0] == "time pass, GPU 0: power instant")
    assert isinstance(mean, Figure)
    assert mean.text == "400.0"
    assert "images/J" in efficiency.headers


def test_single_steps_are_listed_where_a_sensor_resolves_them(driver: Path, tmp_path: Path) -> None:
    """Each long step by its own energy, whatever its neighbours drew; a short one among them is counted alone."""
    load, script = square(100, 600, 3_170), f"gpu NVIDIA H200\n{GPUS['NVIDIA H200']}"
    spans = [(at, at + 1_500) for at in range(3_000, 15_000, 1_500)] + [(15_000, 15_040)]
    rows = [row | {"kind": "run", "name": "time", "epoch": None, "id": 100} for row in marks((2_500, 17_000))]
    rows += [row | {"id": 101, "epoch": 1} for row in marks((3_000, 16_000))]
    rows += [row | {"kind": "step", "epoch": 1, "step": row["id"], "parent": 101} for row in marks(*spans)]
    with sampled(driver, tmp_path, f"{script}{load.script}", rows, seconds=18) as connection:
        summary = summarise(connection, batch=32)
    steps = [entry for entry in summary.energy if entry.kind == "step"]
    assert [entry.step for entry in steps] == list(range(1, len(spans)))
    for (start, end), entry in zip(spans, steps, strict=False):
        true = load.energy_mj(start, end)
        assert abs(entry.counter_mj - true) <= entry.counter_bound_mj <= entry.counter_mj / 4
    (one,) = summary.efficiency
    assert (one.resolved_steps, one.steps) == (len(steps), len(spans))
    terminal = Console(width=200, file=io.StringIO(), record=True)
    terminal.print(*energy_sections(summary, "time"))
    assert "gpu 0 training, epoch 1" in (shown := terminal.export_text())
    assert "gpu 0 step" not in shown
    listed = [entry for entry in json.loads(summary_json.encode(summary))["energy"] if entry["kind"] == "step"]
    assert [entry["counter_mj"] for entry in listed] == [entry.counter_mj for entry in steps]


def test_phases_of_an_epoch_are_told_together(tmp_path: Path) -> None:
    """Many short phases have ends enough to make their energy nothing; one long one has a figure."""
    counters = [
        {"pass_name": "time", "source": "nvml", "device": "0", "metric": "energy", "unit": "mJ"}
        | {"ts_ns": at * MS, "value": 300.0 * at}
        for at in range(0, 20_000, 50)
    ]
    gpus = [
        {"pass_name": "time", "device": "0", "name": "GPU", "driver": "580", "power_limit_mw": 700_000, "used": True}
    ]
    phase = {"pass_name": "time", "kind": "phase", "epoch": 1, "complete": True}
    rows = [
        phase | {"id": at, "name": "compute", "ts_ns": at * MS, "dur_ns": 60 * MS} for at in range(1_000, 9_000, 100)
    ]
    rows.append(phase | {"id": 1, "name": "validation", "ts_ns": 10_000 * MS, "dur_ns": 8_000 * MS})
    with store(tmp_path, counters=counters, gpus=gpus, marks=rows) as connection:
        found = {one.name: one for one in energies(connection)}
    assert (found["compute"].windows, found["compute"].ns, found["compute"].counter_mj) == (80, 4_800 * MS, None)
    assert found["validation"].counter_mj == pytest.approx(300 * 8_000, rel=0.001)


def test_reasons_to_throttle_are_told_by_share(driver: Path, tmp_path: Path) -> None:
    """A power cap from half of the run on, with the software's thermal slowdown beside it."""
    rows = [row | {"kind": "run", "name": "time"} for row in marks((3_000, 13_000))]
    with sampled(driver, tmp_path, "gpu A\nthrottle 8000 36\n", rows, seconds=12) as connection:
        found = runner.run(connection, "throttling")
    assert {row["reason"] for row in found} == {"sw_power_cap", "sw_thermal_slowdown"}
    assert all(row["share"] == pytest.approx(0.5, abs=0.02) for row in found)


def test_the_table_of_sensors_is_the_published_one() -> None:
    """Kinds, matrix and errors are those of the study, whichever file they were copied from."""
    if not PUBLISHED.exists():
        pytest.skip("needs the studies beside the repository")
    published = tomllib.loads(PUBLISHED.read_text())
    assert {chip: tuple(kinds) for chip, kinds in published["matrix"].items()} == power_sensors.MATRIX
    for name, kind in power_sensors.KINDS.items():
        told = published["category"][name]
        assert told.get("window_ms") == (None if kind.window_ns is None else kind.window_ns / MS)
        assert told.get("update_ms", kind.update_ns / MS) == kind.update_ns / MS
    errors = {entry["gpu"]: entry["energy_error_pct_mean"] for entry in published["steady_state"]}
    assert errors == power_sensors.ENERGY_ERROR_PCT


@pytest.mark.parametrize(
    ("gpu", "architecture", "driver_version", "metric", "window_ms"),
    [
        ("NVIDIA H200", "hopper", "580.1", "power", 1000), ("NVIDIA H200", "hopper", "580.1", "power_instant", 25),
        ("NVIDIA A100-SXM4-80GB", "ampere", "470.1", "power", 25), ("NVIDIA A10", "ampere", "525.1", "power", 1000),
        ("NVIDIA A10", "ampere", "530.30", "power", 100), ("Tesla T4", "turing", "580.1", "power", 100),
    ],
)  # fmt: skip
def test_a_sensor_is_found_by_chip_driver_and_metric(
    gpu: str, architecture: str, driver_version: str, metric: str, window_ms: int
) -> None:
    """GA100 is no other Ampere, and driver 530 no other driver."""
    sensor = sensor_of(metric, gpu, architecture, driver_version, None)
    assert not isinstance(sensor, str)
    assert sensor.windows_ns == (window_ms * MS, window_ms * MS)


def test_a_sensor_that_follows_logarithmically_measures_no_energy() -> None:
    """Maxwell's readings are no means of any window, and that is the reason."""
    assert "logarithmically" in str(sensor_of("power", "GeForce GTX 980", "maxwell", "535", None))


# Category -> (ms, W) of what is repeated, with nothing running at the end.
MIXTURE = {"gemm": (227, 520), "elementwise": (171, 260), "idle": (113, 110)}


def kernels(until_ms: int, parts: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """One kernel a part, over and over, from 3 s on."""
    found, at = [], 3_000
    while at < until_ms:
        for category, (lasting, _) in parts.items():
            row = {"pass_name": "time", "trace": 0, "kind": "kernel", "name": "k", "device": "0", "category": category}
            found += [row | {"ts_ns": EPOCH_NS + at * MS, "dur_ns": lasting * MS}] * (category != "idle")
            at += lasting
    return found


def levels(parts: dict[str, tuple[int, int]]) -> tuple[Load, float]:
    """Their power, beginning 3 s after the script does."""
    points, at = [], 0.0
    for lasting, watts in parts.values():
        points += [(at + 0.001 * (at > 0), float(watts)), (at + lasting, float(watts))]
        at += lasting
    shift = 3_000 % at
    return Load(tuple(points), at), shift


@pytest.mark.parametrize("gpu", ["NVIDIA GeForce RTX 4090", "NVIDIA H200", "NVIDIA A100-PCIE-40GB"])
def test_categories_have_the_energy_of_their_kernels(gpu: str, driver: Path, tmp_path: Path) -> None:
    """From values that each mix several: the scripted power times the time that each ran lies within the interval."""
    load, shift = levels(MIXTURE)
    script = f"origin {EPOCH_NS + round(shift * MS)}\ngpu {gpu}\n{GPUS[gpu]}{load.script}"
    slices = kernels(58_000, MIXTURE)
    with sampled(driver, tmp_path, script, marks((3_000, 60_000)), seconds=60, slices=slices) as connection:
        found = {one.category: one for one in category_energies(connection)}
    assert found.keys() == MIXTURE.keys()
    for category, (_, watts) in MIXTURE.items():
        one = found[category]
        assert one.reason is None, one
        true = watts * one.ns / MS
        assert one.least_mj - 0.03 * true <= true <= one.most_mj + 0.03 * true


def test_a_mixture_that_is_always_the_same_tells_no_category(driver: Path, tmp_path: Path) -> None:
    """Kernels far shorter than a window, in turn: the power of one cannot be told from another's, and that is said."""
    short = {"gemm": (2, 500), "elementwise": (3, 200), "idle": (5, 100)}
    load, _ = levels(short)
    script = f"origin {EPOCH_NS}\ngpu NVIDIA H200\n{GPUS['NVIDIA H200']}{load.script}"
    slices = kernels(28_000, short)
    with sampled(driver, tmp_path, script, marks((3_000, 30_000)), seconds=30, slices=slices) as connection:
        found = category_energies(connection)
    assert {one.category for one in found} == short.keys()
    assert all(one.mj is None and one.reason for one in found)


@pytest.mark.e2e
def test_a_run_beside_a_gpu_tells_its_energy(driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In real time: the sampler's own process, a worker, the report. Energy of the run lies by the scripted power."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
    monkeypatch.setenv("NVML_SCRIPT", scripted(tmp_path, f"gpu NVIDIA H200\n{GPUS['NVIDIA H200']}load 0 300\n"))
    settings = ["framework=torch", "model=cifar_cnn", "device=cpu", "runtime=local", "passes=time", "threads=1"]
    done = hwprof(
        "run",
        "--runs",
        tmp_path / "runs",
        *(f"--set={setting}" for setting in (*settings, "batch=8", "steps=100", "infer_repeats=0")),
    )
    assert done.returncode == 0, done.stderr
    summary = summary_json.read(next(tmp_path.glob("runs/*/summary.json")))
    (whole,) = (entry for entry in summary.energy if entry.kind == "run")
    assert abs(whole.counter_mj - 300 * whole.ns / MS) <= whole.counter_bound_mj
    assert {entry.mean_mw for entry in summary.idle_power} == {300_000}
    assert "Energy, time pass, J" in done.stdout
