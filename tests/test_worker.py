"""The worker's passes in every framework and loop: what one leaves behind, and that all mean the same by it."""

import gzip
import itertools
import math
import signal
from pathlib import Path
from time import monotonic_ns
from typing import Any

import pytest

from tests import cifar
from tests.workers import LOOPS, Mark, Pass, lines, read, small, start, wait_until, work
from toolkit.capture.record import annotation_name
from toolkit.errors import BAD_INPUT, INTERRUPTED

pytestmark = pytest.mark.e2e

PROFILED_STEPS = 4
BY_HAND = ["data_wait", "host_to_device", "compute"]
LONG = {"steps": 20_000, "epochs": 1, "warmup_steps": 0}
NAMES = ["-".join(pair) for pair in LOOPS]


@pytest.fixture(scope="module", params=LOOPS, ids=NAMES)
def loop(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A framework and one of its loops."""
    return request.param  # type: ignore[no-any-return] # pytest knows no type of a parameter


@pytest.fixture(scope="module")
def twenty_images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings that take twenty images for training and ten for validation, and never move the weights."""
    place = cifar.folder(tmp_path_factory.mktemp("set"), train=4, test=10)
    whole = {"dataset": "cifar10", "data_dir": str(place), "steps": 0, "validation_steps": 0}
    return whole | {"learning_rate": 0.0, "optimizer": "sgd"}


@pytest.fixture(scope="module")
def timed(loop: tuple[str, str], twenty_images: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Pass:
    """An unprofiled pass without warm-up; the last batch of an epoch is a part of one."""
    return work(tmp_path_factory.mktemp("time"), small(*loop, warmup_steps=0, **twenty_images), "time")


@pytest.fixture(scope="module")
def profiled(loop: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Pass:
    """A profiled pass after warm-up, with checkpoints."""
    spec = small(*loop, warmup_steps=2, checkpoint=True, profile_steps=PROFILED_STEPS)
    return work(tmp_path_factory.mktemp("profile"), spec, "profile")


def trace(folder: Path) -> bytes:
    """The native trace's bytes, unpacked where packed."""
    found = (path for path in (folder / "trace").rglob("*") if path.is_file())
    (path,) = (path for path in found if path.name != "memory.prof")  # JAX's of memory lies beside it
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_a_pass_is_whole(timed: Pass, profiled: Pass) -> None:
    """It says that it is complete, and the small CNN has the published number of parameters in every framework."""
    for each in (timed, profiled):
        assert each.outcome == {"status": "complete", "reason": None, "exit_code": 0}
        assert each.facts["parameters"] == 167_562
        assert each.facts["threads"] == 1
        assert each.facts["loss_reduction"] == "mean"
    assert (timed.facts["train_samples"], timed.facts["validation_samples"]) == (20, 10)


def test_marks_nest_and_cover(timed: Pass, profiled: Pass) -> None:
    """Each mark lies in its parent's time, none of one parent overlap, and an epoch's parts are most of it."""
    for each in (timed, profiled):
        marks = {line[1]: Mark(*line[1:]) for line in each.lines if line[0] == "mark"}
        children: dict[int | None, list[Mark]] = {}
        for mark in sorted(marks.values(), key=lambda mark: mark.start):
            children.setdefault(mark.parent, []).append(mark)
            if mark.parent is not None:
                assert marks[mark.parent].start <= mark.start <= mark.end <= marks[mark.parent].end
        for siblings in children.values():
            assert all(one.end <= other.start for one, other in itertools.pairwise(siblings))
        for epoch in each.marks("epoch"):
            assert sum(mark.end - mark.start for mark in children[epoch.id]) > (epoch.end - epoch.start) / 2


def test_stages_come_in_order(timed: Pass, profiled: Pass) -> None:
    """Both passes do the same, but for the inference, which the time pass alone measures."""
    stages = ["setup", "evaluate_before", "warmup", "train", "evaluate_after"]
    assert [mark.name for mark in timed.marks("stage")] == [*stages, "inference"]
    assert [mark.name for mark in profiled.marks("stage")] == stages


def test_compilation_lies_in_the_first_step_or_in_the_warm_up(
    loop: tuple[str, str], timed: Pass, profiled: Pass
) -> None:
    """In epoch 1 without warm-up, in none after one. JAX compiles once more for the part batch; torch never does."""
    compiles = [(mark.epoch, mark.step) for mark in timed.marks("phase") if mark.name == "compile"]
    assert compiles == {"torch": [], "tf": [(1, 1)], "jax": [(1, 1), (1, 3)]}[loop[0]]
    assert not [mark for mark in profiled.marks("phase") if mark.name == "compile"]


def test_an_epoch_s_phases(loop: tuple[str, str], timed: Pass) -> None:
    """By hand with the data's time apart; in `fit` with the loop's own work as callbacks and its own validation."""
    if loop[1] == "fit":
        # TensorFlow's batches are fetched inside its graph; JAX's are made by Python, inside the step too
        step = ["compute"] if loop[0] == "tf" else ["compute", "data_wait"]
        wanted = ["callbacks", "data_wait", *[*step, "callbacks"] * 2, *step, "compute", "callbacks"]
        wanted += ["validation", "callbacks"]
    else:
        wanted = ["data_wait", *BY_HAND * 3, "compute", "data_wait", "validation", "callbacks"]
    assert timed.phases(2) == wanted


def test_losses_are_means_over_samples(
    loop: tuple[str, str], timed: Pass, twenty_images: dict[str, Any], tmp_path: Path
) -> None:
    """With weights that never move, losses are those of a guess, the same each epoch and at any batch size."""
    other = work(tmp_path, small(*loop, **twenty_images | {"batch": 10, "infer_repeats": 0}), "time")
    for name in ("train_loss", "validation_loss"):
        losses = timed.scalars(name) + other.scalars(name)
        assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)
        assert losses[0] == pytest.approx(math.log(10), abs=0.3)
    accuracies = [timed.scalars(name) for name in ("accuracy_before", "validation_accuracy", "accuracy_after")]
    assert len(set(itertools.chain(*accuracies))) == 1


def test_training_moves_the_loss(profiled: Pass) -> None:
    """With a learning rate, losses are finite and change."""
    losses = profiled.scalars("train_loss")
    assert all(map(math.isfinite, losses + profiled.scalars("validation_loss")))
    assert losses[1] < losses[0]


def test_requests_are_marked_by_their_size(timed: Pass) -> None:
    """Each batch size has its requests, numbered from one, with the transfer and without."""
    wanted = [("1", 1), ("1", 2), ("3", 1), ("3", 2)]
    for kind in ("request", "resident_request"):
        assert [(mark.name, mark.step) for mark in timed.marks(kind)] == wanted


def test_checkpoints_are_timed_and_removed(timed: Pass, profiled: Pass) -> None:
    """One after each epoch where asked for, none where not; nothing of them stays in the folder."""
    assert [profiled.phases(epoch).count("checkpoint") for epoch in (1, 2)] == [1, 1]
    assert not [mark for mark in timed.marks("phase") if mark.name == "checkpoint"]
    kept = {path.name for path in profiled.folder.iterdir()}
    assert kept == {
        "description.json",
        "facts.json",
        "outcome.json",
        "spec.json",
        "trace",
        "worker.jsonl",
        "worker.log",
    }


def test_marks_of_the_window_are_in_the_trace(profiled: Pass) -> None:
    """Each step and phase within the window is an annotation of the native trace by its mark's name, and no other."""
    steps = profiled.marks("step")
    first, end = steps[0].start, steps[PROFILED_STEPS - 1].end
    found = trace(profiled.folder)
    for mark in profiled.marks("step") + profiled.marks("phase"):
        if mark.name not in ("profiler", "callbacks", "data_wait") and mark.end > first:
            assert (annotation_name(mark.name, mark.id).encode() in found) == (mark.start < end)


def test_memory_that_is_not_told_is_unavailable(timed: Pass) -> None:
    """No framework's allocator counts host memory, and says so instead of nought; JAX's arrays alone can be summed."""
    assert [line[2:4] for line in timed.lines if line[0] == "unavailable"] == [["cpu", "allocator"]] * 2
    assert {tuple(line[2:5]) for line in timed.lines if line[0] == "counter"} <= {("jax", "cpu", "live_arrays")}


def test_a_stop_on_request_is_recorded(loop: tuple[str, str], tmp_path: Path) -> None:
    """SIGTERM in the middle of a profiled epoch: the outcome says interrupted, record and trace are closed."""
    with start(tmp_path, small(*loop, profile_steps=10_000, **LONG), "profile") as worker:
        wait_until(lambda: sum(line[:4:3] == ["mark", "step"] for line in lines(tmp_path)) > 3, worker)
        worker.terminate()
    left = read(tmp_path)
    assert left.outcome == {"status": "interrupted", "reason": "stopped by a signal", "exit_code": INTERRUPTED}
    assert worker.returncode == INTERRUPTED
    assert left.lines[-1][0] == "clock"
    assert left.marks("epoch") == []
    assert b"hwprof.train." in trace(tmp_path)


@pytest.mark.parametrize(("framework", "loop_"), LOOPS[:2], ids=NAMES[:2])
def test_a_kill_loses_only_the_last_moment(framework: str, loop_: str, tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch: every line is readable, and the last mark is at most about a second old."""
    with start(tmp_path, small(framework, loop_, **LONG), "time") as worker:
        wait_until(lambda: sum(line[:4:3] == ["mark", "step"] for line in lines(tmp_path)) > 3, worker)
        killed = monotonic_ns()
        worker.kill()
    left = read(tmp_path)
    assert (worker.returncode, left.outcome) == (-signal.SIGKILL, {})
    assert killed - left.marks("step")[-1].end < 2_000_000_000
    ended = {line[1] for line in left.lines if line[0] == "mark"}
    opened = [line[3:5] for line in left.lines if line[0] == "open" and line[1] not in ended]
    assert opened[:3] == [["run", "time"], ["stage", "train"], ["epoch", "train"]]


def test_what_cannot_run_says_why_in_one_line(
    loop: tuple[str, str], twenty_images: dict[str, Any], tmp_path: Path
) -> None:
    """A set that is too small for the steps asked for is bad input, whichever framework finds it."""
    refused = work(tmp_path, small(*loop, **twenty_images | {"steps": 9}), "time")
    assert refused.outcome["exit_code"] == BAD_INPUT
    assert refused.outcome["reason"].startswith("steps=9 of 8 samples is more than the 20 samples there are.")
    assert "Traceback" not in (tmp_path / "worker.log").read_text()
