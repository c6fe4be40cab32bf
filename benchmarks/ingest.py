"""How fast, and in how much memory, a Kineto trace becomes device figures, beside HolisticTraceAnalysis.

    .venv/toolkit/bin/python -m benchmarks.ingest ../shared/traces/kineto/v100_nccl_memory_large.pt.trace.json.gz

Tiles the trace, with distinct times and correlations, to each size in a temporary folder. Every run is a process of its
own from the compressed file to the figures, its start included; the tools take turns, and medians are printed, then how
they stand to what is to be reached. Each runs on one core and, where there are two, on two. Beside both stands the bare
decoding of the whole file with msgspec, which gives no figures. Memory is that of a process and all that it starts, in
a run of its own: who looks at it every 20 ms takes a good part of the second core.
HolisticTraceAnalysis is installed into a virtual environment, and left out, with the reason, where it cannot be.
"""

import gzip
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
import psutil

ROOT = Path(__file__).parents[1]

HTA = "HolisticTraceAnalysis==0.5.0"
MEGABYTE = 10**6
SHIFTED = re.compile(rb'"(ts|correlation|External id|external id|id)": (\d+)')
FIRST_EVENT = re.compile(rb'"traceEvents": \[')
TIMES = re.compile(rb'"ts": (\d+)')

HWPROF_RUN = """
import sys, tempfile
from pathlib import Path
from toolkit.ingest.formats import importer_of
from toolkit.ingest.store import StoreWriter, connect
with tempfile.TemporaryDirectory() as folder:
    with StoreWriter(Path(folder)) as store:
        importer_of(Path(sys.argv[1])).read(Path(sys.argv[1]), trace=0, pass_name=None, store=store)
    from toolkit.analyses.device_time import device_time
    with connect(Path(folder)) as connection:
        print(*((time.device, time.kernels, time.kernel_sum_ns) for time in device_time(connection)))
"""
DECODE_RUN = """
import gzip, sys, msgspec
from toolkit.ingest.kineto_events import FlowEnd, FlowStart, Instant, Naming, Span
class Document(msgspec.Struct):
    traceEvents: list[Span[int] | Instant[int] | FlowStart | FlowEnd | Naming]
with gzip.open(sys.argv[1]) as file:
    print(len(msgspec.json.decode(file.read(), type=Document).traceEvents))
"""
HTA_RUN = """
import sys
from hta.trace_analysis import TraceAnalysis
print(TraceAnalysis(trace_files={0: sys.argv[1]}).get_temporal_breakdown(visualize=False).to_string())
"""

# How often memory is looked at, and what is to be reached: how many times as fast as the other by cores, memory at any
# size, and how much more time a byte may take at the largest size than at the smallest.
LOOK_SECONDS = 0.02
TIMES_FASTER = {1: 10, 2: 16}
MOST_MEGABYTES, MOST_MORE_TIME = 300, 0.2


class Cost(NamedTuple):
    """What one process took, with those that it started: the most memory that they held at once."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@click.command
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--megabytes", type=int, multiple=True, default=[200, 2000], show_default=True, help="Sizes once inflated."
)
@click.option("--repeats", default=3, show_default=True, help="Runs of each tool at each size.")
@click.option("--others-megabytes", default=400, show_default=True, help="Largest file that the others are given.")
@click.option("--environment", type=click.Path(path_type=Path), help=f"Where {HTA} is, or is put; else for this once.")
def main(trace: Path, megabytes: Sequence[int], repeats: int, others_megabytes: int, environment: Path | None) -> None:
    """Print a table for each size, from copies of TRACE: a gzip Kineto trace in whole microseconds."""
    cores = [1, 2] if len(os.sched_getaffinity(0)) > 1 else [1]
    own_seconds: dict[int, list[tuple[int, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="hwprof-benchmark-") as folder:
        commands = {"hwprof": [sys.executable, "-c", HWPROF_RUN], "msgspec decode": [sys.executable, "-c", DECODE_RUN]}
        try:
            commands[HTA] = [str(installed(environment or Path(folder) / "venv", HTA)), "-c", HTA_RUN]
        except subprocess.CalledProcessError as error:
            click.echo(f"{HTA} is left out: {error.stderr.strip().splitlines()[-1:]}")
        for size in megabytes:
            path = Path(folder) / f"{size}.json.gz"
            copies, inflated = tile(trace, path, size * MEGABYTE)
            click.echo(f"\n{copies} copies, {inflated / MEGABYTE:.0f} MB, {path.stat().st_size / MEGABYTE:.1f} MB gzip")
            alone = size > others_megabytes
            if alone:
                click.echo(f"The others, which hold it all in memory, are left out beyond {others_megabytes} MB.")
            runs = on_cores({"hwprof": commands["hwprof"]} if alone else commands, cores)
            costs = measured(runs, path, repeats)
            report(costs)
            reached(costs)
            for count in cores:
                own_seconds.setdefault(count, []).append((inflated, median_seconds(costs[named("hwprof", count)])))
            path.unlink()
    for count, seconds in own_seconds.items():
        if len(seconds) > 1:
            grows_linearly(seconds, count)


def on_cores(commands: Mapping[str, list[str]], cores: Sequence[int]) -> dict[str, list[str]]:
    """Each command on each number of cores."""
    usable = sorted(os.sched_getaffinity(0))
    return {
        named(name, count): ["taskset", "-c", ",".join(map(str, usable[-count:])), *command]
        for name, command in commands.items()
        for count in cores
    }


def named(name: str, cores: int) -> str:
    """A tool on so many cores."""
    return f"{name}, {cores} core" + "s" * (cores > 1)


def reached(costs: Mapping[str, list[Cost]]) -> None:
    """Prints how hwprof stands to what is to be reached at a size."""
    for cores, wanted in TIMES_FASTER.items():
        own, others = costs.get(named("hwprof", cores)), costs.get(named(HTA, 1))
        if own and others:
            verdict(
                f"{wanted} times as fast as {HTA} on one core, by {cores}",
                median_seconds(others) / median_seconds(own),
                wanted,
            )
        if own:
            verdict(f"{MOST_MEGABYTES} MB at most, by {cores}", max(cost.peak_mb for cost in own), -MOST_MEGABYTES)


def grows_linearly(seconds: Sequence[tuple[int, float]], cores: int) -> None:
    """Prints whether a byte takes as long in the largest file as in the smallest."""
    (small, of_small), (large, of_large) = min(seconds), max(seconds)
    ratio = (of_large / large) / (of_small / small)
    verdict(f"time a byte grows by {MOST_MORE_TIME:.0%} at most, by {cores}", ratio, -(1 + MOST_MORE_TIME))


def verdict(what: str, found: float, wanted: float) -> None:
    """Prints a line: at least `wanted`, or at most, where that is negative."""
    held = found >= wanted if wanted > 0 else found <= -wanted
    click.echo(f"{'reached' if held else 'NOT reached'}: {what}: {found:.2f}")


def median_seconds(runs: Sequence[Cost]) -> float:
    """The median of their times."""
    return statistics.median(cost.seconds for cost in runs)


def installed(folder: Path, package: str) -> Path:
    """The interpreter of a virtual environment with the package; CalledProcessError where it cannot be had."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([interpreter, "-m", "pip", "install", "-q", package], check=True, capture_output=True, text=True)
    return interpreter


