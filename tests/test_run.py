"""The main job for real: every framework, both passes, down to the report; and workers that do not end well."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.commands import HWPROF, REPO, hwprof
from tests.small_disk import ends_for_want_of_room, small_disk
from toolkit.capture import runs, verdicts
from toolkit.reports import summary_json, tensorboard_text

SMALL = ["model=cifar_cnn", "batch=8", "steps=4", "epochs=2", "validation_steps=1", "infer_batches=1,4", "threads=1"]
# An engine that happens to run here changes nothing; containers have their own tests, which say so after this.
SMALL += ["runtime=local"]
PATIENCE_S = 120
POLL_S = 0.1

pytestmark = pytest.mark.e2e


def run(runs: Path, *settings: str, code: int = 0) -> Path:
    """A small run by the command line; its folder."""
    answer = hwprof("run", "--runs", runs, *(f"--set={setting}" for setting in (*SMALL, *settings)))
    assert answer.returncode == code, answer.stderr
    return max((REPO / runs).iterdir())


@pytest.fixture(scope="module", params=["torch", "tf-fit", "tf-custom", "jax-custom", "jax-fit"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in each framework and loop."""
    framework, _, loop = request.param.partition("-")
    return run(tmp_path_factory.mktemp("runs"), f"framework={framework}", f"loop={loop or 'auto'}")


def test_a_run_folder_is_whole(finished: Path) -> None:
    """Every part that the design names is there, and the status says complete."""
    ended = json.loads((finished / "run.json").read_text())
    assert ended | {"runtime": None, "matched": None} == {
        "status": "complete", "reason": None, "exit_code": 0, "runtime": None, "matched": None,
    }  # fmt: skip
    wanted = ["spec.json", "summary.json", "raw/launch.json", "marks.parquet", "slices.parquet", "counters.parquet"]
    records = ("worker.jsonl", "facts.json", "description.json", "samplers.jsonl")
    wanted += [f"raw/{name}/{file}" for name in ("time", "profile") for file in records]
    assert [name for name in wanted if not (finished / name).exists()] == []
    assert not list(finished.glob(".*"))


def test_the_ledger_s_rest_is_little_or_explained(finished: Path) -> None:
    """`other` is under 3 % of the epochs after the first, or the report says what it holds."""
    summary = summary_json.read(finished / "summary.json")
    assert summary is not None
    shown = hwprof("show", finished.name, "--runs", finished.parent).stdout
    for pass_name in ("time", "profile"):
        later = [epoch for epoch in summary.epochs if epoch.pass_name == pass_name and epoch.epoch > 1]
        other = sum(epoch.parts_ns.get("other", 0) for epoch in later) / sum(epoch.wall_ns for epoch in later)
        assert other < 0.03 or "other: " in shown


def test_a_run_can_be_compared_later(finished: Path) -> None:
    """Both passes describe what they ran, and alike: a run held to itself differs in nothing."""
    shown = json.loads(hwprof("differences", finished.name, "last", "--runs", finished.parent, "--json").stdout)
    assert [(each["differences"], each["framework_a"]) for each in shown] == [([], runs.spec_of(finished).framework)]
    passes = [json.loads((finished / "raw" / name / "description.json").read_text()) for name in ("time", "profile")]
    assert passes[0] == passes[1]


def test_every_report_says_where_it_ran(finished: Path) -> None:
    """run.json, summary.json, terminal and TensorBoard agree on the runtime, and name the lock by its hash."""
    asked = json.loads((finished / "spec.json").read_text())["runtime"]
    launched = json.loads((finished / "raw" / "launch.json").read_text())["runtime"]
    assert (launched["name"], launched["asked"], launched["fallbacks"]) == (asked, asked, [])
    assert json.loads((finished / "run.json").read_text())["runtime"] == launched
    assert json.loads((finished / "summary.json").read_text())["runtime"] == launched
    # A narrow terminal wraps the line.
    shown = " ".join(hwprof("show", finished.name, "--runs", finished.parent).stdout.split())
    assert f"lock {launched['lock']} {launched['lock_sha256'][:12]}" in shown
    assert launched["lock_sha256"] in tensorboard_text.text(finished)


def test_every_report_says_whether_it_is_verified(finished: Path) -> None:
    """run.json and summary.json hold the identity by which a verdict is found; PyTorch is the reference."""
    spec = runs.spec_of(finished)
    claim = json.loads((finished / "run.json").read_text())["matched"]
    assert claim["identity"] == verdicts.identity(spec, spec.framework)
    assert claim["reference"] == (spec.framework == "torch")
    assert json.loads((finished / "summary.json").read_text())["matched"] == claim
    said = "PyTorch is the reference" if claim["reference"] else "matched"
    assert said in " ".join(hwprof("show", finished.name, "--runs", finished.parent).stdout.split())
    assert said in tensorboard_text.text(finished)


