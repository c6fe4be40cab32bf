"""A callback for Keras's `fit` in a person's own script, on any backend; and what both kinds of `fit` are marked by."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from toolkit.capture.fit_marks import FitMarks
from toolkit.capture.own_loop import OwnLoop
from toolkit.capture.own_window import OwnWindow
from toolkit.capture.record import Recorder
from toolkit.capture.workload import Framework
from toolkit.errors import HwprofError


@contextmanager
def validation_marked(model: keras.Model, begin: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
    """Inside, `begin` and `end` are called around each `model.evaluate`.

    Keras's callbacks hear of its steps only, which for a short validation leaves a quarter of its time out.
    """
    evaluate = model.evaluate

    def marked(*arguments: Any, **options: Any) -> Any:
        begin()
        found = evaluate(*arguments, **options)
        end()
        return found

    model.evaluate = marked
    try:
        yield
    finally:
        model.evaluate = evaluate


def marking(record: Recorder, framework: Framework, window: OwnWindow, loop: OwnLoop) -> keras.callbacks.Callback:
    """A callback that marks and records a `fit`; `let_go` leaves the model as it was, where the `fit` does not end."""
    return _Marking(record, framework, window, loop)


class _Marking(keras.callbacks.Callback):
    """Marks epochs, steps and validation of a `fit`, and records its figures of each epoch.

    For a callback that hears of steps Keras reads their metrics, and so waits for the device in each.
    """

    def __init__(self, record: Recorder, framework: Framework, window: OwnWindow, loop: OwnLoop) -> None:
        super().__init__()
        self._record, self._loop = record, loop
        self._marks = _Marks(record, framework, window)
        self._changed = ExitStack()

    def set_model(self, model: keras.Model) -> None:
        """Keras names the model before it makes the step's function, which is the last moment to look into that."""
        super().set_model(model)
        # A `fit` that raised let go of none.
        self.let_go()
        self._changed.enter_context(validation_marked(model, self._marks.begin_validation, self._marks.end_validation))
        if keras.backend.backend() == "tensorflow" and not model.run_eagerly:
            self._changed.enter_context(_traces_counted(model, self._marks))

    def let_go(self) -> None:
        """The model is as it was."""
        self._changed.close()

    def on_train_begin(self, logs: Any = None) -> None:
        self._loop.begin()
        self._marks.begin()

    def on_train_end(self, logs: Any = None) -> None:
        self._loop.finish()
        self.let_go()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._check_begun()
        self._marks.steps = self.params.get("steps")
        self._marks.begin_epoch(self._loop.next_epoch())
        self._marks.begin_batches()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._check_begun()
        self._marks.begin_step(batch + 1)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._marks.end_step()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check_begun()
        for name, value in (logs or {}).items():
            self._record.scalar(name, float(value), epoch=self._loop.epoch)
        self._marks.end_epoch()

    def _check_begun(self) -> None:
        """A `fit` begins as well after one that raised as inside one that goes on, where its end is this one's."""
        if not self._loop.begun:
            raise HwprofError("There was a fit inside a fit.", remedy="Give run.callback() to one of the two.")


class _Marks(FitMarks[OwnWindow]):
    """Those of a `fit` that may be of any length: `steps` an epoch where Keras knows; `traces` of its step so far.

    Other callbacks may evaluate where no epoch is open: before training, after it, and between epochs. That is none's.
    """

    steps: int | None = None
    traces = 0
    _seen = 0
    _asked = False
    _in_epoch = _in_step = False

    def begin(self) -> None:
        """Training begins, after any that raised."""
        self._asked = self._in_epoch = self._in_step = False

    def begin_epoch(self, epoch: int) -> None:
        """Epoch `epoch`, from 1, begins."""
        super().begin_epoch(epoch)
        self._in_epoch = True

    def end_epoch(self) -> None:
        """The loop is done with the epoch."""
        self._in_epoch = False
        self._wait()
        self._framework.report_memory(self._record)
        self._phase.end()
        self._epoch.end()

    def begin_step(self, step: int) -> None:
        """Step `step`, from 1 within its epoch, begins, if there is a batch for it."""
        super().begin_step(step)
        self._in_step = True

    def end_step(self) -> None:
        """The framework's compiled step has returned."""
        if self._in_step:
            self._in_step = False
            super().end_step()

    def begin_validation(self) -> None:
        """After the device has done the steps."""
        if self._in_epoch:
            self._wait()
            super().begin_validation()

    def end_validation(self) -> None:
        """Its figures are there."""
        if self._in_epoch:
            super().end_validation()

    def _wait(self) -> None:
        """Once, after the epoch's last step."""
        if self._asked:
            self._asked = False
            if self._in_step:
                self._drop_step()
            self._phase.end()
            with self._record.phase("compute"):
                self._framework.sync()
            self._window.stop()
            self._begin_phase("callbacks")

    def _drop_step(self) -> None:
        """Where Keras learns only from its data that there are no more, it begins a step, and ends none."""
        self._in_step = False
        self._phase.name, self._phase.parent, self._phase.step = "data_wait", self._step.parent, None
        self._step.drop()
        self._window.end_step(came=False)

    def _open_window(self, step: int) -> None:
        self._asked = True
        self._window.begin_step("train", left=None if self.steps is None else self.steps - step + 1)

    def _compiled(self) -> bool:
        before, self._seen = self._seen, self.traces
        return self._framework.compiled() or self._seen > before


@contextmanager
def _traces_counted(model: keras.Model, marks: _Marks) -> Iterator[None]:
    """Keras hides its tf.function, but Python comes through the step only while that is traced."""
    train_step = model.train_step

    def counted(data: Any) -> Any:
        marks.traces += 1
        return train_step(data)

    model.train_step = counted
    try:
        yield
    finally:
        model.train_step = train_step