def tile(trace: Path, to: Path, size: int) -> tuple[int, int]:
    """Writes the trace's events again and again, moved in time and ids, until `size` bytes; (copies, bytes)."""
    text = gzip.decompress(trace.read_bytes())
    opening = FIRST_EVENT.search(text)
    if not opening:
        raise SystemExit(f"{trace} has no traceEvents")
    start, end = opening.end(), text.rindex(b"\n  ]")
    copies, written = max(1, round(size / (end - start))), start + len(text) - end
    with gzip.open(to, "wb", compresslevel=6) as file:
        file.write(text[:start])
        for number, events in enumerate(shifted(text[start:end], copies)):
            written += file.write(events if number == 0 else b"," + events)
        file.write(text[end:])
    return copies, written


def shifted(events: bytes, copies: int) -> Iterator[bytes]:
    """Copies of the events, each after the one before it, with ids of its own."""
    times = [int(found) for found in TIMES.findall(events)]
    ids = max(int(value) for name, value in SHIFTED.findall(events) if name != b"ts") + 1
    steps = {b"ts": max(times) - min(times) + 10**6}
    for number in range(copies):

        def moved(found: re.Match[bytes], number: int = number) -> bytes:
            return b'"%s": %d' % (found[1], int(found[2]) + number * steps.get(found[1], ids))

        yield SHIFTED.sub(moved, events)


def measured(commands: Mapping[str, list[str]], path: Path, repeats: int) -> dict[str, list[Cost]]:
    """Costs of each command on the file; the commands take turns. Memory is looked at in one more run of each."""
    runs = {name: [*command, str(path)] for name, command in commands.items()}
    peaks = {name: peak_mb(run) for name, run in runs.items()}
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, run in runs.items():
            costs[name].append(timed(run, peaks[name]))
    return costs


def timed(command: list[str], peak: float) -> Cost:
    """Runs the command to its end; raises CalledProcessError where it fails."""
    start, before = time.perf_counter(), os.times()
    with started(command) as process:
        ended(process)
    seconds, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(seconds, cpu, peak)


def peak_mb(command: list[str]) -> float:
    """The most memory that the command takes; raises CalledProcessError where it fails."""
    with started(command) as process, ThreadPoolExecutor(max_workers=1) as pool:
        peak = pool.submit(most_memory, psutil.Process(process.pid))
        ended(process)
    return peak.result() / MEGABYTE


def started(command: list[str]) -> "subprocess.Popen[bytes]":
    """The command, which has begun."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def ended(process: "subprocess.Popen[bytes]") -> None:
    """Waits for its end; raises CalledProcessError where it failed."""
    _, problems = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, stderr=problems)


def most_memory(process: psutil.Process) -> int:
    """The most bytes resident in the process and all that it starts, as long as it runs; shared ones count in each."""
    most = 0
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            most = max(most, sum(resident(one) for one in (process, *process.children(recursive=True))))
            time.sleep(LOOK_SECONDS)
    return most


def resident(process: psutil.Process) -> int:
    """Its bytes in memory now; none of one that has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def report(costs: Mapping[str, list[Cost]], events: int | None = None) -> None:
    """Prints medians, and each tool's time over that of the first; events a second too, where their number is given."""
    own = median_seconds(next(iter(costs.values())))
    click.echo(f"{'':40}{'seconds':>10}{'CPU s':>10}{'peak MB':>10}{'times the first':>18}")
    for name, runs in costs.items():
        seconds, cpu, peak = (statistics.median(column) for column in zip(*runs, strict=True))
        rate = "" if events is None else f"{events / seconds:12,.0f} events/s, {events / cpu:,.0f} per CPU second"
        click.echo(f"{name:40}{seconds:10.2f}{cpu:10.2f}{peak:10.0f}{seconds / own:18.1f}{rate}")


if __name__ == "__main__":
    main()
