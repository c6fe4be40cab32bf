"""The stages, the epochs and the profiler's window, with a framework that only says what it was asked."""
# ruff: noqa: D102 - toolkit.capture.workload says what each method of a workload is for

import contextlib
import itertools
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from toolkit.capture.loop import Session
from toolkit.capture.record import Recorder
from toolkit.capture.workload import Evaluation, FitHooks, Request
from toolkit.settings import check
from toolkit.spec import RunSpec


class Spy:
    """A workload without a framework: it trains nothing, and traces its first step as a graph compiler would."""

    def __init__(self, spec: RunSpec) -> None:
        self.steps_per_epoch = spec.steps
        self.said: list[str] = []
        self._untraced = True
        self._traced = False

    def facts(self) -> dict[str, Any]:
        return {}

    def describe(self) -> str:
        return "{}"

    def warm_up(self, steps: int) -> None:
        self.said.append(f"warm_up {steps}")
        for _ in range(steps):
            self.train_step(None)
        self.compiled()

    def train_batches(self, epoch: int) -> Iterator[int]:
        return iter(range(self.steps_per_epoch))

    def to_device(self, batch: Any) -> Any:
        return batch

    def train_step(self, batch: Any) -> None:
        self._traced, self._untraced = self._untraced, False
        if batch == "bad":
            raise RuntimeError("it broke")

    def compiled(self) -> bool:
        traced, self._traced = self._traced, False
        return traced

    def sync(self) -> None:
        self.said.append("sync")

    def train_loss(self) -> float:
        return 2.0

    def evaluate(self) -> Evaluation:
        self.said.append("evaluate")
        return Evaluation(3.0, 0.5, 8)

    def request(self, batch: int) -> Request:
        return Request(lambda: self.said.append(f"request {batch}"), lambda: self.said.append(f"resident {batch}"))

    def checkpoint(self, path: Path) -> None:
        path.write_text("weights")

    def report_memory(self, record: Recorder) -> None:
        record.unavailable("spy", "cpu", "allocator", "a spy has no memory")

    def annotate(self, name: str) -> AbstractContextManager[Any]:
        self.said.append(name)
        return contextlib.nullcontext()

    def window(self, options: Any, folder: Path, *, steps: int) -> Any:
        raise AssertionError("only a loop of one's own asks for a window")

    def profiler(self, folder: Path) -> Any:
        raise AssertionError("these sessions run unprofiled, or bring a profiler of their own")


class FittingSpy(Spy):
    """The same with a loop of its own, which validates inside."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self._epochs = spec.epochs

    def fit(self, hooks: FitHooks) -> None:
        for epoch in range(1, self._epochs + 1):
            hooks.begin_epoch(epoch)
            hooks.begin_batches()
            for step in range(1, self.steps_per_epoch + 1):
                hooks.begin_step(step)
                with hooks.fetching():
                    self.said.append("batch")
                self.train_step(None)
                hooks.end_step()
            hooks.begin_validation()
            hooks.end_validation()
            hooks.end_epoch(2.0, Evaluation(3.0, 0.5, 8))


class Window:
    """A native profiler that counts."""

    def __init__(self, steps: int) -> None:
        self.said: list[str] = []
        self._left = steps

    def start(self) -> None:
        self.said.append("start")

    def begin_step(self, name: str) -> None:
        self.said.append(name)

    def end_step(self) -> bool:
        self._left -= 1
        return self._left > 0

    def stop(self) -> None:
        self.said.append("stop")


def settings(loop: str, **changes: Any) -> RunSpec:
    """A small spec in this loop."""
    few = {"epochs": 2, "steps": 3, "warmup_steps": 0, "infer_batches": (1, 4), "infer_repeats": 2}
    return check(RunSpec(framework="tf", loop=loop, model="cifar_cnn", **(few | changes)))


def run(folder: Path, spec: RunSpec, window: Window | None = None) -> tuple[Spy, list[list[Any]]]:
    """The spy after a session, and the session's record."""
    spy = (FittingSpy if spec.loop == "fit" else Spy)(spec)
    with Recorder(folder / "worker.jsonl") as record:
        Session(spy, spec, record, window).run()
    return spy, lines(folder)


def lines(folder: Path) -> list[list[Any]]:
    """The record's lines."""
    return [json.loads(line) for line in (folder / "worker.jsonl").read_text().splitlines()]


def phases(record: list[list[Any]], epoch: int) -> list[str]:
    """The epoch's phases in the order in which they began."""
    marks = sorted((line for line in record if line[:1] == ["mark"] and line[3] == "phase"), key=lambda line: line[7])
    return [line[4] for line in marks if line[5] == epoch]


