"""What the samplers cost: steps of a real training loop with each, with both, with none; their share of a core; memory.

One training process, beside which samplers are stopped (SIGSTOP) and continued (SIGCONT) at the edges of blocks of a
fifth of a second. Two blocks are a pair, in one of which, drawn, samplers run: most often both, else one of them. So
what a pair compares lies less than half a second apart, and all else that the machine does meanwhile falls on both
alike; its speed wanders at any scale, so that longer blocks differ as much, and there are fewer of them. A block tells
the mean step, without the first twentieth of a second, in which a sampler that was continued catches up; a pair the
ratio of its blocks. Printed is the centre over pairs, with its interval. A dummy process that does nothing is
stopped and continued alike, drawn for itself: its interval shows what the method makes of no cost at all.

A stopped process is as good as none, for step times: it is given no processor, takes no lock, and wakes for nothing;
its memory stays and is told apart. Share of a core and memory are of the minute before, in which none is stopped.
py-spy, which runs on request only, is measured by `--pyspy`: continued, it takes the samples that it missed as well, so
that its figure is of twice its rate.

Without a GPU the GPUs' sampler reads the tests' stand-in for the driver's library, which answers as a driver does, but
at once. A quarter of an hour. Run from the repository's root after `make profile` has made the environment:

    .venv/toolkit/bin/python -m benchmarks.sampler_overhead

`--hour` plays an hour at 100 Hz in the sampler's own loop instead, and prints what was kept of it, and in what memory.
"""

import bisect
import itertools
import json
import math
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import click
import psutil

from benchmarks.ratios import Known, of_pairs
from tests import drivers
from toolkit.capture import venvs
from toolkit.capture.samplers import nvml
from toolkit.settings import resolve
from toolkit.spec import FIELDS

ROOT = Path(__file__).parents[1]
# The dummy: it waits until its input ends, which costs nothing.
IDLE = "import sys; sys.stdin.read()"
HZ = str(FIELDS["sample_hz"].default)
MIB = 1 << 20
# Power that is never the same twice in a row, so that the sampler finds its period as it does on a GPU.
NOISY = "gpu NVIDIA H200\nload 0 100 3170 600 7130 90\nrepeat 7130\n"
BLOCK_S, SETTLE_S, LEAST_STEPS, LEAST_PAIRS = 0.2, 0.05, 4, 10
COST_S = 60
# At the default rates: of a step's time, of one core, MiB.
STEP_TARGET, CORE_TARGET, MEMORY_TARGET = 0.01, 0.02, 60
# More than it ever takes: it is ended once all pairs are there.
STEPS = 100_000
SAMPLERS, DUMMY, PYSPY = ("host", "gpu"), "a dummy", "py-spy"
# What a pair is of, one of these: the claim is of both together.
ARMS = (*[frozenset(SAMPLERS)] * 10, *(frozenset([name]) for name in SAMPLERS))


class Block(NamedTuple):
    """A time, ns of CLOCK_MONOTONIC, and what ran in it of all that is stopped and continued."""

    start: int
    end: int
    running: frozenset[str]


Pair = tuple[Block, Block]


class Cost(NamedTuple):
    """Of one sampler: share of a core, and resident and proportional memory, MiB."""

    core: float
    rss: float
    pss: float


@click.command
@click.option("--framework", type=click.Choice(["torch", "tf"]), default="torch", show_default=True)
@click.option("--model", default="cifar_cnn", show_default=True)
@click.option("--pairs", default=1800, show_default=True, help="Pairs of blocks, of less than half a second each.")
@click.option("--pyspy", is_flag=True, help="py-spy instead.")
@click.option("--hour", is_flag=True, help="Play an hour at 100 Hz instead.")
def main(framework: str, model: str, pairs: int, *, pyspy: bool, hour: bool) -> None:
    """Print ratios of step times, shares of a core, and memory."""
    with tempfile.TemporaryDirectory() as name:
        driver = _driver(Path(name))
        if hour:
            _play_an_hour(driver, Path(name))
            return
        python = venvs.ensure(framework, "cpu", say=click.echo).python
        settings = {
            "framework": framework, "model": model, "batch": 8, "epochs": 1, "infer_repeats": 0, "steps": STEPS,
            "validation_steps": 1, "threads": 1, "device": "cpu",
        }  # fmt: skip
        asked = [f"{key}={value}" for key, value in settings.items()]
        (Path(name) / "spec.json").write_text(resolve(None, asked, profiles=ROOT / "profiles").as_json())
        costs, told = _run(python, Path(name), driver, pairs, pyspy=pyspy)
        steps = _steps(Path(name))
    for sampler, cost in costs.items():
        click.echo(
            f"{sampler}: {cost.core:.2%} of a core, {cost.rss:.1f} MiB resident, {cost.pss:.1f} MiB proportional"
        )
    for arm in dict.fromkeys([frozenset([PYSPY])] if pyspy else [*ARMS[::-1]]):
        click.echo(
            f"{framework} {model}: steps with {' and '.join(sorted(arm))} / without = {_known(arm, told, steps)}"
        )
    click.echo(f"{framework} {model}: steps with {DUMMY} / without = {_known(frozenset([DUMMY]), told, steps)}")
    if not pyspy:
        for line in _verdicts(_known(frozenset(SAMPLERS), told, steps), costs.values()):
            click.echo(line)


