"""Containers of the tests' own, and a run in one."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.commands import HWPROF, REPO
from tests.test_run import PATIENCE_S, SMALL
from toolkit.capture import containers, images
from toolkit.capture.containers import Container
from toolkit.capture.engines import Engine
from toolkit.spec import RunSpec

DOCKER = "runtime=docker"
MIB = 1 << 20


def caged(engine: Engine, image: images.Image, **settings: Any) -> Container:
    """The container of a spec, on the CPU."""
    return containers.settle(engine, image, RunSpec(**settings), gpus=(), variables={})


def kept(container: Container, folder: Path, code: str) -> dict[str, Any]:
    """How a keeper says that a container with Python on `code` in it ended."""
    name = f"hwprof-test-{os.getpid()}"
    words = containers.keep(container, name=name, folder=folder, inside=["-c", code], place=folder)
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        process.wait(PATIENCE_S)
    assert left(container.engine, name) == []
    return dict(json.loads((folder / "outcome.json").read_text()))


def left(engine: Engine, name: str) -> list[str]:
    """Containers, running or not, whose name holds `name`."""
    command = [engine.program, "ps", "--all", "--format", "{{.Names}}", "--filter", f"name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def start(runs: Path, *settings: str) -> subprocess.Popen[str]:
    """A run in a container, too long to wait for."""
    arguments = [f"--set={setting}" for setting in (*SMALL, "steps=100000", DOCKER, *settings)]
    return subprocess.Popen([HWPROF, "run", "--runs", runs, *arguments], cwd=REPO, text=True, stderr=subprocess.PIPE)


def training_container(runs: Path) -> str | None:
    """The name of the container whose record shows training steps."""
    records = list(runs.glob("*/raw/time/worker.jsonl"))
    if not records or '"step"' not in records[0].read_text():
        return None
    return str(json.loads((records[0].parent / "container.json").read_text())["name"])


# --- what a finished run says of its container
