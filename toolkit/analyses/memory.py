"""Memory over time: what each allocator had in use and reserved, and what it held when most was in use."""

from collections import defaultdict
from typing import Any

import duckdb
from msgspec import Struct, convert

from toolkit.analyses import runner

TOP_HOLDERS = 20
RELATIVE = "relative"

Series = tuple[int, str | None, str | None]


class MemoryPoint(Struct, frozen=True, kw_only=True):
    """What was in use and reserved after the allocator's `event`; `event` 0 is before the first."""

    event: int
    ts_ns: int | None
    in_use_bytes: int | None
    reserved_bytes: int | None


class MemoryHolder(Struct, frozen=True, kw_only=True):
    """Blocks that one operator or Python frame had asked for, as memory_at_peak.sql defines them.

    `seen` is false for what was allocated before the trace's first event; `blocks` is None where only a sum is known.
    """

    asked_by: str | None
    seen: bool
    blocks: int | None
    bytes: int


class MemorySeries(Struct, frozen=True, kw_only=True):
    """One allocator over time, thinned as memory_series.sql says: `points` of `events`, the extremes among them.

    `basis` says what `in_use_bytes` counts from. `at_peak`, most bytes first, and `at_peak_others_bytes` sum to the
    peak's `in_use_bytes` exactly, unless the basis is relative; `at_peak` is empty where the trace does not tell, or
    lacks frees.
    """

    trace: int
    device: str | None
    allocator: str | None
    basis: str
    events: int
    peak: MemoryPoint | None
    points: list[MemoryPoint]
    at_peak: list[MemoryHolder]
    at_peak_others_bytes: int


def memory_series(connection: duckdb.DuckDBPyConnection) -> list[MemorySeries]:
    """Each allocator of each trace. Asserts that what it held at its peak sums to what was in use."""
    held: defaultdict[Series, list[dict[str, Any]]] = defaultdict(list)
    for row in runner.run(connection, "memory_at_peak"):
        held[_key(row)].append(row)
    rows: defaultdict[Series, list[dict[str, Any]]] = defaultdict(list)
    for row in runner.run(connection, "memory_series"):
        rows[_key(row)].append(row)
    return [_series(points, held[key]) for key, points in rows.items()]


def _series(points: list[dict[str, Any]], held: list[dict[str, Any]]) -> MemorySeries:
    first = points[0]
    peak = next((row for row in points if row["is_peak"]), None)
    if any(row["bytes"] < 0 for row in held):
        held = []  # the trace lacks frees: more blocks are held than bytes in use
    elif held and first["basis"] != RELATIVE and peak and sum(row["bytes"] for row in held) != peak["in_use_bytes"]:
        raise AssertionError(f"blocks held do not sum to the peak {peak}")
    return MemorySeries(
        trace=first["trace"],
        device=first["device"],
        allocator=first["allocator"],
        basis=first["basis"],
        events=first["events"],
        peak=convert(peak, MemoryPoint | None),
        points=convert(points, list[MemoryPoint]),
        at_peak=convert(held[:TOP_HOLDERS], list[MemoryHolder]),
        at_peak_others_bytes=sum(row["bytes"] for row in held[TOP_HOLDERS:]),
    )


def _key(row: dict[str, Any]) -> Series:
    return row["trace"], row["device"], row["allocator"]