def _verdicts(step: Known, costs: Iterable[Cost]) -> Iterator[str]:
    """One line a target, of both samplers together."""
    core, rss = (sum(figure) for figure in list(zip(*costs, strict=True))[:2])
    yield f"target, step time within {STEP_TARGET:.0%}: {step.verdict(STEP_TARGET)}"
    yield f"target, under {CORE_TARGET:.0%} of a core: {'met' if core < CORE_TARGET else 'missed'}, {core:.2%}"
    yield f"target, under {MEMORY_TARGET} MiB resident: {'met' if rss < MEMORY_TARGET else 'missed'}, {rss:.1f} MiB"


def _driver(folder: Path) -> Path | None:
    """The stand-in's folder; None where there is a real driver."""
    if nvml.detect().gpus:
        return None
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise click.ClickException("Neither a GPU nor a C compiler for the stand-in of its driver is here.")
    source = ROOT / "tests" / "nvml_stub.c"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def _run(
    python: Path, folder: Path, driver: Path | None, pairs: int, *, pyspy: bool
) -> tuple[dict[str, Cost], list[Pair]]:
    """One time pass beside the samplers, started and told as supervise does, until all pairs are there."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if driver:
        environment |= {"LD_LIBRARY_PATH": str(driver), "NVML_SCRIPT": drivers.scripted(folder, NOISY)}
    with ExitStack() as ending:
        started = {name: _start(python, name, folder, environment, pyspy=pyspy) for name in SAMPLERS}
        started[DUMMY] = subprocess.Popen([sys.executable, "-c", IDLE], stdin=subprocess.PIPE, text=True)
        for process in started.values():
            ending.callback(_end, process)
        command: list[str | Path] = [
            python,
            "-m",
            "toolkit.capture.worker",
            folder / "spec.json",
            "time",
            "cpu",
            folder,
        ]
        worker = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        ending.callback(_end, worker)
        for name in SAMPLERS:
            _tell(started[name], worker.pid)
        while worker.poll() is None and not _steps(folder):
            time.sleep(1)
        processes = {name: psutil.Process(process.pid) for name, process in started.items()}
        if pyspy:
            (child,) = processes["host"].children()
            costs = _costs({PYSPY: child})
            return costs, list(_pairs(worker, {PYSPY: child, DUMMY: processes[DUMMY]}, pairs))
        costs = _costs({name: processes[name] for name in SAMPLERS})
        return costs, list(_pairs(worker, processes, pairs))


def _costs(processes: dict[str, psutil.Process]) -> dict[str, Cost]:
    """Of a minute in which none is stopped."""
    before, since = {name: _cpu_s(process) for name, process in processes.items()}, time.monotonic()
    time.sleep(COST_S)
    found = {}
    for name, process in processes.items():
        memory = process.memory_full_info()
        core = (_cpu_s(process) - before[name]) / (time.monotonic() - since)
        found[name] = Cost(core, memory.rss / MIB, memory.pss / MIB)
    return found


def _pairs(worker: "subprocess.Popen[bytes]", processes: dict[str, psutil.Process], count: int) -> Iterator[Pair]:
    """`count` pairs, or as many as there is a worker for; all run afterwards."""
    for _ in range(count):
        if worker.poll() is not None:
            break
        first, second = drawn([frozenset([PYSPY])] if PYSPY in processes else ARMS)
        yield _block(processes, first), _block(processes, second)
    _block(processes, processes.keys())


def drawn(arms: Sequence[frozenset[str]]) -> tuple[frozenset[str], frozenset[str]]:
    """What runs in the blocks of a pair: one of the arms in one of them, the dummy in either."""
    (arm,) = random.sample(arms, 1)
    first, second = random.sample([arm, frozenset()], 2)
    return (first | {DUMMY}, second) if random.getrandbits(1) else (first, second | {DUMMY})


def _block(processes: dict[str, psutil.Process], running: Iterable[str]) -> Block:
    running = frozenset(running)
    for name, process in processes.items():
        process.send_signal(signal.SIGCONT if name in running else signal.SIGSTOP)
    start = time.monotonic_ns() + round(SETTLE_S * 1e9)
    time.sleep(BLOCK_S)
    return Block(start, time.monotonic_ns(), running)


def _start(
    python: Path, sampler: str, folder: Path, environment: dict[str, str], *, pyspy: bool
) -> "subprocess.Popen[str]":
    module, last = ("sampling", "true" if pyspy else "false") if sampler == "host" else ("gpu_sampling", "cuda")
    command: list[str | Path] = [python, "-m", f"toolkit.capture.{module}", folder, HZ, last]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
    if process.stdout is not None:
        process.stdout.readline()
    return process


def _tell(process: "subprocess.Popen[str]", pid: int) -> None:
    """The worker's id."""
    if process.stdin is not None:
        process.stdin.write(f"{pid}\n")
        process.stdin.flush()


