"""What the samplers cost: a real training pass with each of them, both, and none; their share of a core; their memory.

Fresh processes in random interleaved order. The ratio of step times is of medians over processes, with a bootstrap
interval; share and memory are the samplers' own while the worker runs. Without a GPU the GPUs' sampler reads the tests'
stand-in for the driver's library, which answers as often as a driver would, and at once. Run from the repository's root
after `make profile` has made the environment:

    .venv/toolkit/bin/python -m benchmarks.sampler_overhead --rounds 5

`--hour` plays an hour at 100 Hz in the sampler's own loop instead, and prints what was kept of it, and in what memory.
"""

import json
import os
import re
import shutil
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
from toolkit.analyses import runner
from toolkit.capture import venvs
from toolkit.capture.samplers import nvml
from toolkit.ingest import records
from toolkit.ingest.store import StoreWriter, connect
from toolkit.spec import FIELDS, RunSpec, resolve

ROOT = Path(__file__).parents[1]
HZ = str(FIELDS["sample_hz"].default)
MIB = 1 << 20
# Power that is never the same twice in a row, so that the sampler finds its period as it does on a GPU.
NOISY = "gpu NVIDIA H200\nload 0 100 3170 600 7130 90\nrepeat 7130\n"
KINDS = {"none": (), "host": ("host",), "gpu": ("gpu",), "both": ("host", "gpu")}


class Cost(NamedTuple):
    """Of one sampler: share of a core, and resident and proportional memory, MiB."""

    core: float
    rss: float
    pss: float


@click.command
@click.option("--framework", type=click.Choice(["torch", "tf"]), default="torch", show_default=True)
@click.option("--model", default="cifar_cnn", show_default=True)
@click.option("--steps", default=400, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Processes of each kind.")
@click.option("--hour", is_flag=True, help="Play an hour at 100 Hz instead.")
def main(framework: str, model: str, steps: int, rounds: int, *, hour: bool) -> None:
    """Print ratios of step times, shares of a core, and memory."""
    with tempfile.TemporaryDirectory() as name:
        driver = _driver(Path(name))
        if hour:
            _play_an_hour(driver, Path(name))
            return
        python = venvs.ensure(framework, "cpu", say=click.echo).python
        settings = {
            "framework": framework, "model": model, "batch": 32, "steps": steps, "epochs": 1, "infer_repeats": 0,
            "validation_steps": 1, "threads": 1, "device": "cpu",
        }  # fmt: skip
        spec = resolve(None, [f"{key}={value}" for key, value in settings.items()], profiles=ROOT / "profiles")
        costs: dict[str, list[Cost]] = defaultdict(list)
        passes = {kind: partial(_pass, python, spec, driver, samplers, costs) for kind, samplers in KINDS.items()}
        measured = ratios.interleaved(passes, rounds)
    for kind in KINDS:
        if kind != "none":
            for line in ratios.said({kind: measured[kind], "none": measured["none"]}):
                click.echo(f"{framework} {model}: {line}")
    for sampler, told in costs.items():
        core, rss, pss = (statistics.median(values) for values in zip(*told, strict=True))
        click.echo(f"{sampler}: {core:.2%} of a core, {rss:.1f} MiB resident, {pss:.1f} MiB proportional")
    together = [
        statistics.median(getattr(cost, field) for cost in told) for field in Cost._fields for told in costs.values()
    ]
    cores, rss = sum(together[: len(costs)]), sum(together[len(costs) : 2 * len(costs)])
    click.echo(f"together: {cores:.2%} of a core (target 2 %), {rss:.1f} MiB resident (target 60)")


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


def _pass(
    python: Path, spec: RunSpec, driver: Path | None, samplers: tuple[str, ...], costs: dict[str, list[Cost]]
) -> Steps:
    """Steps of one time pass beside these samplers, each started and told as supervise does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.json").write_text(spec.as_json())
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if driver:
            environment |= {"LD_LIBRARY_PATH": str(driver), "NVML_SCRIPT": drivers.scripted(folder, NOISY)}
        started = {sampler: _start(python, sampler, folder, environment) for sampler in samplers}
        command = [python, "-m", "toolkit.capture.worker", folder / "spec.json", "time", "cpu", folder]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as worker:
            before = {sampler: _begin(process, worker.pid) for sampler, process in started.items()}
            worker_process = psutil.Process(worker.pid)
            # Waited for without being reaped, so that the samplers' last figures are of the worker's time.
            os.waitid(os.P_PID, worker_process.pid, os.WEXITED | os.WNOWAIT)
            for sampler, process in started.items():
                costs[sampler].append(_cost(process, before[sampler], worker_process.create_time()))
        for process in started.values():
            process.communicate()
        return _steps(folder)


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


def _steps(folder: Path) -> Steps:
    with StoreWriter(folder) as store:
        records.read(folder / "worker.jsonl", pass_name="time", store=store)
    with connect(folder) as connection:
        row = runner.run(connection, "step_times")[0]
    return Steps(row["median_ns"] / 1e6, row["p10_ns"] / 1e6)


def _play_an_hour(driver: Path | None, folder: Path) -> None:
    """The sampler's loop in virtual time over a sensor of 20 ms, which is polled at 100 Hz."""
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
        kept, due = len(moments), round((moments[-1] - moments[0]) / 1e7) + 1
        size, memory = path.stat().st_size / MIB, int(peak[1]) / 1024 if peak else float("nan")
        click.echo(f"{seconds} s at 100 Hz: {kept} of {due} polls, {size:.1f} MiB on disk, {memory:.1f} MiB of memory")


if __name__ == "__main__":
    main()