def test_ledgers_sum_exactly_and_hold_what_ran(finished: Path) -> None:
    """Two epochs in each pass, their parts summing to the wall time, with compute and validation among them."""
    summary = summary_json.read(finished / "summary.json")
    assert [(epoch.pass_name, epoch.epoch) for epoch in summary.epochs] == [
        ("profile", 1), ("profile", 2), ("time", 1), ("time", 2),
    ]  # fmt: skip
    for epoch in summary.epochs:
        assert sum(epoch.parts_ns.values()) == epoch.wall_ns
        assert {"compute", "validation", "callbacks"} <= set(epoch.parts_ns)
    for gap in summary.gaps:
        assert sum(gap.parts_ns.values()) == gap.gap_ns


def test_the_trace_lies_on_the_run_s_clock(finished: Path) -> None:
    """Every annotation is found, inside the worker's own clock reads, and residuals are under a millisecond."""
    (alignment,) = summary_json.read(finished / "summary.json").alignment
    assert alignment.brackets >= 8
    assert alignment.missing == 0
    assert alignment.violations == 0
    assert alignment.median_residual_ns is not None
    assert alignment.median_residual_ns < 1_000_000


def test_a_run_is_trusted_and_its_figures_are_there(finished: Path) -> None:
    """Steps, profiler cost, latency, accuracy before and after, operators and samplers all have figures."""
    summary = summary_json.read(finished / "summary.json")
    assert summary.trusted, summary.warnings
    assert summary.profiler_cost is not None
    assert {entry.batch for entry in summary.inference} == {1, 4}
    names = {scalar.name for scalar in summary.scalars}
    assert {"train_loss", "validation_loss", "validation_accuracy", "accuracy_before", "accuracy_after"} <= names
    assert any("conv" in operator.operator.lower() for operator in summary.traces[0].operators)
    assert {"rss", "cpu"} <= {sample.metric for sample in summary.samples}


def test_what_this_machine_lacks_is_said_with_its_reason(finished: Path) -> None:
    """Without a driver the power is not zero: it is unavailable, in NVML's own words."""
    summary = summary_json.read(finished / "summary.json")
    if any(sample.source == "nvml" for sample in summary.samples):
        pytest.skip("this machine has a GPU")
    reasons = {entry.reason for entry in summary.unavailable if entry.source == "nvml"}
    assert reasons
    assert all(reasons)


def test_reports_read_what_was_stored(finished: Path) -> None:
    """`show` draws the ledger, `show --json` gives summary.json, `list` has the run with its figures."""
    shown = hwprof("show", finished.name, "--runs", finished.parent)
    assert "Epoch ledger, time pass" in shown.stdout
    assert "profiler cost" in shown.stdout
    told = json.loads(hwprof("show", "last", "--runs", finished.parent, "--json").stdout)
    assert told == json.loads((finished / "summary.json").read_text())
    (listed,) = json.loads(hwprof("list", "--runs", finished.parent, "--json").stdout)
    assert listed["run"] == finished.name
    assert listed["status"] == "complete"
    # Of a whole epoch, so that what the host did not wait for in a step is in it.
    (later,) = (epoch for epoch in told["training"] if (epoch["pass_name"], epoch["epoch"]) == ("time", 2))
    assert listed["step_ns"] == later["ns"] // later["steps"]
    assert finished.name in hwprof("list", "--runs", finished.parent).stdout


def test_analyses_run_again_from_raw(finished: Path) -> None:
    """Everything right of raw/ is made again, equal, without a framework."""
    before = json.loads((finished / "summary.json").read_text())
    for path in [*finished.glob("*.parquet"), finished / "summary.json"]:
        path.unlink()
    assert hwprof("show", finished.name, "--runs", finished.parent).returncode == 0
    assert json.loads((finished / "summary.json").read_text()) == before


def test_inference_alone_is_a_task(tmp_path: Path) -> None:
    """task=infer trains nothing, and profiles the requests; the folder of runs may be given relative to here."""
    run(Path(os.path.relpath(tmp_path, REPO)), "task=infer")
    summary = summary_json.read(next(tmp_path.glob("*/summary.json")))
    assert summary.epochs == []
    assert {entry.pass_name for entry in summary.inference} == {"time", "profile"}
    assert summary.traces[0].operators


def test_py_spy_attaches_on_request(tmp_path: Path) -> None:
    """pyspy=true leaves a Chrome trace of the profile pass, on the run's clock, or the reason why not."""
    folder = run(tmp_path, "pyspy=true")
    summary = summary_json.read(folder / "summary.json")
    reasons = [entry.reason for entry in summary.unavailable if entry.source == "pyspy"]
    assert (folder / "raw" / "profile" / "pyspy.json").exists() != bool(reasons)
    assert reasons or {window.name for window in summary.stacks} >= {"setup", "train"}
    assert (folder / "stacks.speedscope.json").exists() != bool(reasons)


