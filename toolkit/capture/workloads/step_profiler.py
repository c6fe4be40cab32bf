"""What TensorFlow's profiler and JAX's, which are one underneath, have in common: a window of numbered steps."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


class StepProfiler:
    """A profiler over a window of `steps` steps; fulfils `NativeProfiler`.

    `step(name, number)` is the span that XProf takes for a step: an event that carries its number.
    """

    def __init__(
        self,
        steps: int,
        *,
        start: Callable[[], None],
        stop: Callable[[], None],
        step: Callable[[str, int], AbstractContextManager[Any]],
    ) -> None:
        self._steps = steps
        self._start = start
        self._stop = stop
        self._span = step
        self._step = 0
        self._open: AbstractContextManager[Any] | None = None

    def start(self) -> None:
        """Records from here on."""
        self._start()

    def begin_step(self, name: str) -> None:
        """Opens the step's span."""
        self._step += 1
        self._open = self._span(name, self._step)
        self._open.__enter__()

    def end_step(self) -> bool:
        """Closes it."""
        if self._open is not None:
            self._open.__exit__(None, None, None)
        return self._step < self._steps

    def stop(self) -> None:
        """Writes the trace."""
        self._stop()
