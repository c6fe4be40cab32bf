"""The epochs of training with their marks, whoever drives the loop: we, or the framework's own `fit`.

Inside an epoch both leave the same phases: the step's own, `validation`, `callbacks`, `checkpoint`, `profiler`.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.capture.fit_marks import FitMarks
from toolkit.capture.record import Recorder
from toolkit.capture.workload import Evaluation, FittingWorkload, Framework, NativeProfiler, Workload
from toolkit.spec import RunSpec


class ProfilerWindow:
    """The native profiler over one window of steps, where this pass has one. Its own time is the phase `profiler`."""

    def __init__(self, profiler: NativeProfiler | None, framework: Framework, record: Recorder) -> None:
        self._profiler = profiler
        self._framework = framework
        self._record = record
        self._open: NativeProfiler | None = None

    def start(self) -> None:
        """Opens the window; there is one in a pass, so a second start does nothing."""
        if self._profiler is None:
            return
        self._open, self._profiler = self._profiler, None
        with self._record.phase("profiler"):
            self._open.start()
        self._record.annotate = self._framework.annotate

    def begin_step(self, name: str) -> None:
        """A step, or a request, is about to begin."""
        if self._open is not None:
            self._open.begin_step(name)

    def end_step(self) -> None:
        """It ended; with the window's last one the trace is written, once the device has done what the window asked."""
        if self._open is None:
            return
        with self._record.phase("profiler"):
            goes_on = self._open.end_step()
        if not goes_on:
            self._record.annotate = None
            with self._record.phase("compute"):
                self._framework.sync()
            self.stop()

    def stop(self) -> None:
        """Writes the trace, of a window that did not fill too."""
        if self._open is not None:
            profiler, self._open = self._open, None
            self._record.annotate = None
            with self._record.phase("profiler"):
                profiler.stop()


class Parts(NamedTuple):
    """What a session works with."""

    workload: Workload
    spec: RunSpec
    record: Recorder
    window: ProfilerWindow


def train(parts: Parts) -> None:
    """All epochs, by the framework's own loop where the workload was built for that."""
    if isinstance(parts.workload, FittingWorkload):
        parts.workload.fit(SpecFitMarks(parts))
        return
    for epoch in range(1, parts.spec.epochs + 1):
        parts.record.clock()
        with parts.record.mark("epoch", "train", epoch=epoch):
            _train_steps(parts, epoch)
            _validate(parts, epoch)


def _train_steps(parts: Parts, epoch: int) -> None:
    with parts.record.phase("data_wait"):
        batches = parts.workload.train_batches(epoch)
    for step in range(1, parts.workload.steps_per_epoch + 1):
        parts.window.begin_step("train")
        with parts.record.mark("step", "train", step=step):
            _train_step(parts, batches)
        parts.window.end_step()
    with parts.record.phase("compute"):
        parts.workload.sync()
    with parts.record.phase("data_wait"):
        # Its threads, or processes, end with it, which takes tf.data 0.1 s and more.
        del batches


def _train_step(parts: Parts, batches: Iterator[Any]) -> None:
    with parts.record.phase("data_wait"):
        batch = next(batches)
    with parts.record.phase("host_to_device"):
        batch = parts.workload.to_device(batch)
    # What was compiled for anything else, such as the validation, is no step's.
    parts.workload.compiled()
    with parts.record.phase("compute") as phase:
        parts.workload.train_step(batch)
        # Giving its memory back can take half a millisecond: the step's time, like that of its activations.
        del batch
        if parts.workload.compiled():
            phase.name = "compile"


def _validate(parts: Parts, epoch: int) -> None:
    with parts.record.phase("validation"):
        evaluation = parts.workload.evaluate()
    with parts.record.phase("callbacks"):
        _report_epoch(parts, epoch, parts.workload.train_loss(), evaluation)
    _write_checkpoint(parts)


def _report_epoch(parts: Parts, epoch: int, train_loss: float, evaluation: Evaluation) -> None:
    parts.record.scalar("train_loss", train_loss, epoch=epoch)
    parts.record.scalar("validation_loss", evaluation.loss, epoch=epoch)
    parts.record.scalar("validation_accuracy", evaluation.accuracy, epoch=epoch)
    parts.workload.report_memory(parts.record)


def _write_checkpoint(parts: Parts) -> None:
    if parts.spec.checkpoint:
        with parts.record.phase("checkpoint"), tempfile.TemporaryDirectory() as folder:
            parts.workload.checkpoint(Path(folder) / "checkpoint")


class SpecFitMarks(FitMarks[ProfilerWindow]):
    """The marks of a `fit` that a spec asked for, whose steps are counted beforehand; fulfils `FitHooks`."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.record, parts.workload, parts.window)
        self._parts = parts

    def end_epoch(self, train_loss: float, evaluation: Evaluation) -> None:
        """The loop is done with the epoch."""
        _report_epoch(self._parts, self._epoch.epoch or 0, train_loss, evaluation)
        self._phase.end()
        _write_checkpoint(self._parts)
        self._epoch.end()

    def _after_step(self) -> None:
        if self._step.step == self._parts.workload.steps_per_epoch:
            # The loop waits here anyway, to read its metrics; the device's work is no callback's time.
            with self._parts.record.phase("compute"):
                self._parts.workload.sync()
