"""What the devices' streams waited for: their idle time by cause, and how long launches queued."""

import duckdb
from msgspec import Struct, convert

from toolkit.analyses import runner


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
    """The launches of one device's work, as launches.sql defines them; `device` is None for those without work."""

    trace: int
    device: str | None
    launches: int
    launches_without_work: int
    work_without_launch: int
    median_delay_ns: int | None
    p90_delay_ns: int | None
    max_delay_ns: int | None
    early_starts: int
    median_queue: int | None
    max_queue: int | None


def stream_idle(connection: duckdb.DuckDBPyConnection) -> list[StreamIdle]:
    """One row a stream that ran anything. Asserts that the parts make up its idle time."""
    streams = [convert(row, StreamIdle) for row in runner.run(connection, "idle")]
    for stream in streams:
        if stream.host_wait_ns + stream.kernel_wait_ns + stream.other_ns != stream.idle_ns or stream.idle_ns < 0:
            raise AssertionError(f"the parts are not the idle time: {stream}")
    return streams


def launches(connection: duckdb.DuckDBPyConnection) -> list[Launches]:
    """One row a device that ran anything, and one a trace with kernel launches that have no work in it."""
    return [convert(row, Launches) for row in runner.run(connection, "launches")]
