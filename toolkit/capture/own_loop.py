"""The marks of a person's own training loop: epochs, steps and phases, as the loop comes by."""

import re
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from toolkit.capture.own_window import OwnWindow
from toolkit.capture.record import PROFILER, Mark, Recorder
from toolkit.capture.workload import Framework
from toolkit.errors import HwprofError

T = TypeVar("T")
# What the ledger and the native trace take for a name.
NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED = frozenset({PROFILER, "other"})


class OwnLoop:
    """Marks one epoch, one step at a time. Within a step the phase `compute` is open wherever no other is.

    Python lets go of a loop that was left before its end in the same way by `break` and by an exception, and in the
    latter case before the run hears of it. So what such a loop leaves is ended, and said to be once the script goes on.
    """

    def __init__(self, record: Recorder, framework: Framework, window: OwnWindow) -> None:
        self._record, self._framework, self._window = record, framework, window
        self._stage: Mark | None = None
        self._epoch: Mark | None = None
        self._step: Mark | None = None
        self._body: Mark | None = None
        self._epochs = self._steps = 0
        self._closed = self._stepped = self._leaving = False
        self._unsaid: list[tuple[Any, ...]] = []

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 1; 0 before the first, that of the last after it."""
        return self._epochs

    @property
    def stepped(self) -> bool:
        """Whether `steps` has given out any batch."""
        return self._stepped

    @property
    def begun(self) -> bool:
        """Whether training has begun, and not ended."""
        return self._stage is not None

    def epochs(self, count: int) -> Iterator[int]:
        """Numbers of `count` epochs, each marked while the loop's body runs; they go on from those before."""
        self.begin()
        try:
            for _ in range(count):
                self.next_epoch()
                self._epoch = self._record.mark("epoch", "train", epoch=self._epochs).begin()
                yield self._epochs
                self._go_on()
                self._end_epoch()
        except GeneratorExit:
            self._leave(self._end_training)
            raise
        self.finish()

    def steps(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches; the wait for each and the loop's body are a training step. HwprofError outside an epoch."""
        self._go_on()
        if self._epoch is None:
            raise HwprofError(
                "steps() has no epoch around it.", remedy="Write `for epoch in run.epochs(N):` around it."
            )
        if self._step is not None or self._record.inside_phase:
            raise HwprofError(
                "steps() is for training steps alone, one after the other.",
                remedy="Within a step, or a phase such as the validation, iterate over the batches themselves.",
            )
        with self._record.phase("data_wait"):
            iterator = iter(batches)
        try:
            for left in _countdown(batches):
                got = self._begin_step(iterator, left)
                if not got:
                    break
                yield got.pop()
                self._end_step()
        except BaseException:
            # The loop was left, or there is no next batch but an error, which the script may survive.
            self._leave(self._end_steps)
            raise
        self._end_steps()
        with self._record.phase("data_wait"):
            # Its threads, or processes, end with it.
            del iterator

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A part of the loop's time by the ledger's names, or your own. Outside of steps the device is waited for."""
        if not NAME.fullmatch(name) or name in RESERVED:
            raise HwprofError(
                f"{name!r} is no name for a phase.",
                remedy=f"Use small letters, digits and _, but not {' or '.join(sorted(RESERVED))}.",
            )
        self._go_on()
        step, interrupts = self._step, self._body is not None
        self._end_body()
        try:
            with self._record.phase(name):
                yield
                if step is None:
                    self._framework.sync()
        finally:
            if interrupts and self._step is step and not self._closed:
                self._body = self._record.phase("compute").begin()

    def begin(self) -> None:
        """Training begins, after any `fit` that raised. Raises HwprofError inside an epoch of `epochs`."""
        self._go_on()
        if self._epoch is not None:
            raise HwprofError("Epochs are inside epochs.", remedy="Call epochs() once around the training loop.")
        self._end_training()
        self._stage = self._record.mark("stage", "train").begin()

    def next_epoch(self) -> int:
        """The number of an epoch that is about to begin."""
        self._record.clock()
        self._epochs += 1
        self._steps = 0
        return self._epochs

    def finish(self) -> None:
        """Ends what is open, as training ends."""
        self._go_on()
        self._end_training()

    def cut(self) -> None:
        """Training was cut off: what is open stays so in the record, and nothing is marked from here on."""
        self._closed = True

    def _go_on(self) -> None:
        """The script goes on: what it left before its end, it left of its own will."""
        if not self._closed:
            self._leaving = False
            for record in self._unsaid:
                self._record.write(*record)
            self._unsaid.clear()

    def _leave(self, end: Callable[[], None]) -> None:
        """Ends what is left, as far as a device lets it that may be why."""
        self._leaving = True
        with suppress(Exception):
            end()

    def _end(self, mark: Mark) -> None:
        if self._leaving:
            self._unsaid.append(mark.stop())
        else:
            mark.end()

    def _end_training(self) -> None:
        if not self._closed:
            if self._epoch is not None:
                self._end_epoch()
            if self._stage is not None:
                self._end_left(self._stage)
                self._end(self._stage)
            self._stage = None

    def _end_left(self, stage: Mark) -> None:
        """What a `fit` that raised left open: Keras tells its callbacks nothing of that."""
        for mark in self._record.inside(stage):
            if mark.kind == "epoch":
                with suppress(Exception), self._record.phase("compute"):
                    self._framework.sync()
                self._window.stop()
            self._end(mark)

    def _begin_step(self, iterator: Iterator[T], left: int | None) -> list[T]:
        """The next batch, of `left` where that is known, as the start of a step; none at the end."""
        ahead: list[T] = []
        if left is None and self._window.is_due:
            # The profiler's window is not to open where there is no step. The wait is then before both.
            with self._record.phase("data_wait"):
                ahead.extend(islice(iterator, 1))
            if not ahead:
                return []
        self._window.begin_step("train", left=left)
        return self._fetch(ahead.pop if ahead else partial(next, iterator))

    def _fetch(self, following: Callable[[], T]) -> list[T]:
        """The following batch, as the start of a step; none at the end. A wait for none is the epoch's, and no step."""
        step = self._record.mark("step", "train", step=self._steps + 1).begin()
        wait = self._record.phase("data_wait").begin()
        try:
            batch = [following()]
        except BaseException as error:
            wait.parent, wait.step = step.parent, None
            wait.end()
            step.drop()
            self._window.end_step(came=False)
            if isinstance(error, StopIteration):
                return []
            raise
        wait.end()
        self._steps += 1
        self._step, self._stepped = step, True
        # What was compiled for anything else, such as the validation, is no step's.
        self._framework.compiled()
        self._body = self._record.phase("compute").begin()
        return batch

    def _end_body(self) -> None:
        if self._body is not None:
            if self._framework.compiled():
                self._body.name = "compile"
            self._body.end()
            self._body = None

    def _end_step(self) -> None:
        if self._step is not None and not self._closed:
            self._end_body()
            self._end(self._step)
            self._step = None
            self._window.end_step()

    def _end_steps(self) -> None:
        """The last step's work is done where the device has done it; the profiler's window is no longer than this."""
        if not self._closed:
            self._end_step()
            with self._record.phase("compute"):
                self._framework.sync()
            self._window.stop()

    def _end_epoch(self) -> None:
        if self._step is not None:
            self._end_steps()
        if self._epoch is not None and not self._closed:
            with self._record.phase("callbacks"):
                self._framework.report_memory(self._record)
            self._framework.sync()
            self._end(self._epoch)
            self._epoch = None


def _countdown(batches: Iterable[Any]) -> Iterator[int | None]:
    """How many batches are left before each, to 0; None throughout where they do not tell, or told too few."""
    count = None
    if isinstance(batches, Sized):
        try:
            count = len(batches)
        except (TypeError, NotImplementedError, ValueError):
            # it has a length by its class, and not by its content, as an endless tf.data pipeline
            count = None
    yield from range(count, -1, -1) if count is not None else ()
    while True:
        yield None
