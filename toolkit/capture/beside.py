"""The samplers' processes beside a worker, or beside a person's own loop: started, told whom to watch, ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from toolkit.capture import modules, orders

# What was asked for may be in the middle of being written.
GRACE_S = 25

Samplers = list[subprocess.Popen[str]]


class Sampled(NamedTuple):
    """What is sampled of a pass: by which of `spec.SAMPLERS`, how often a second, on which device, by py-spy too."""

    samplers: Sequence[str]
    hz: int
    device: str
    pyspy: bool


def start(
    folder: Path,
    sampled: Sampled,
    log: IO[Any],
    *,
    environment: Mapping[str, str] | None = None,
    place: Path | None = None,
) -> Samplers:
    """The samplers' processes, which write into `folder`, once they have taken their baselines.

    `environment` and working folder `place` are the caller's own unless given.
    """
    commands = {
        "host": ("sampling", "true" if sampled.pyspy else "false"),
        "gpu": ("gpu_sampling", sampled.device),
    }
    samplers = [
        subprocess.Popen(
            [sys.executable, *modules.words(f"toolkit.capture.{module}"), folder, str(sampled.hz), last],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            env=environment, cwd=place,
        )
        for module, last in (commands[name] for name in sampled.samplers)
    ]  # fmt: skip
    for sampler in samplers:
        if sampler.stdout is not None:
            sampler.stdout.readline()
    return samplers


def tell(samplers: Samplers, pid: int) -> None:
    """Whom to watch: process `pid` and its descendants, but for the samplers themselves."""
    line = " ".join(map(str, (pid, *(sampler.pid for sampler in samplers))))
    for sampler in samplers:
        _write(sampler, line)


def end(samplers: Samplers) -> None:
    """Ends them once they have written what they have.

    They are told so in words: a process that the worker forked may hold the other end of their standard input open.
    """
    for sampler in samplers:
        _write(sampler, orders.STOP)
    latest = time.monotonic() + GRACE_S
    for sampler in samplers:
        try:
            sampler.wait(max(latest - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            os.killpg(sampler.pid, signal.SIGKILL)
            sampler.wait()
        for pipe in (sampler.stdin, sampler.stdout):
            # What was written to a sampler that is gone cannot be flushed.
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()


def _write(sampler: "subprocess.Popen[str]", line: str) -> None:
    # A sampler that is gone already ends no run; its missing record shows.
    with contextlib.suppress(BrokenPipeError):
        if sampler.stdin is not None:
            sampler.stdin.write(f"{line}\n")
            sampler.stdin.flush()
