"""The log directory that TensorBoard reads, and what the command says before anything is served."""

import errno
import hashlib
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from google.protobuf.json_format import MessageToDict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.util.tensor_util import make_ndarray

from tests import recorded
from tests.commands import hwprof
from toolkit.analyses import processes
from toolkit.capture.runs import spec_of
from toolkit.commands.sides import summary_of
from toolkit.errors import HwprofError
from toolkit.ingest.store import StoreWriter
from toolkit.reports.tensorboard import build_logdir

START_NS = 1_800_000_000_000_000_000
MS = 1_000_000


# --- the log directory, from runs made here


def make_run(runs: Path, name: str = "run-a", *, status: dict[str, Any] | None = None) -> Path:
    """A run of two training steps, one epoch and a few readings, with a trace of each framework."""
    run = runs / name
    trace = run / "raw" / "profile" / "trace"
    (trace / "plugins" / "profile" / "2026_01_01").mkdir(parents=True)
    (trace / "worker.17.pt.trace.json.gz").write_bytes(b"torch")
    (trace / "plugins" / "profile" / "2026_01_01" / "vm.xplane.pb").write_bytes(b"tf")
    spec = {"framework": "torch", "model": "cifar_cnn", "task": "train", "batch": 8, "data_dir": "a|b <i>*c*</i>"}
    (run / "spec.json").write_text(json.dumps(spec))
    (run / "raw" / "launch.json").write_text(json.dumps({"notes": ["Device cpu, as asked."]}))
    status = status or {"status": "complete", "reason": None, "exit_code": 0}
    (run / "run.json").write_text(json.dumps(status))
    with StoreWriter(run) as store:
        for pass_name, slower in (("time", 1), ("profile", 2)):
            fill(store, pass_name, slower)
    return run


def fill(store: StoreWriter, pass_name: str, slower: int) -> None:
    """Marks, scalars and counters of one pass."""
    at = {"pass_name": pass_name, "epoch": 1}
    mark = at | {"kind": "step", "complete": True}
    marks = [
        {"pass_name": pass_name, "kind": "run", "ts_ns": START_NS, "dur_ns": 900 * MS, "complete": True},
        mark | {"step": 1, "ts_ns": START_NS + 100 * MS, "dur_ns": 30 * MS * slower},
        mark | {"step": 2, "ts_ns": START_NS + 200 * MS, "dur_ns": 20 * MS * slower},
        mark | {"step": 3, "ts_ns": START_NS + 300 * MS, "dur_ns": 1 * MS, "complete": False},
        {"pass_name": pass_name, "kind": "request", "name": "8", "step": 1, "ts_ns": START_NS + 400 * MS,
         "dur_ns": 5 * MS, "complete": True},
    ]  # fmt: skip
    store.append_rows("marks", [mark | {"id": number} for number, mark in enumerate(marks, 1)])
    scalars = {"train_loss": 2.5, "validation_loss": 2.25, "validation_accuracy": 0.5, "gradient_norm": 3.0}
    at |= {"ts_ns": START_NS + 350 * MS}
    store.append_rows("scalars", [at | {"name": name, "value": value} for name, value in scalars.items()])
    readings = [
        ("host", None, "cpu", 87.5, "%"), ("host", None, "rss", 2.0**30, "B"), ("nvml", "1", "power", 250_500.0, "mW"),
        ("nvml", "1", "memory_used", 2.0**33, "B"), ("nvml", "1", "utilisation", 42.0, "%"),
        ("torch", "0", "reserved", 4096.0, "B"),
    ]  # fmt: skip
    columns = ("source", "device", "metric", "value", "unit")
    store.append_rows(
        "counters",
        [
            dict(zip(columns, reading, strict=True)) | {"pass_name": pass_name, "ts_ns": START_NS + 250 * MS + late}
            for reading in readings
            for late in (0, 1_500_000)
        ],
    )


class Shown(NamedTuple):
    """A point as TensorBoard reads it."""

    wall_time: float
    step: int
    value: float


