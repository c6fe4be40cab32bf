"""Device time: how long each device of each trace computed, communicated, copied and idled.

busy is the union of all slices of a device; compute that of kernels which are not NCCL's or RCCL's; exposed
communication what NCCL and RCCL add to it; exposed memory traffic what copies and sets add to both. So the span is
compute + exposed communication + exposed memory traffic + idle, to the nanosecond.
"""

from itertools import accumulate, pairwise
from typing import Any

import duckdb
from msgspec import Struct, convert

from toolkit.analyses import runner
from toolkit.analyses.intervals import Union, unions_of

PARTS = {"compute_ns": "compute", "exposed_comm_ns": "communication", "exposed_memory_ns": "memory"}


class DeviceFigures(Struct, frozen=True, kw_only=True):
    """One device, in ns, and the sums of its slices' durations by category.

    A category says what a kernel does, so `communication` also holds all-reduces that are not NCCL's or RCCL's; the
    figures with `comm` in their name do not.
    """

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


class DeviceTime(DeviceFigures, frozen=True, kw_only=True):
    """One device of one trace of a store."""

    trace: int


def device_time(connection: duckdb.DuckDBPyConnection) -> list[DeviceTime]:
    """One row a device of a trace that ran anything. Asserts that the parts make up the span."""
    categories: dict[tuple[int, str], dict[str, int]] = {}
    for row in runner.run(connection, "device_categories"):
        categories.setdefault((row["trace"], row["device"]), {})[row["category"]] = row["ns"]
    times = []
    for row in runner.run(connection, "device_time"):
        parts = _parts(connection, row)
        if sum(parts.values()) != row["span_ns"] or min(parts.values()) < 0:
            raise AssertionError(f"{parts} do not make up the span of {row}")
        busy_ns = row["span_ns"] - parts["idle_ns"]
        more = {"busy_ns": busy_ns, "categories": categories[row["trace"], row["device"]]}
        times.append(convert(row | parts | more, DeviceTime))
    return times


def _parts(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> dict[str, int]:
    unions = unions_of(connection, "device_work", list(PARTS.values()), trace=row["trace"], device=row["device"])
    covered_ns = [0, *(union.ns for union in accumulate(unions, Union.with_)), row["span_ns"]]
    return dict(zip((*PARTS, "idle_ns"), (after - before for before, after in pairwise(covered_ns)), strict=True))
