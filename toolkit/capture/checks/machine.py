"""What a check takes and gives: the machine it looks at, and findings."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit import clock
from toolkit.capture import engines
from toolkit.capture.samplers import nvml, pyspy

# What does not answer by then is taken for broken, so that the doctor never hangs.
PATIENCE_S = 2.0

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found: `problem` stops `make profile`, `warning` a part of it; a remedy wherever it is not ok."""

    name: str
    state: State
    found: str
    remedy: str | None = None


class Machine:
    """What runs would use here. What takes long to ask is asked at once; who needs an answer waits for it."""

    def __init__(self, *, runs: Path, root: Path) -> None:
        self.runs = runs
        self.root = root
        self.pair = clock.read_pair()
        with ThreadPoolExecutor() as pool:
            self._presence = pool.submit(nvml.detect)
            self._unreadable = pool.submit(nvml.unreadable)
            self._engines = {name: pool.submit(engines.ask, name, within_s=PATIENCE_S) for name in engines.NAMES}
            self._pyspy = pool.submit(pyspy.refusal, PATIENCE_S)

    @property
    def presence(self) -> nvml.Presence:
        """The GPUs that NVML shows."""
        return self._presence.result()

    @property
    def visible(self) -> nvml.Presence:
        """Those of them that runs would see."""
        return nvml.visible(self.presence, os.environ.get("CUDA_VISIBLE_DEVICES"))

    @property
    def unreadable(self) -> dict[str, str]:
        """Metric -> why the GPUs here do not tell it."""
        return self._unreadable.result()

    @property
    def answers(self) -> dict[str, engines.Engine | str]:
        """Each engine, or why it does not work, in the order in which `auto` asks them."""
        return {name: answer.result() for name, answer in self._engines.items()}

    @property
    def engines(self) -> list[engines.Engine]:
        """Those that work; the first is the one that `auto` takes."""
        return [answer for answer in self.answers.values() if isinstance(answer, engines.Engine)]

    @property
    def pyspy_refusal(self) -> str | None:
        """Why py-spy cannot read a process here; None where it can."""
        return self._pyspy.result()


Check = Callable[[Machine], Iterable[Finding]]


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(name=name, state="ok", found=found)


def warning(name: str, found: str, remedy: str) -> Finding:
    """A part of hwprof does not work here, and runs do without it."""
    return Finding(name=name, state="warning", found=found, remedy=remedy)


def problem(name: str, found: str, remedy: str) -> Finding:
    """`make profile` cannot run."""
    return Finding(name=name, state="problem", found=found, remedy=remedy)
