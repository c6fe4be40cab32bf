"""Device time: how long each device of each trace computed, communicated, copied and idled."""

import duckdb
from msgspec import Struct, convert

from toolkit.analyses import runner


class DeviceTime(Struct, frozen=True, kw_only=True):
    """One device of one trace, in ns, as device_time.sql defines it, and the sums of durations by category.

    A category says what a kernel does, so `communication` also holds all-reduces that are not NCCL's or RCCL's; the
    figures with `comm` in their name do not.
    """

    trace: int
    device: str
    kernels: int
    comm_kernels: int
    memcpys: int
    memsets: int
    kernel_sum_ns: int
    span_ns: int
    busy_ns: int
    idle_ns: int
    compute_ns: int
    exposed_comm_ns: int
    exposed_memory_ns: int
    categories: dict[str, int]


def device_time(connection: duckdb.DuckDBPyConnection) -> list[DeviceTime]:
    """One row a device of a trace that ran anything. Asserts that the parts make up the span."""
    categories: dict[tuple[int, str], dict[str, int]] = {}
    for row in runner.run(connection, "device_categories"):
        categories.setdefault((row["trace"], row["device"]), {})[row["category"]] = row["ns"]
    times = [
        convert(row | {"categories": categories[row["trace"], row["device"]]}, DeviceTime)
        for row in runner.run(connection, "device_time")
    ]
    for time in times:
        parts = time.compute_ns + time.exposed_comm_ns + time.exposed_memory_ns + time.idle_ns
        if parts != time.span_ns or time.idle_ns < 0:
            raise AssertionError(f"{parts} ns of parts are not the span: {time}")
    return times
