"""How fast, and in how much memory, an XPlane trace becomes device figures, beside the protobuf library.

    .venv/toolkit/bin/python -m benchmarks.ingest_xplane ../shared/traces/xplane/gpu_cc70_tf_bert.xplane.pb

Tiles the trace, with distinct times and correlations, to each size in a temporary folder. Every run is a process of
its own from the file to the figures, its start included; the tools take turns, and medians are printed. Beside hwprof
stands the protobuf library reading the whole file into messages and adding up durations by line: no figures.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.ingest import HWPROF_RUN, MEGABYTE, measured, median_seconds, on_cores, report, verdict
from toolkit.ingest.xplane_schema import message_class, parse

CORRELATION = "correlation_id"
PAUSE_PS = 10**6
LEAST_EVENTS = 500_000

PROTOBUF_RUN = """
import sys
from toolkit.ingest.xplane_schema import parse
lines = [
    parse("XEvents", line)
    for plane in parse("XSpace", open(sys.argv[1], "rb").read()).planes
    for line in parse("XPlane", plane).lines
]
print([sum(event.duration_ps for event in line.events) for line in lines])
"""


@click.command
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--megabytes", type=int, multiple=True, default=[64, 200], show_default=True, help="Sizes of the files.")
@click.option("--repeats", default=3, show_default=True, help="Runs of each tool at each size.")
def main(trace: Path, megabytes: Sequence[int], repeats: int) -> None:
    """Print a table for each size, from copies of TRACE's events."""
    runs = {"hwprof": HWPROF_RUN, "protobuf messages": PROTOBUF_RUN}
    commands = on_cores({name: [sys.executable, "-c", code] for name, code in runs.items()}, [1])
    with tempfile.TemporaryDirectory(prefix="hwprof-benchmark-") as folder:
        for size in megabytes:
            path = Path(folder) / f"{size}.xplane.pb"
            copies, events = tile(trace, path, size * MEGABYTE)
            click.echo(f"\n{copies} copies, {path.stat().st_size / MEGABYTE:.0f} MB, {events} events")
            costs = measured(commands, path, repeats)
            report(costs, events)
            rate = events / median_seconds(next(iter(costs.values())))
            verdict(f"{LEAST_EVENTS:,} events a second", rate, LEAST_EVENTS)
            path.unlink()


def tile(trace: Path, to: Path, size: int) -> tuple[int, int]:
    """Writes the trace with as many copies of its events as make `size` bytes or more; (copies, events)."""
    space = parse("XSpace", trace.read_bytes())
    planes = [parse("XPlane", plane) for plane in space.planes]
    lines = [line for plane in planes for line in plane.lines]
    copies = 1 + max(0, -(-(size - trace.stat().st_size) // sum(map(len, lines))))
    step_ps = PAUSE_PS + max(e.offset_ps + e.duration_ps for line in lines for e in _events(line).events)
    ids = 1 + max((stat.uint64_value for plane in planes for stat in _correlations(plane)), default=0)
    for plane in planes:
        tiled = [line + b"".join(_copies(line, copies, step_ps, ids, _correlation_id(plane))) for line in plane.lines]
        del plane.lines[:]
        plane.lines.extend(tiled)
    del space.planes[:]
    space.planes.extend(plane.SerializeToString() for plane in planes)
    to.write_bytes(space.SerializeToString())
    return copies, copies * sum(len(_events(line).events) for line in lines)


def _copies(line: bytes, copies: int, step_ps: int, ids: int, correlation: int | None) -> Iterator[bytes]:
    """The line's events once more and once more, as the rest of a line: messages that are appended are merged."""
    content = _events(line)
    stats = [stat for event in content.events for stat in event.stats if stat.metadata_id == correlation]
    for _ in range(1, copies):
        for event in content.events:
            event.offset_ps += step_ps
        for stat in stats:
            stat.uint64_value += ids
        serialized: bytes = content.SerializeToString()
        yield serialized


def _events(line: bytes) -> Any:
    return message_class("XEvents")(events=[parse("XEvent", event) for event in parse("XLine", line).events])


def _correlation_id(plane: Any) -> int | None:
    return next((entry.key for entry in plane.stat_metadata if entry.value.name == CORRELATION), None)


def _correlations(plane: Any) -> Iterator[Any]:
    wanted = _correlation_id(plane)
    for line in plane.lines:
        for event in _events(line).events:
            yield from (stat for stat in event.stats if stat.metadata_id == wanted)


if __name__ == "__main__":
    main()
