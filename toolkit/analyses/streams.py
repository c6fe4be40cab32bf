"""What the devices' streams waited for: their idle time by cause, and how long launches queued."""

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
from msgspec import Struct, convert

from toolkit.analyses import runner
from toolkit.analyses.host_spans import BATCH_ROWS
from toolkit.analyses.launch_columns import among, launch_starts, work_of
from toolkit.ingest.columns import Numbering
from toolkit.ingest.nesting import NONE, Ns, Places

TRACES = """
SELECT DISTINCT trace FROM slices WHERE kind IN ('kernel', 'memcpy', 'memset') AND device IS NOT NULL OR kind = 'launch'
ORDER BY trace
"""
KERNEL_LAUNCHES = """
SELECT correlation FROM slices
WHERE trace = $1 AND kind = 'launch' AND correlation IS NOT NULL AND contains(lower(name), 'kernel')
    AND regexp_matches(name, 'launch\\w*kernel', 'i')
"""


class StreamIdle(Struct, frozen=True, kw_only=True):
    """One stream of one device, as idle.sql defines it: `host_wait_ns + kernel_wait_ns + other_ns == idle_ns`."""

    trace: int
    device: str
    stream: str | None
    slices: int
    gaps: int
    span_ns: int
    idle_ns: int
    host_wait_ns: int
    kernel_wait_ns: int
    other_ns: int


class Launches(Struct, frozen=True, kw_only=True):
    """How long one device's work waited between the call that asked for it and its start, and behind how many others.

    A launch is a call to which the trace has device work; its delay ends where the first of that work starts, on each
    stream that it reaches. `early_starts` are launches whose work starts before they do, which only a wrong clock can
    say; their delay is negative. A queue is the earlier launches to the same stream whose work had not started when
    the call began. Delays and queues are NULL where there is no launch; a percentile is the least value that so many
    do not exceed.

    Calls that launch a kernel by their name but have no work in the trace, `launches_without_work`, stand in a row
    whose `device` is None, because the trace does not tell theirs; copies and sets of no bytes run nothing, so those
    are not missed. `work_without_launch` are kernels, copies and sets whose launch the trace lacks.
    """

    trace: int
    device: str | None
    launches: int = 0
    launches_without_work: int = 0
    work_without_launch: int = 0
    median_delay_ns: int | None = None
    p90_delay_ns: int | None = None
    max_delay_ns: int | None = None
    early_starts: int = 0
    median_queue: int | None = None
    max_queue: int | None = None


def stream_idle(connection: duckdb.DuckDBPyConnection) -> list[StreamIdle]:
    """One row a stream that ran anything. Asserts that the parts make up its idle time."""
    streams = [convert(row, StreamIdle) for row in runner.run(connection, "idle")]
    for stream in streams:
        if stream.host_wait_ns + stream.kernel_wait_ns + stream.other_ns != stream.idle_ns or stream.idle_ns < 0:
            raise AssertionError(f"the parts are not the idle time: {stream}")
    return streams


def launches(connection: duckdb.DuckDBPyConnection) -> list[Launches]:
    """One row a device that ran anything, and one a trace with kernel launches that have no work in it."""
    return [row for (trace,) in connection.execute(TRACES).fetchall() for row in _trace(connection, trace)]


def _trace(connection: duckdb.DuckDBPyConnection, trace: int) -> Iterator[Launches]:
    devices = Numbering[str]()
    work = work_of(connection, trace, devices)
    launched, launched_ns = launch_starts(connection, trace, work.correlation)
    call = np.where(among(launched, work.correlation), np.searchsorted(launched, work.correlation), NONE)
    order = np.lexsort((work.start_ns, call, work.stream))
    stream, start_ns, call = work.stream[order], work.start_ns[order], call[order]
    del work, order
    for device in sorted(devices):
        own = slice(*np.searchsorted(stream >> 32, (devices[device], devices[device] + 1)))
        yield Launches(trace=trace, device=device, **_figures(stream[own], start_ns[own], call[own], launched_ns))
    if without := _without_work(connection, trace, launched):
        yield Launches(trace=trace, device=None, launches_without_work=without)


def _figures(stream: Ns, start_ns: Ns, call: Places, launched_ns: Ns) -> dict[str, Any]:
    """Of one device's work, which is in order of stream, launch and start."""
    # of a launch's work on one stream, its first slice
    first = np.append(True, (np.diff(stream) != 0) | (np.diff(call) != 0)) & (call != NONE)
    alone = int(np.count_nonzero(call == NONE))
    stream, start_ns, call = stream[first], start_ns[first], call[first]
    launch_ns = launched_ns[call]
    delay_ns, queue = start_ns - launch_ns, np.empty_like(call)
    borders = [0, *(np.flatnonzero(np.diff(stream)) + 1).tolist(), len(stream)]
    for own in map(slice, borders, borders[1:]):
        queue[own] = _queue(launch_ns[own], start_ns[own])
    return {
        "launches": len(np.unique(call)),
        "work_without_launch": alone,
        "median_delay_ns": _least_of(delay_ns, 5),
        "p90_delay_ns": _least_of(delay_ns, 9),
        "max_delay_ns": _least_of(delay_ns, 10),
        "early_starts": len(np.unique(call[delay_ns < 0])),
        "median_queue": _least_of(queue, 5),
        "max_queue": _least_of(queue, 10),
    }


def _queue(launch_ns: Ns, start_ns: Ns) -> Ns:
    """For each launch to one stream, those before it whose work had not started; those of one moment do not queue."""
    # a launch leaves the queue after it came, however wrong the clock
    left_ns = np.sort(np.maximum(start_ns, launch_ns + 1))
    earlier = np.searchsorted(np.sort(launch_ns), launch_ns)
    queue: Ns = earlier - np.searchsorted(left_ns, launch_ns, side="right")
    return queue


def _least_of(values: Ns, tenths: int) -> int | None:
    """The least value that so many tenths of them do not exceed; None where there is none."""
    if not len(values):
        return None
    place = -(-len(values) * tenths // 10) - 1
    return int(np.partition(values, place)[place])


def _without_work(connection: duckdb.DuckDBPyConnection, trace: int, launched: Ns) -> int:
    """How many correlations of kernel launches are not among those that launched work, which are in order."""
    found = [np.empty(0, dtype=np.int64)]
    for batch in connection.sql(KERNEL_LAUNCHES, params=[trace]).to_arrow_reader(BATCH_ROWS):
        correlation = np.asarray(batch["correlation"])
        found.append(correlation[~among(launched, correlation)])
    return len(np.unique(np.concatenate(found)))
