"""How fast, and in how much memory, a Kineto trace becomes device figures, beside HolisticTraceAnalysis.

    .venv/toolkit/bin/python -m benchmarks.ingest ../shared/traces/kineto/v100_nccl_memory_large.pt.trace.json.gz

Tiles the trace, with distinct times and correlations, to each size in a temporary folder. Every run is a process of its
own from the compressed file to the figures, its start included; the tools take turns, and medians are printed. Beside
both stands the bare decoding of the whole file with msgspec, which gives no figures.
HolisticTraceAnalysis is installed into a virtual environment in that folder, and left out, with the reason, where it
cannot be.
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
from pathlib import Path
from typing import NamedTuple

import click

ROOT = Path(__file__).parents[1]

HTA = "HolisticTraceAnalysis==0.5.0"
MEGABYTE = 10**6
MEBIBYTE_IN_KIB = 1024
SHIFTED = re.compile(rb'"(ts|correlation|External id|external id|id)": (\d+)')
FIRST_EVENT = re.compile(rb'"traceEvents": \[')
TIMES = re.compile(rb'"ts": (\d+)')

HWPROF_RUN = """
import sys, tempfile
from pathlib import Path
from toolkit.analyses.device_time import device_time
from toolkit.ingest.formats import importer_of
from toolkit.ingest.store import StoreWriter, connect
with tempfile.TemporaryDirectory() as folder:
    with StoreWriter(Path(folder)) as store:
        importer_of(Path(sys.argv[1])).read(Path(sys.argv[1]), trace=0, pass_name=None, store=store)
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


# The peak of this process alone: what wait4 tells includes the benchmark's own memory, which the child began as.
PEAK = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


class Cost(NamedTuple):
    """What one process took."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


@click.command
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--megabytes", type=int, multiple=True, default=[200, 2000], show_default=True, help="Sizes once inflated."
)
@click.option("--repeats", default=3, show_default=True, help="Runs of each tool at each size.")
@click.option("--others-megabytes", default=400, show_default=True, help="Largest file that the others are given.")
def main(trace: Path, megabytes: Sequence[int], repeats: int, others_megabytes: int) -> None:
    """Print a table for each size, from copies of TRACE: a gzip Kineto trace in whole microseconds."""
    with tempfile.TemporaryDirectory(prefix="hwprof-benchmark-") as folder:
        own = {"hwprof": HWPROF_RUN, "msgspec decode": DECODE_RUN}
        commands = {name: [sys.executable, "-c", code + PEAK] for name, code in own.items()}
        try:
            commands[HTA] = [str(installed(Path(folder) / "venv", HTA)), "-c", HTA_RUN + PEAK]
        except subprocess.CalledProcessError as error:
            click.echo(f"{HTA} is left out: {error.stderr.strip().splitlines()[-1:]}")
        for size in megabytes:
            path = Path(folder) / f"{size}.json.gz"
            copies, inflated = tile(trace, path, size * MEGABYTE)
            packed = path.stat().st_size
            click.echo(f"\n{copies} copies, {inflated / MEGABYTE:.0f} MB, {packed / MEGABYTE:.1f} MB gzip")
            alone = size > others_megabytes
            if alone:
                click.echo(f"The others, which hold it all in memory, are left out beyond {others_megabytes} MB.")
            report(measured({"hwprof": commands["hwprof"]} if alone else commands, path, repeats))
            path.unlink()


def installed(folder: Path, package: str) -> Path:
    """The interpreter of a new virtual environment with the package; CalledProcessError where it cannot be had."""
    venv.create(folder, with_pip=True)
    interpreter = folder / "bin" / "python"
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
    """Costs of each command on the file; the commands take turns."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            costs[name].append(run([*command, str(path)]))
    return costs


def run(command: list[str]) -> Cost:
    """Runs the command to its end; raises CalledProcessError where it fails."""
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    before = os.times()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(seconds, cpu, int(done.stdout.split()[-1]) / MEBIBYTE_IN_KIB)


def report(costs: Mapping[str, list[Cost]], events: int | None = None) -> None:
    """Prints medians, and each tool's time over hwprof's; events a second too, where their number is given."""
    own = statistics.median(cost.seconds for cost in costs["hwprof"])
    click.echo(f"{'':32}{'seconds':>10}{'CPU s':>10}{'peak MiB':>10}{'times hwprof':>14}")
    for name, runs in costs.items():
        seconds, cpu, peak = (statistics.median(column) for column in zip(*runs, strict=True))
        rate = "" if events is None else f"{events / seconds:12,.0f} events/s, {events / cpu:,.0f} per CPU second"
        click.echo(f"{name:32}{seconds:10.2f}{cpu:10.2f}{peak:10.0f}{seconds / own:14.1f}{rate}")


if __name__ == "__main__":
    main()