STEP = ["data_wait", "host_to_device", "compute"]
FIT_STEP = ["compute", "data_wait", "callbacks"]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_epoch_by_hand_has_these_phases(tmp_path: Path, *, checkpoint: bool) -> None:
    """Pipeline, steps, the wait for the device, the pipeline's end, validation, metrics, checkpoint; compile once."""
    _, record = run(tmp_path, settings("custom", checkpoint=checkpoint))
    after = ["compute", "data_wait", "validation", "callbacks", *(["checkpoint"] if checkpoint else [])]
    assert phases(record, 1) == ["data_wait", "data_wait", "host_to_device", "compile", *STEP * 2, *after]
    assert phases(record, 2) == ["data_wait", *STEP * 3, *after]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_epoch_of_a_framework_s_loop_has_these_phases(tmp_path: Path, *, checkpoint: bool) -> None:
    """Its pipeline's start, batches made inside steps, its own work between them as callbacks, its own validation."""
    spy, record = run(tmp_path, settings("fit", checkpoint=checkpoint))
    after = [*FIT_STEP[:2], "compute", "callbacks", "validation", "callbacks", *(["checkpoint"] if checkpoint else [])]
    begin = ["callbacks", "data_wait"]
    assert phases(record, 1) == [*begin, "compile", *FIT_STEP[1:], *FIT_STEP, *after]
    assert phases(record, 2) == [*begin, *FIT_STEP * 2, *after]
    assert spy.said.count("evaluate") == 2  # before and after training


@pytest.mark.parametrize("loop", ["custom", "fit"])
def test_each_epoch_reports_once(tmp_path: Path, loop: str) -> None:
    """Losses, accuracy and memory are written once an epoch, and the clock is read as it begins."""
    _, record = run(tmp_path, settings(loop))
    scalars = [line[2:] for line in record if line[0] == "scalar"]
    figures = [["train_loss", 2.0], ["validation_loss", 3.0], ["validation_accuracy", 0.5]]
    epochs = [[epoch, *figure] for epoch in (1, 2) for figure in figures]
    assert scalars == [[0, "accuracy_before", 0.5], *epochs, [2, "accuracy_after", 0.5]]
    assert sum(line[0] == "unavailable" for line in record) == 2
    assert sum(line[0] == "clock" for line in record) == 4  # also at the start and at the end


@pytest.mark.parametrize("loop", ["custom", "fit"])
def test_marks_nest(tmp_path: Path, loop: str) -> None:
    """Every mark lies in its parent's time, and no two of one parent overlap."""
    _, record = run(tmp_path, settings(loop))
    marks = {line[1]: line for line in record if line[0] == "mark"}
    for mark in marks.values():
        if mark[2] is not None:
            assert marks[mark[2]][7] <= mark[7] <= mark[8] <= marks[mark[2]][8]
    ordered = sorted(marks.values(), key=lambda mark: (mark[2] or 0, mark[7]))
    for one, other in itertools.pairwise(ordered):
        assert one[2] != other[2] or one[8] <= other[7]


def test_warm_up_takes_compilation_out_of_the_epochs(tmp_path: Path) -> None:
    """After warm-up steps no epoch has a compile phase."""
    spy, record = run(tmp_path, settings("custom", warmup_steps=2))
    assert "warm_up 2" in spy.said
    assert "compile" not in phases(record, 1) + phases(record, 2)


@pytest.mark.parametrize("loop", ["custom", "fit"])
def test_the_window_is_annotated_and_nothing_else(tmp_path: Path, loop: str) -> None:
    """With a window of four steps the profiler hears of four steps, and no later mark is annotated."""
    window = Window(4)
    spy, record = run(tmp_path, settings(loop), window)
    assert window.said == ["start", "train", "train", "train", "train", "stop"]
    annotated = {int(name.rpartition(".")[2]) for name in spy.said if name.startswith("hwprof.")}
    steps = [line for line in record if line[0] == "mark" and line[3] == "step"]
    assert [line[1] in annotated for line in steps] == [True, True, True, True, False, False]
    after = [line for line in record if line[0] == "mark" and line[7] > steps[4][7]]
    assert not annotated & {line[1] for line in after}


@pytest.mark.parametrize("loop", ["custom", "fit"])
def test_the_device_has_done_the_window_s_work_when_it_ends(tmp_path: Path, loop: str) -> None:
    """The trace is written after a wait for the device, which is compute and no profiler's time."""
    _, record = run(tmp_path, settings(loop), Window(1))
    after = phases(record, 1)[phases(record, 1).index("profiler") :]
    assert after[:3] == ["profiler", "compute", "profiler"]


def test_a_window_that_does_not_fill_is_stopped_before_the_last_evaluation(tmp_path: Path) -> None:
    """A window longer than the training ends with the training, and takes no request."""
    window = Window(100)
    _, record = run(tmp_path, settings("custom"), window)
    assert window.said == ["start", *["train"] * 6, "stop"]
    assert not [line for line in record if line[0] == "mark" and line[3] == "request"]