def charts(folder: Path) -> dict[str, list[Shown]]:
    """Every chart of an event folder, read by TensorBoard's own reader."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [Shown(at.wall_time, at.step, make_ndarray(at.tensor_proto).item()) for at in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if tag != "about" and not tag.startswith("_hparams_")
    }


def about(folder: Path) -> str:
    """The text of a run."""
    events = EventAccumulator(str(folder))
    events.Reload()
    (event,) = events.Tensors("about")
    text: bytes = make_ndarray(event.tensor_proto).item()
    return text.decode()


def values(shown: list[Shown]) -> list[tuple[int, float]]:
    """Place on the step axis, and value."""
    return [(point.step, point.value) for point in shown]


def hashes(folder: Path) -> dict[str, str]:
    """Name and content of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_scalars_stand_at_their_epoch_step_and_time(tmp_path: Path) -> None:
    """Losses and accuracy by epoch, steps and requests by number, each in its unit and at its own wall time."""
    build_logdir([make_run(tmp_path / "runs")], tmp_path / "logs")
    shown = charts(tmp_path / "logs" / "run-a")
    assert values(shown["loss/train"]) == [(1, 2.5)]
    assert values(shown["loss/validation"]) == [(1, 2.25)]
    assert values(shown["accuracy/validation"]) == [(1, 0.5)]
    assert values(shown["scalars/gradient_norm"]) == [(1, 3.0)]
    assert values(shown["step_time_ms"]) == [(1, 30.0), (2, 20.0)]
    assert values(shown["inference_ms/batch_8"]) == [(1, 5.0)]
    assert [point.wall_time for point in shown["step_time_ms"]] == [1_800_000_000.1, 1_800_000_000.2]


@pytest.mark.e2e
def test_a_run_is_a_session_of_its_settings(tmp_path: Path) -> None:
    """The settings that a sweep varies, by which repeats are one group, read by TensorBoard's own reader."""
    names = {path.name: path for path in recorded.unpack(tmp_path / "runs")}
    summaries = {name: summary_of(path) for name, path in names.items()}
    build_logdir(list(names.values()), tmp_path / "logs")
    groups = {}
    for name, path in names.items():
        events = EventAccumulator(str(tmp_path / "logs" / name))
        events.Reload()
        content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        start = metadata.parse_session_start_info_plugin_data(content)
        told = {axis: MessageToDict(value) for axis, value in start.hparams.items()}
        assert (told["framework"], told["batch"], told["device"]) == (spec_of(path).framework, 8.0, "cpu")
        groups[name] = start.group_name
        results = {tag: points for tag, points in charts(tmp_path / "logs" / name).items() if tag.startswith("result/")}
        process = processes.read(path, summaries[name])
        assert results["result/step_time_ms"][0].value == pytest.approx(
            processes.METRICS["step_time"].of(process) / 1e6
        )
        assert {"result/throughput_samples_per_s", "result/peak_memory_mib", "result/profiler_cost_ratio"} <= set(
            results
        )
    assert len(set(groups.values())) == len(names)


def test_readings_stand_at_milliseconds_since_their_pass_began(tmp_path: Path) -> None:
    """Each reading's unit is in its tag, milliwatts shown as watts, and one GPU is told from another."""
    build_logdir([make_run(tmp_path / "runs")], tmp_path / "logs")
    shown = {tag: values(points) for tag, points in charts(tmp_path / "logs" / "run-a").items()}
    assert shown["host/cpu_percent"] == [(250, 87.5), (251, 87.5)]
    assert shown["host/rss_bytes"][0] == (250, 2.0**30)
    assert shown["gpu1/power_w"][0] == (250, 250.5)
    assert shown["gpu1/memory_used_bytes"][0] == (250, 2.0**33)
    assert shown["gpu1/utilisation_percent"][0] == (250, 42.0)
    assert shown["torch/device0_reserved_bytes"][0] == (250, 4096.0)


def test_the_profile_pass_is_a_run_of_its_own(tmp_path: Path) -> None:
    """Its steps, slower by the profiler's cost, are never mixed with the time pass's."""
    build_logdir([make_run(tmp_path / "runs")], tmp_path / "logs")
    assert values(charts(tmp_path / "logs" / "run-a" / "profile")["step_time_ms"]) == [(1, 60.0), (2, 40.0)]