def _end(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    """Whether it is stopped or not; the worker first, so that the samplers see it go."""
    process.send_signal(signal.SIGCONT)
    if process.stdin is None:
        process.terminate()
    process.communicate()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _steps(folder: Path) -> list[tuple[int, int]]:
    """Start and end of every training step so far, ns of CLOCK_MONOTONIC, in order."""
    path = folder / "worker.jsonl"
    # what follows the last line break is not whole yet
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return sorted((line[7], line[8]) for line in map(json.loads, lines) if line[0] == "mark" and line[3] == "step")


def _known(names: frozenset[str], pairs: list[Pair], steps: list[tuple[int, int]]) -> Known:
    """The ratio of step times in blocks with `names` to those, in the same pair, with none of them."""
    logs = list(_log_ratios(names, pairs, steps))
    if len(logs) < LEAST_PAIRS:
        raise click.ClickException(f"{len(logs)} pairs have {LEAST_STEPS} steps in both blocks: too few to tell.")
    return of_pairs(logs)


def _log_ratios(names: frozenset[str], pairs: list[Pair], steps: list[tuple[int, int]]) -> Iterator[float]:
    """Of the pairs in one block of which `names` ran, and nothing else but the dummy; of the dummy, of all pairs."""
    among = frozenset([DUMMY]) if names == {DUMMY} else frozenset([*SAMPLERS, PYSPY])
    for first, second in pairs:
        for with_them, without in ((first, second), (second, first)):
            if with_them.running & among == names:
                means = _mean_step_ns(with_them, steps), _mean_step_ns(without, steps)
                if means[0] and means[1]:
                    yield math.log(means[0] / means[1])


def _mean_step_ns(block: Block, steps: list[tuple[int, int]]) -> float | None:
    """Over whole steps and what lies between them: a pause between two is part of the cost."""
    inside = steps[bisect.bisect_left(steps, (block.start, 0)) : bisect.bisect_right(steps, block.end, key=_end_of)]
    return (inside[-1][1] - inside[0][0]) / len(inside) if len(inside) >= LEAST_STEPS else None


def _end_of(step: tuple[int, int]) -> int:
    return step[1]


def _play_an_hour(driver: Path | None, folder: Path) -> None:
    """The sampler's loop in virtual time over a sensor of 20 ms, which is polled somewhat oftener than at 100 Hz."""
    if driver is None:
        raise click.ClickException(
            "An hour is played over the tests' stand-in for a driver; this machine has a real one."
        )
    script = f"clock virtual\n{NOISY}sensor instant 20 10\nsensor usage 20 10\nfail 185 3\n"
    played = {"LD_LIBRARY_PATH": str(driver), "NVML_SCRIPT": drivers.scripted(folder, script)}
    said = drivers.PLAY + "\nprint(open('/proc/self/status').read())\n"
    for seconds in (60, 3600):
        (folder / "gpu.jsonl").unlink(missing_ok=True)
        command: list[str | Path] = [sys.executable, "-c", said, folder, str(seconds), HZ]
        environment = os.environ | played
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        peak = re.search(r"VmHWM:\s+(\d+)", done.stdout)
        path = folder / "gpu.jsonl"
        with path.open() as file:
            moments = [line[1] for line in map(json.loads, file) if line[0] == "readings" and "power" in line[4]]
        moments = [moment for moment in moments if moment >= moments[-1] - seconds * 10**9]
        period_ns = statistics.median(after - before for before, after in itertools.pairwise(moments))
        kept, due = len(moments), round((moments[-1] - moments[0]) / period_ns) + 1
        size, memory = path.stat().st_size / MIB, int(peak[1]) / 1024 if peak else float("nan")
        rate = f"{seconds} s at {1e9 / period_ns:.0f} Hz"
        click.echo(f"{rate}: {kept} of {due} polls, {size:.1f} MiB on disk, {memory:.1f} MiB of memory")


if __name__ == "__main__":
    main()