def test_inference_alone_is_profiled_by_requests(tmp_path: Path) -> None:
    """The window opens after the first size's untimed requests, stays open over the sizes, and is never reopened."""
    window = Window(3)
    spy, record = run(tmp_path, settings("custom", task="infer"), window)
    assert window.said == ["start", "request", "request", "request", "stop"]
    assert [said for said in spy.said if said.startswith("request")] == ["request 1"] * 4 + ["request 4"] * 4
    requests = [line[4:7] for line in record if line[0] == "mark" and line[3] == "request"]
    assert requests == [["1", None, 1], ["1", None, 2], ["4", None, 1], ["4", None, 2]]


def test_unprofiled_requests_are_timed_with_the_transfer_and_without(tmp_path: Path) -> None:
    """Of each size both ways in turn, as often, and apart by their kind."""
    spy, record = run(tmp_path, settings("custom", task="infer"))
    timed = [line[3:7] for line in record if line[0] == "mark" and line[3].endswith("request")]
    ways = ("request", "resident_request")
    assert timed == [[way, batch, None, number] for batch in ("1", "4") for number in (1, 2) for way in ways]
    assert spy.said.count("resident 1") == spy.said.count("request 1") == 4


def forgetful(spec: RunSpec, *, fits: int) -> Spy:
    """A spy whose requests of more than `fits` samples find no memory, in the timed ones and not before."""
    spy = Spy(spec)

    def request(batch: int) -> Request:
        calls = itertools.count()

        def whole() -> None:
            if batch > fits and next(calls) > 1:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried too much")
            spy.said.append(f"request {batch}")

        return Request(whole, lambda: spy.said.append(f"resident {batch}"))

    # one method of one object is replaced, which the checker cannot follow
    spy.request = request  # type: ignore[method-assign]
    return spy


@pytest.mark.parametrize("profiled", [False, True])
def test_a_batch_that_does_not_fit_is_its_own_result(tmp_path: Path, *, profiled: bool) -> None:
    """It is recorded as out of memory; those before and after it are timed, and marks nest as ever."""
    spec = settings("custom", task="infer", infer_batches=(1, 64, 4))
    window = Window(100) if profiled else None
    with Recorder(tmp_path / "worker.jsonl") as record:
        Session(forgetful(spec, fits=4), spec, record, window).run()
    requests = [line for line in lines(tmp_path) if line[0] == "mark" and line[3] == "request"]
    assert [line[4] for line in requests] == ["1", "1", "4", "4"]
    assert len({line[2] for line in requests}) == 1
    told = [line[1:] for line in lines(tmp_path) if line[0] == "unavailable" and line[1] == "inference"]
    assert [line[:3] for line in told] == [["inference", None, "batch 64"]]
    assert told[0][3].startswith("out of memory: RuntimeError: [enforce fail] DefaultCPUAllocator")
    ended = {line[1] for line in lines(tmp_path) if line[0] == "mark"}
    assert [line for line in lines(tmp_path) if line[0] == "open" and line[1] not in ended] == []


def test_where_no_batch_fits_the_pass_says_so(tmp_path: Path) -> None:
    """Out of memory is then how the pass ends, not a pass without figures; any other error ends it at once."""
    spec = settings("custom", task="infer", infer_batches=(64, 128))
    with (
        Recorder(tmp_path / "worker.jsonl") as record,
        pytest.raises(MemoryError, match="no batch of inference fits: 64"),
    ):
        Session(forgetful(spec, fits=4), spec, record, None).run()
    spy = Spy(spec)

    def broken(batch: int) -> Request:
        raise RuntimeError("it broke")

    # one method of one object is replaced, which the checker cannot follow
    spy.request = broken  # type: ignore[method-assign]
    with Recorder(tmp_path / "other.jsonl") as record, pytest.raises(RuntimeError, match="it broke"):
        Session(spy, spec, record, None).run()


def test_the_trace_is_written_where_training_breaks(tmp_path: Path) -> None:
    """An exception in a step stops the profiler, and leaves stage, epoch and step open in the record."""
    spec, window = settings("custom"), Window(100)
    spy = Spy(spec)
    # one method of one object is replaced, which the checker cannot follow
    spy.train_batches = lambda epoch: iter([0, "bad"])  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(RuntimeError), Recorder(tmp_path / "worker.jsonl") as record:
        Session(spy, spec, record, window).run()
    assert window.said == ["start", "train", "train", "stop"]
    ended = {line[1] for line in lines(tmp_path) if line[0] == "mark"}
    assert [line[4] for line in lines(tmp_path) if line[0] == "open" and line[1] not in ended] == [
        "train",
        "train",
        "train",
    ]