def test_the_text_says_what_ran_how_it_ended_and_what_to_doubt(tmp_path: Path) -> None:
    """Status, settings and warnings are there; no value of a setting turns into markup."""
    failed = {"status": "killed", "reason": "time pass: the worker was killed by SIGKILL", "exit_code": 1}
    run = make_run(tmp_path / "runs", status=failed)
    warning = {"code": "dropped_events", "count": 7, "message": "The profiler dropped 7 events.", "untrusted": True}
    summary: dict[str, Any] = {"trusted": False, "warnings": [warning], "profiler_cost": {"ratio": 1.5}, "another": "x"}
    epoch = {"pass_name": "time", "epoch": 1, "parts_ns": {"data_wait": 2 * MS, "compute": 40 * MS}}
    finding = {"title": "Input-bound: <b>", "share": 0.25, "share_of": "epoch 1", "remedy": "Load ahead."}
    summary |= {"epochs": [epoch, epoch | {"pass_name": "profile"}], "findings": [finding]}
    (run / "summary.json").write_text(json.dumps(summary))
    build_logdir([run], tmp_path / "logs")
    text = about(tmp_path / "logs" / "run-a")
    for words in (
        "Status: **killed**: time pass: the worker was killed by SIGKILL", "Trusted: **NO**", "| batch | 8 |",
        "×7: The profiler dropped 7 events.", "×1.50", "Device cpu, as asked.", "`run-a/profile`", "www.gstatic.com",
        "| ms | epoch 1 |", "| data wait | 2.00 |", "| **wall** | **42.00** |",
        "1. **Input-bound: &#60;b&#62;**, 25.0%",
        "| a&#124;b &#60;i&#62;&#42;c&#42;&#60;/i&#62; |",
    ):  # fmt: skip
        assert words in text


def test_a_run_without_status_store_or_traces_is_still_shown(tmp_path: Path) -> None:
    """A run folder that holds only its spec is shown as incomplete, its records as not read."""
    run = make_run(tmp_path / "runs")
    for path in [run / "run.json", *run.glob("*.parquet")]:
        path.unlink()
    shutil.rmtree(run / "raw")
    build_logdir([run], tmp_path / "logs")
    text = about(tmp_path / "logs" / "run-a")
    assert "Status: **incomplete**" in text
    assert "have not been read yet" in text
    assert not (tmp_path / "logs" / "run-a" / "profile").exists()


def test_traces_lie_where_each_plugin_looks_and_are_the_raw_files(tmp_path: Path) -> None:
    """Both traces are hard links: no second copy on disk, and no symbolic link for a plugin to stumble over."""
    run = make_run(tmp_path / "runs")
    build_logdir([run], tmp_path / "logs")
    for place in ("worker.17.pt.trace.json.gz", "plugins/profile/2026_01_01/vm.xplane.pb"):
        linked = tmp_path / "logs" / "run-a" / place
        assert linked.samefile(run / "raw" / "profile" / "trace" / place)
        assert not linked.is_symlink()


def test_where_links_fail_traces_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another file system the log directory holds equal copies, and no partial file."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source), str(target))

    monkeypatch.setattr(os, "link", refuse)
    run = make_run(tmp_path / "runs")
    build_logdir([run], tmp_path / "logs")
    copied = tmp_path / "logs" / "run-a" / "worker.17.pt.trace.json.gz"
    assert copied.read_bytes() == b"torch"
    assert copied.stat().st_nlink == 1
    assert not list((tmp_path / "logs").rglob("*.partial"))


def test_what_is_up_to_date_is_left_alone(tmp_path: Path) -> None:
    """Building again keeps the folder, with what xprof cached in it; a run that changed is built anew."""
    run = make_run(tmp_path / "runs")
    build_logdir([run], tmp_path / "logs")
    cache = tmp_path / "logs" / "run-a" / "plugins" / "profile" / "2026_01_01" / "vm.SSTABLE"
    cache.touch()
    before = hashes(tmp_path / "logs")
    build_logdir([run], tmp_path / "logs")
    assert hashes(tmp_path / "logs") == before
    with StoreWriter(run) as store:
        fill(store, "time", 3)
    build_logdir([run], tmp_path / "logs")
    assert values(charts(tmp_path / "logs" / "run-a")["step_time_ms"])[0] == (1, 90.0)
    assert not cache.exists()


def test_building_is_deterministic(tmp_path: Path) -> None:
    """Two builds of one run are equal to the byte, stamp included."""
    run = make_run(tmp_path / "runs")
    build_logdir([run], tmp_path / "one")
    build_logdir([run], tmp_path / "two")
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_a_run_that_is_not_asked_for_disappears(tmp_path: Path) -> None:
    """The log directory shows the runs given and no other; the raw files of those that left it stay."""
    runs = [make_run(tmp_path / "runs", name) for name in ("run-a", "run-b")]
    before = hashes(tmp_path / "runs")
    build_logdir(runs, tmp_path / "logs")
    build_logdir(runs[1:], tmp_path / "logs")
    assert [path.name for path in (tmp_path / "logs").iterdir() if path.is_dir()] == ["run-b"]
    assert hashes(tmp_path / "runs") == before


