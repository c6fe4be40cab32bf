"""Runs the worker's entry point in a framework's own environment, and reads back what it wrote."""

import contextlib
import functools
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.capture import venvs
from toolkit.settings import check
from toolkit.spec import RunSpec

REPO = Path(__file__).parents[1]
PATIENCE_S = 240
LOOPS = (("torch", "custom"), ("tf", "fit"), ("tf", "custom"), ("jax", "custom"), ("jax", "fit"))


class Mark(NamedTuple):
    """A mark that ended."""

    id: int
    parent: int | None
    kind: str
    name: str
    epoch: int | None
    step: int | None
    start: int
    end: int


class Pass(NamedTuple):
    """What one pass left behind."""

    folder: Path
    outcome: dict[str, Any]
    facts: dict[str, Any]
    lines: list[list[Any]]

    def marks(self, kind: str, *, epoch: int | None = None) -> list[Mark]:
        """Marks of one kind, of one epoch where given, in the order in which they began."""
        marks = sorted((Mark(*line[1:]) for line in self.lines if line[0] == "mark"), key=lambda mark: mark.start)
        return [mark for mark in marks if mark.kind == kind and epoch in (None, mark.epoch)]

    def phases(self, epoch: int) -> list[str]:
        """Names of the epoch's phases in the order in which they began."""
        return [mark.name for mark in self.marks("phase", epoch=epoch)]

    def scalars(self, name: str) -> list[float]:
        """The scalar's values, epoch by epoch."""
        return [line[4] for line in self.lines if line[0] == "scalar" and line[3] == name]


def small(framework: str, loop: str, **settings: Any) -> RunSpec:
    """A spec that a worker is through with in a moment: the small CNN, one thread, few samples."""
    few = {"model": "cifar_cnn", "threads": 1, "batch": 8, "steps": 3, "epochs": 2, "validation_steps": 2}
    few |= {"infer_batches": (1, 3), "infer_repeats": 2}
    return check(RunSpec(framework=framework, loop=loop, **(few | settings)))


@functools.cache
def python(framework: str) -> Path:
    """The framework's interpreter, its environment made where it is not there yet."""
    return venvs.ensure(framework, "cpu", say=lambda _: None).python


def start(folder: Path, spec: RunSpec, pass_name: str, device: str = "cpu") -> subprocess.Popen[bytes]:
    """A worker that runs; its output goes to `folder`/worker.log."""
    (folder / "spec.json").write_text(spec.as_json())
    command = [python(spec.framework), "-m", "toolkit.capture.worker", folder / "spec.json", pass_name, device, folder]
    environment = os.environ | {"PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
    with (folder / "worker.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def work(folder: Path, spec: RunSpec, pass_name: str, device: str = "cpu") -> Pass:
    """A worker's pass, run to its end."""
    with start(folder, spec, pass_name, device) as worker:
        worker.wait(PATIENCE_S)
    return read(folder)


def read(folder: Path) -> Pass:
    """What a worker that is gone has written, however it ended."""
    return Pass(folder, _json(folder / "outcome.json"), _json(folder / "facts.json"), lines(folder))


def lines(folder: Path) -> list[list[Any]]:
    """The whole lines of a record that may still be written to."""
    text = (folder / "worker.jsonl").read_text() if (folder / "worker.jsonl").exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def wait_until(condition: Callable[[], bool], worker: subprocess.Popen[bytes]) -> None:
    """Returns once `condition` holds; fails where the worker ends before that, or at the end of patience."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the worker ended with {worker.wait(0.05)}")


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}
