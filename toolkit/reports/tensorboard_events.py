"""One run's scalars and text as TensorBoard's event files, written with TensorBoard's own protos; no TensorFlow.

Losses, accuracies, steps and requests stand at their epoch or number, readings of the samplers at milliseconds since
their pass began; the wall time of each is its own.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec

# TensorBoard ships no type information, hence the four exceptions
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.plugins.scalar.summary_v2 import scalar_pb  # type: ignore[import-untyped]
from tensorboard.plugins.text.summary_v2 import text_pb  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from toolkit.capture import runs
from toolkit.clock import NS_PER_S
from toolkit.errors import FAILED, HwprofError
from toolkit.ingest.store import connect
from toolkit.own_spec import timed_pass
from toolkit.reports.tensorboard_hparams import results, session
from toolkit.reports.tensorboard_text import text

FILE = "events.out.tfevents.hwprof"
# What readers of event files expect to find in the first event.
FILE_VERSION = "brain.Event:2"
NS_PER_MS = 1_000_000
# In one chart of a sampler's; TensorBoard itself shows no more points than its window has pixels.
MOST_READINGS = 5_000

# Name in the store -> (tag, what it is).
SCALARS = {
    "train_loss": ("loss/train", "Mean training loss of a sample, by epoch."),
    "validation_loss": ("loss/validation", "Mean validation loss of a sample, by epoch."),
    "validation_accuracy": ("accuracy/validation", "Share of validation samples classified right, by epoch."),
    "accuracy_before": ("accuracy/before_training", "Share of validation samples classified right before training."),
    "accuracy_after": ("accuracy/after_training", "Share of validation samples classified right after training."),
}
# Unit in the store -> (unit in the tag, what one of it is in that).
UNITS = {
    "mW": ("w", 1e-3),
    "mJ": ("j", 1e-3),
    "B": ("bytes", 1),
    "%": ("percent", 1),
    "MHz": ("mhz", 1),
    "degC": ("celsius", 1),
}


class Point(NamedTuple):
    """One value of one chart: when it was, where it stands on the step axis, and what the chart shows."""

    tag: str
    ts_ns: int
    step: int
    value: float
    doc: str


def write(run: Path, folder: Path) -> None:
    """Writes event files: the time pass and the text into `folder`, the profile pass, if any, into its `profile`.

    Raises HwprofError naming the run where its tables or JSON files cannot be read.
    """
    try:
        with connect(run) as store:
            timed, profiled = points(store, timed_pass(runs.spec_of(run))), points(store, "profile")
        summary = text_pb("about", text(run))
    except (duckdb.Error, msgspec.MsgspecError, ValueError, KeyError) as error:
        raise HwprofError(
            f"{run} cannot be read: {error}.", remedy="Remove it, or name the runs to show.", exit_code=FAILED
        ) from error
    at_ns = min((point.ts_ns for point in timed), default=(run / runs.SPEC).stat().st_mtime_ns)
    begun = _seconds(at_ns)
    told = [Event(wall_time=begun, summary=each) for each in (summary, session(run, begun))]
    came_to = [Point(tag, at_ns, 0, value, f"The run's {doc}.") for tag, value, doc in results(run)]
    _write(folder, [*told, *_events([*timed, *came_to])])
    if profiled:
        _write(folder / "profile", _events(profiled))


def points(store: duckdb.DuckDBPyConnection, pass_name: str) -> list[Point]:
    """Every point of one pass, chart by chart in the order of time."""
    return [point for series in (_scalars, _steps, _requests, _readings) for point in series(store, pass_name)]


def _scalars(store: duckdb.DuckDBPyConnection, pass_name: str) -> Iterator[Point]:
    query = "SELECT name, ts_ns, epoch, value FROM scalars WHERE pass_name = ? ORDER BY ts_ns"
    for name, ts_ns, epoch, value in store.execute(query, [pass_name]).fetchall():
        tag, doc = SCALARS.get(name, (f"scalars/{name}", "As the worker reported it, by epoch."))
        yield Point(tag, ts_ns, epoch, value, doc)


def _steps(store: duckdb.DuckDBPyConnection, pass_name: str) -> Iterator[Point]:
    query = "SELECT ts_ns, dur_ns FROM marks WHERE pass_name = ? AND kind = 'step' AND complete ORDER BY ts_ns"
    doc = "Duration of a training step on the host, milliseconds. One that compiled or traced a graph stands out."
    for number, (ts_ns, dur_ns) in enumerate(store.execute(query, [pass_name]).fetchall(), 1):
        yield Point("step_time_ms", ts_ns, number, dur_ns / NS_PER_MS, doc)


def _requests(store: duckdb.DuckDBPyConnection, pass_name: str) -> Iterator[Point]:
    query = """
        SELECT name, ts_ns, step, dur_ns FROM marks
        WHERE pass_name = ? AND kind = 'request' AND complete ORDER BY ts_ns
    """
    doc = "Duration of an inference request, host memory to host memory, milliseconds."
    for batch, ts_ns, number, dur_ns in store.execute(query, [pass_name]).fetchall():
        yield Point(f"inference_ms/batch_{batch}", ts_ns, number, dur_ns / NS_PER_MS, doc)


def _readings(store: duckdb.DuckDBPyConnection, pass_name: str) -> Iterator[Point]:
    """Of more than MOST_READINGS in a chart, every second, third or n-th."""
    query = """
        SELECT source, device, metric, unit, ts_ns, value, ts_ns - (
            SELECT min(ts_ns) FROM (FROM marks SELECT pass_name, ts_ns UNION ALL FROM counters SELECT pass_name, ts_ns)
            WHERE pass_name = $1
        ) FROM counters WHERE pass_name = $1
        QUALIFY row_number() OVER (PARTITION BY source, device, metric ORDER BY ts_ns)
            % ceil(count(*) OVER (PARTITION BY source, device, metric) / $2) = 0
        ORDER BY ts_ns, source, device, metric
    """
    rows = store.execute(query, [pass_name, MOST_READINGS]).fetchall()
    for source, device, metric, unit, ts_ns, value, since_ns in rows:
        shown, factor = UNITS.get(unit, (unit, 1))
        group = {"host": "host/", "nvml": f"gpu{device}/"}.get(source, f"{source}/device{device}_")
        doc = f"Reading of {source}. The step axis is milliseconds since the {pass_name} pass began."
        yield Point(f"{group}{metric}_{shown}", ts_ns, since_ns // NS_PER_MS, value * factor, doc)


def _events(series: Iterable[Point]) -> Iterator[Event]:
    """An event a point; TensorBoard takes a chart's description from its first."""
    described = set()
    for point in series:
        summary = scalar_pb(point.tag, point.value, point.doc)
        if point.tag in described:
            summary.value[0].ClearField("metadata")
        described.add(point.tag)
        yield Event(wall_time=_seconds(point.ts_ns), step=point.step, summary=summary)


def _write(folder: Path, events: Iterable[Event]) -> None:
    """One event file, as TensorBoard's EventFileWriter would fill it, but with a name and a time that do not change."""
    folder.mkdir(exist_ok=True)
    events = list(events)
    with (folder / FILE).open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=events[0].wall_time, file_version=FILE_VERSION).SerializeToString())
        for event in events:
            writer.write(event.SerializeToString())


def _seconds(ts_ns: int) -> float:
    """The format has a binary float here, which holds today's time to 256 ns; it serves to place points on a chart."""
    return ts_ns / NS_PER_S