def test_a_checkpoint_is_timed_and_removed(tmp_path: Path) -> None:
    """checkpoint=true adds its part to every epoch and leaves no file."""
    folder = run(tmp_path, "checkpoint=true", "passes=time")
    summary = summary_json.read(folder / "summary.json")
    assert all(epoch.parts_ns["checkpoint"] > 0 for epoch in summary.epochs)
    assert not list(folder.rglob("checkpoint*"))


def test_out_of_memory_is_a_recorded_result(tmp_path: Path) -> None:
    """Images that no machine holds end the run as out_of_memory, with the record kept."""
    folder = run(tmp_path, "image_size=200000", "passes=time", code=1)
    assert json.loads((folder / "run.json").read_text())["status"] == "out_of_memory"


def start(runs: Path, *settings: str) -> subprocess.Popen[str]:
    """A run too long to wait for."""
    arguments = [f"--set={setting}" for setting in (*SMALL, "steps=100000", *settings)]
    command = [HWPROF, "run", "--runs", runs, *arguments]
    return subprocess.Popen(command, cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition: Callable[[], Any]) -> Any:
    """What `condition` gives, once it gives something."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := condition():
            return found
        # Looking costs as much processor as a worker has here.
        time.sleep(POLL_S)
    raise AssertionError("it did not happen in time")


def training_worker(runs: Path) -> psutil.Process | None:
    """The worker's process, once its record shows training steps."""
    records = list(runs.glob("*/raw/time/worker.jsonl"))
    if not records or '"step"' not in records[0].read_text():
        return None
    found = [p for p in psutil.process_iter(["cmdline"]) if "toolkit.capture.worker" in (p.info["cmdline"] or [])]
    mine = [p for p in found if str(runs) in " ".join(p.info["cmdline"])]
    return mine[0] if mine else None


def leftovers(runs: Path) -> list[int]:
    """Processes that still work for a folder of runs."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(runs) in " ".join(p.info["cmdline"] or [])]


def status(runs: Path) -> dict[str, Any]:
    """The one run's run.json."""
    return dict(json.loads(next(runs.glob("*/run.json")).read_text()))


def test_a_killed_worker_is_recorded_as_killed(tmp_path: Path) -> None:
    """Its steps up to the last half second are kept, the epoch is marked incomplete, nothing is left running."""
    process = start(tmp_path)
    wait_for(lambda: training_worker(tmp_path)).kill()
    report, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert report == ""
    assert "killed: time pass: the worker was killed by SIGKILL" in errors.splitlines()[-1]
    assert status(tmp_path)["status"] == "killed"
    summary = summary_json.read(next(tmp_path.glob("*/summary.json")))
    assert [epoch.complete for epoch in summary.epochs] == [False]
    assert summary.steps[0].steps > 0
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_was_recorded(number: signal.Signals, tmp_path: Path) -> None:
    """Exit code 130, status interrupted, a readable report, and no process left."""
    process = start(tmp_path, "passes=time")
    wait_for(lambda: training_worker(tmp_path))
    interrupt(process, number, tmp_path)
    assert leftovers(tmp_path) == []


def interrupt(process: subprocess.Popen[str], number: signal.Signals, runs: Path) -> None:
    """Interrupts a run, and asserts that it said so, in its record too, and that there is a report of it."""
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "interrupted" in errors.splitlines()[-1]
    assert status(runs)["status"] == "interrupted"
    assert hwprof("show", "last", "--runs", runs).returncode == 0


def test_a_dead_launcher_takes_everything_with_it(tmp_path: Path) -> None:
    """Killed hard, it leaves no worker behind, and its run shows as incomplete."""
    process = start(tmp_path)
    wait_for(lambda: training_worker(tmp_path))
    process.kill()
    process.communicate()
    assert wait_for(lambda: not leftovers(tmp_path))
    (listed,) = json.loads(hwprof("list", "--runs", tmp_path, "--json").stdout)
    assert listed["status"] == "incomplete"


def test_a_run_past_its_time_is_ended(tmp_path: Path) -> None:
    """timeout_s ends the pass, and the status says so."""
    folder = run(tmp_path, "steps=100000", "timeout_s=8", code=1)
    assert json.loads((folder / "run.json").read_text())["status"] == "timed_out"


def test_a_full_disk_ends_the_run_with_one_clear_line(tmp_path: Path) -> None:
    """The worker stops instead of working for nothing; what fitted stays, and the line names the folder."""
    with small_disk(tmp_path, "100k"):
        ends_for_want_of_room(tmp_path, *SMALL)
        assert leftovers(tmp_path) == []
