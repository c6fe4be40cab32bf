"""Scripts of people who profile their own loop, run in a framework's environment as theirs would be."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.workers import PATIENCE_S, REPO, python

EXAMPLES = REPO / "examples"
# One thread each: the machine is shared.
THREADS = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


class Done(NamedTuple):
    """A script that ended: its exit code, what it said, and the folder of runs."""

    returncode: int
    stdout: str
    stderr: str
    runs: Path

    @property
    def run(self) -> Path:
        """The only run that it left."""
        (found,) = self.runs.iterdir()
        return found


def start(framework: str, script: str | Path, folder: Path) -> "subprocess.Popen[str]":
    """A script, by its text or its path, that runs in `folder` in the framework's environment, hwprof beside it."""
    path = script if isinstance(script, Path) else folder / "script.py"
    if isinstance(script, str):
        path.write_text(script)
    return popen([python(framework), path], folder)


def popen(command: list[str | Path], folder: Path, *, path: str = str(REPO)) -> "subprocess.Popen[str]":
    """The command in `folder`, with hwprof where its Python finds it: on `path`, unless it is installed."""
    environment = os.environ | THREADS | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    # what conftest.py says of pytest's own warnings is none of the script's
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]", folder: Path) -> Done:
    """The script once it has ended."""
    with process:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    return Done(process.returncode, stdout, stderr, folder / "runs")


def run(framework: str, script: str | Path, folder: Path) -> Done:
    """A script, run to its end."""
    return finish(start(framework, script, folder), folder)
