"""What the samplers cost: steps of a real training pass with each, both, and none; their share of a core; memory.

One pass runs beside both samplers, which are stopped and continued in slices of half a second, in random order, so that
whatever else the machine does falls on all alike. The ratio of step times is of the medians over slices, with a
bootstrap interval; share and memory are of the samplers in a pass that stops none. Without a GPU the GPUs' sampler
reads the tests' stand-in for the driver's library, which answers as a driver does, but at once. Run from the
repository's root after `make profile` has made the environment:

    .venv/toolkit/bin/python -m benchmarks.sampler_overhead

`--hour` plays an hour at 100 Hz in the sampler's own loop instead, and prints what was kept of it, and in what memory.
"""

import itertools
import json
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
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import psutil

from benchmarks import ratios
from benchmarks.ratios import Steps
from tests import drivers
from toolkit.capture import venvs
from toolkit.capture.samplers import nvml
from toolkit.spec import FIELDS, resolve

ROOT = Path(__file__).parents[1]
HZ = str(FIELDS["sample_hz"].default)
MIB = 1 << 20
# Power that is never the same twice in a row, so that the sampler finds its period as it does on a GPU.
NOISY = "gpu NVIDIA H200\nload 0 100 3170 600 7130 90\nrepeat 7130\n"
SLICE_S, LEAST_STEPS = 0.5, 5
KINDS = {"none": (), "host": ("host",), "gpu": ("gpu",), "both": ("host", "gpu")}


class Cost(NamedTuple):
    """Of one sampler: share of a core, and resident and proportional memory, MiB."""

    core: float
    rss: float
    pss: float


@click.command
@click.option("--framework", type=click.Choice(["torch", "tf"]), default="torch", show_default=True)
@click.option("--model", default="cifar_cnn", show_default=True)
@click.option("--steps", default=4000, show_default=True)
@click.option("--hour", is_flag=True, help="Play an hour at 100 Hz instead.")
def main(framework: str, model: str, steps: int, *, hour: bool) -> None:
    """Print ratios of step times, shares of a core, and memory."""
    with tempfile.TemporaryDirectory() as name:
        driver = _driver(Path(name))
        if hour:
            _play_an_hour(driver, Path(name))
            return
        python = venvs.ensure(framework, "cpu", say=click.echo).python
        settings = {
            "framework": framework, "model": model, "batch": 32, "epochs": 1, "infer_repeats": 0,
            "validation_steps": 1, "threads": 1, "device": "cpu",
        }  # fmt: skip
        run = partial(_run, python, settings, driver)
        costs, _ = run(steps // 4, slices=False)
        _, measured = run(steps, slices=True)
    for kind in KINDS:
        if kind != "none":
            for line in ratios.said({kind: measured[kind], "none": measured["none"]}):
                click.echo(f"{framework} {model}: {line}, {len(measured[kind])} slices")
    for sampler, cost in costs.items():
        click.echo(
            f"{sampler}: {cost.core:.2%} of a core, {cost.rss:.1f} MiB resident, {cost.pss:.1f} MiB proportional"
        )
    core, rss = (sum(getattr(cost, field) for cost in costs.values()) for field in ("core", "rss"))
    click.echo(f"together: {core:.2%} of a core (target 2 %), {rss:.1f} MiB resident (target 60)")


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
    python: Path, settings: dict[str, object], driver: Path | None, steps: int, *, slices: bool
) -> tuple[dict[str, Cost], dict[str, list[Steps]]]:
    """One time pass beside both samplers, started and told as supervise does: what they cost, and steps by kind."""
    asked = [f"{key}={value}" for key, value in (settings | {"steps": steps}).items()]
    spec = resolve(None, asked, profiles=ROOT / "profiles")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.json").write_text(spec.as_json())
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if driver:
            environment |= {"LD_LIBRARY_PATH": str(driver), "NVML_SCRIPT": drivers.scripted(folder, NOISY)}
        samplers = {sampler: _start(python, sampler, folder, environment) for sampler in KINDS["both"]}
        command = [python, "-m", "toolkit.capture.worker", folder / "spec.json", "time", "cpu", folder]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as worker:
            before = {sampler: _begin(process, worker.pid) for sampler, process in samplers.items()}
            since = time.time()
            told = _slices(worker.pid, samplers) if slices else []
            # Waited for without being reaped, so that the samplers' last figures are of the worker's time.
            os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
            costs = {name: _cost(process, before[name], since) for name, process in samplers.items()}
        for process in samplers.values():
            process.communicate()
        return costs, _steps(folder, told)


def _slices(pid: int, samplers: "dict[str, subprocess.Popen[str]]") -> list[tuple[int, int, str]]:
    """(start, end, kind) on CLOCK_MONOTONIC, ns, of slices until the process ends."""
    told = []
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        kind = random.choice(list(KINDS))  # noqa: S311 - an order, no secret
        for sampler, process in samplers.items():
            process.send_signal(signal.SIGCONT if sampler in KINDS[kind] else signal.SIGSTOP)
        start = time.monotonic_ns()
        time.sleep(SLICE_S)
        told.append((start, time.monotonic_ns(), kind))
    for process in samplers.values():
        process.send_signal(signal.SIGCONT)
    return told


def _start(python: Path, sampler: str, folder: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    module, last = ("sampling", "false") if sampler == "host" else ("gpu_sampling", "cuda")
    command = [python, "-m", f"toolkit.capture.{module}", folder, HZ, last]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
    if process.stdout is not None:
        process.stdout.readline()
    return process


def _begin(process: "subprocess.Popen[str]", pid: int) -> float:
    """Tells the worker's id; the processor time that the sampler has used until then, seconds."""
    if process.stdin is not None:
        process.stdin.write(f"{pid}\n")
        process.stdin.flush()
    return _cpu_s(process)


def _cpu_s(process: "subprocess.Popen[str]") -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _cost(process: "subprocess.Popen[str]", before_s: float, since: float) -> Cost:
    memory = psutil.Process(process.pid).memory_full_info()
    lasting = time.time() - since
    return Cost((_cpu_s(process) - before_s) / lasting, memory.rss / MIB, memory.pss / MIB)


def _steps(folder: Path, told: list[tuple[int, int, str]]) -> dict[str, list[Steps]]:
    """The steps that lie within each slice, by its kind: median and tenth percentile, ms."""
    lines = map(json.loads, (folder / "worker.jsonl").read_text().splitlines())
    steps = [(line[7], line[8]) for line in lines if line[0] == "mark" and line[3] == "step"]
    found: dict[str, list[Steps]] = defaultdict(list)
    for start, end, kind in told:
        times = sorted((after - before) / 1e6 for before, after in steps if start <= before and after <= end)
        if len(times) >= LEAST_STEPS:
            found[kind].append(Steps(statistics.median(times), times[len(times) // 10]))
    return found


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
        command = [sys.executable, "-c", said, folder, str(seconds), HZ]
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