def test_half_a_folder_is_built_again(tmp_path: Path) -> None:
    """A folder whose building was cut off, so without its stamp, counts for nothing."""
    run = make_run(tmp_path / "runs")
    build_logdir([run], tmp_path / "logs")
    folder = tmp_path / "logs" / "run-a"
    whole = hashes(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    build_logdir([run], tmp_path / "logs")
    assert hashes(folder) == whole


def test_a_folder_of_someone_else_s_is_refused(tmp_path: Path) -> None:
    """A log directory with files that hwprof did not make is named, and nothing in it is touched."""
    theirs = tmp_path / "logs" / "run-x" / "events.out.tfevents.1"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("precious")
    with pytest.raises(HwprofError, match=r"logs holds what hwprof did not put there\. Give another --logdir"):
        build_logdir([make_run(tmp_path / "runs")], tmp_path / "logs")
    assert list(hashes(tmp_path / "logs")) == ["run-x/events.out.tfevents.1"]


def test_a_log_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file in its place is named, with the remedy."""
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(HwprofError, match=r"log directory .*logs cannot be built: .*File exists"):
        build_logdir([make_run(tmp_path / "runs")], tmp_path / "logs")


def test_a_run_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A damaged table or JSON file ends in one line with the run's folder."""
    unread = r"run-a cannot be read: .* name the runs to show"
    for name, content, told in (
        ("marks.parquet", "no table", unread),
        ("spec.json", "{", r"run-a/spec\.json is damaged, or of another version of hwprof\."),
        ("summary.json", '{"trusted": 3}', unread),
    ):
        run = make_run(tmp_path / name)
        (run / name).write_text(content)
        with pytest.raises(HwprofError, match=told):
            build_logdir([run], tmp_path / "logs")


def test_two_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their folders would be one; neither is shown as the other."""
    runs = [make_run(tmp_path / "here"), make_run(tmp_path / "there")]
    with pytest.raises(HwprofError, match="Two of the runs have the same name"):
        build_logdir(runs, tmp_path / "logs")


# --- the command


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_without_runs_it_says_how_to_make_one(tmp_path: Path) -> None:
    """One line, exit code 2, and nothing is written."""
    answer = hwprof("tensorboard", "--runs", tmp_path)
    assert answer.returncode == 2
    assert answer.stderr == (
        f"hwprof: There are no runs in {tmp_path}. Make one: make profile FRAMEWORK=torch MODEL=resnet50.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_runs_are_chosen_by_name(tmp_path: Path) -> None:
    """All runs without a name, those named otherwise; an unknown name is told with the nearest."""
    for name in ("run-a", "run-b"):
        make_run(tmp_path, name)
    logs = tmp_path / ".tensorboard"
    assert hwprof("tensorboard", "--runs", tmp_path, "--build-only").returncode == 0
    assert sorted(path.name for path in logs.glob("run-*")) == ["run-a", "run-b"]
    assert hwprof("tensorboard", "last", "--runs", tmp_path, "--build-only").returncode == 0
    assert [path.name for path in logs.glob("run-*")] == ["run-b"]
    unknown = hwprof("tensorboard", "run-c", "--runs", tmp_path, "--build-only")
    assert unknown.returncode == 2
    assert "Unknown run 'run-c'" in unknown.stderr


@pytest.mark.e2e
def test_a_taken_port_is_named_with_the_remedy(tmp_path: Path) -> None:
    """One line with the port and --port, exit code 2, before anything is started."""
    make_run(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        answer = hwprof("tensorboard", "--runs", tmp_path, "--port", str(port))
    assert answer.returncode == 2
    assert f"Port {port} of 127.0.0.1 cannot be had: Address already in use." in answer.stderr
    assert "--port N" in answer.stderr


@pytest.mark.e2e
def test_a_tensorboard_that_cannot_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words and its log are named, and the exit code says that it failed."""
    make_run(tmp_path)
    monkeypatch.setenv("TORCH_PROFILER_START_METHOD", "nonsense")
    port = free_port()
    answer = hwprof("tensorboard", "--runs", tmp_path, "--port", str(port))
    assert answer.returncode == 1
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("hwprof: TensorBoard ended with code 1: ValueError: cannot find context for 'nonsense'")
    assert last.endswith(f"The rest is in {tmp_path}/.tensorboard/tensorboard-{port}.log.")
