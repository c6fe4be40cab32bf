"""The native profiler's window in a person's own loop: from a step of their choice on, and no longer than its epoch."""

from collections.abc import Callable
from pathlib import Path

from toolkit.capture.memory_errors import line
from toolkit.capture.own_signals import uninterrupted
from toolkit.capture.record import Recorder
from toolkit.capture.training import ProfilerWindow
from toolkit.capture.workload import Framework
from toolkit.errors import FAILED, HwprofError, complain
from toolkit.own_spec import OwnSpec


class OwnWindow:
    """Opens before step `profile_from` of the run, closes after `profile_steps`, or with `stop`. There is one in a run.

    That a trace cannot be written ends no loop: `failure` then says why.
    """

    def __init__(self, spec: OwnSpec, framework: Framework, record: Recorder, folder: Path) -> None:
        self._spec, self._framework, self._record, self._folder = spec, framework, record, folder
        self._steps = 0
        self._window: ProfilerWindow | None = None
        self._waits = spec.profile_steps > 0
        self.failure: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether the window opens before the next step."""
        return self._waits and self._steps + 1 >= self._spec.profile_from

    def begin_step(self, name: str, *, left: int | None = None) -> None:
        """A step is about to begin, of `left` that there are from here on in its epoch, where that is known.

        Raises HwprofError where the profiler cannot start.
        """
        if left != 0 and self.is_due:
            self._start(min(self._spec.profile_steps, left or self._spec.profile_steps))
        if self._window is not None:
            self._window.begin_step(name)

    def end_step(self, *, came: bool = True) -> None:
        """It ended, or never `came`: there was no batch for it."""
        self._steps += came
        if self._window is not None:
            self._guard(self._window.end_step)

    def stop(self) -> None:
        """Writes the trace where the window is open. Does not wait for the device."""
        if self._window is not None:
            self._guard(self._window.stop)
            self._window = None

    def finish(self) -> None:
        """The loop is over: says so where the window never opened."""
        if self._waits:
            reason = f"the loop had {self._steps} steps, and the profiler begins with step {self._spec.profile_from}"
            self._record.unavailable(self._spec.framework, None, "trace", reason)

    def _start(self, steps: int) -> None:
        self._waits = False
        with self._record.phase("compute"):
            self._framework.sync()
        window = ProfilerWindow(
            self._framework.window(self._spec, self._folder, steps=steps), self._framework, self._record
        )
        try:
            with uninterrupted():
                window.start()
                self._window = window
        except Exception as error:
            raise HwprofError(
                f"The native profiler cannot start: {line(error)}.",
                remedy="Where the script starts one itself, leave that out, or give profile_steps=0.",
                exit_code=FAILED,
            ) from error

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            with uninterrupted():
                act()
        except Exception as error:  # noqa: BLE001 - a profiler may raise anything, and the loop is worth more than its trace
            self._window, self._record.annotate = None, None
            self.failure = f"its trace cannot be written: {line(error)}"
            self._record.unavailable(self._spec.framework, None, "trace", self.failure)
            complain(f"{self.failure}. The loop goes on without.")
