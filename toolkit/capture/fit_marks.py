"""The marks of a loop that Keras's `fit` drives.

A `fit` fetches its data inside the compiled step, so `host_to_device` is part of its `compute`; so is `data_wait`, but
for the start of its pipeline and for batches that Python makes. What it does between its steps is `callbacks`.
"""

from typing import Generic, Protocol, TypeVar

from toolkit.capture.record import Mark, Recorder
from toolkit.capture.workload import Framework


class Window(Protocol):
    """The native profiler's window, told of each step."""

    def begin_step(self, name: str) -> None:
        """A step is about to begin."""

    def end_step(self) -> None:
        """It ended."""


W = TypeVar("W", bound=Window)


class FitMarks(Generic[W]):
    """Makes the marks as `fit` comes by; all of `FitHooks` but `end_epoch`.

    One phase is open at any time inside an epoch but for the profiler's own: what lies between a step, or the
    validation, and the next is `callbacks`. The making of a batch is a phase inside the one that is open.
    """

    _epoch: Mark
    _step: Mark
    _phase: Mark

    def __init__(self, record: Recorder, framework: Framework, window: W) -> None:
        self._record = record
        self._framework = framework
        self._window = window

    def begin_epoch(self, epoch: int) -> None:
        """Epoch `epoch`, from 1, begins."""
        self._record.clock()
        self._epoch = self._record.mark("epoch", "train", epoch=epoch).begin()
        self._begin_phase("callbacks")

    def begin_batches(self) -> None:
        """The loop starts its pipeline."""
        self._phase.end()
        self._begin_phase("data_wait")

    def fetching(self) -> Mark:
        """Around the making of one batch, in the loop's own thread."""
        return self._record.phase("data_wait")

    def begin_step(self, step: int) -> None:
        """Step `step`, from 1 within its epoch, begins."""
        self._phase.end()
        self._open_window(step)
        self._step = self._record.mark("step", "train", step=step).begin()
        self._compiled()
        self._begin_phase("compute")

    def end_step(self) -> None:
        """The framework's compiled step has returned."""
        if self._compiled():
            self._phase.name = "compile"
        self._phase.end()
        self._step.end()
        self._window.end_step()
        self._after_step()
        self._begin_phase("callbacks")

    def begin_validation(self) -> None:
        """The loop's own validation begins."""
        self._phase.end()
        self._begin_phase("validation")

    def end_validation(self) -> None:
        """Its figures are there."""
        self._phase.end()
        self._begin_phase("callbacks")

    def _after_step(self) -> None:
        """What is to be done after a step, before the loop's callbacks: nothing, unless told otherwise."""

    def _open_window(self, step: int) -> None:
        """Tells the profiler's window of a step."""
        self._window.begin_step("train")

    def _compiled(self) -> bool:
        """Whether anything was traced or compiled since this was last asked."""
        return self._framework.compiled()

    def _begin_phase(self, name: str) -> None:
        self._phase = self._record.phase(name).begin()
