"""Memory over time: what each allocator had in use and reserved, and what it held when most was in use."""

from collections import Counter, defaultdict
from typing import Any

import duckdb
from msgspec import Struct, convert

from toolkit.analyses import runner

TOP_HOLDERS = 20
RELATIVE = "relative"
BREAKDOWNS = ("module", "phase", "step")

Series = tuple[int, str | None, str | None]


class MemoryPoint(Struct, frozen=True, kw_only=True):
    """What was in use and reserved after the allocator's `event`; `event` 0 is before the first."""

    event: int
    ts_ns: int | None
    in_use_bytes: int | None
    reserved_bytes: int | None


class MemoryHolder(Struct, frozen=True, kw_only=True):
    """Blocks that one operator or Python frame had asked for, or of one module, phase or step, by memory_at_peak.sql.

    `asked_by` is that name, null where the trace does not tell it. `seen` is false for what was allocated before the
    trace's first event; `blocks` is None where only a sum is known.
    """

    asked_by: str | None
    seen: bool
    blocks: int | None
    bytes: int


class MemoryBreakdown(Struct, frozen=True, kw_only=True):
    """What was held at the peak, by `by`: module, phase or step. Parts, most bytes first, and the rest are the peak."""

    by: str
    parts: list[MemoryHolder]
    others_bytes: int


class MemorySeries(Struct, frozen=True, kw_only=True):
    """One allocator over time, thinned as memory_series.sql says: `points` of `events`, the extremes among them.

    `basis` says what `in_use_bytes` counts from. `at_peak`, most bytes first, and `at_peak_others_bytes` sum to the
    peak's `in_use_bytes` exactly, unless the basis is relative; `at_peak` is empty where the trace does not tell, or
    lacks frees. `at_peak_by` has the same bytes by module, phase and step, as far as any of them are told.
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
    at_peak_by: list[MemoryBreakdown]


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
    operators = _breakdown(held, "asked_by")
    return MemorySeries(
        trace=first["trace"],
        device=first["device"],
        allocator=first["allocator"],
        basis=first["basis"],
        events=first["events"],
        peak=convert(peak, MemoryPoint | None),
        points=convert(points, list[MemoryPoint]),
        at_peak=operators.parts,
        at_peak_others_bytes=operators.others_bytes,
        at_peak_by=[_breakdown(held, by) for by in BREAKDOWNS if any(row[by] is not None for row in held)],
    )


def _breakdown(held: list[dict[str, Any]], by: str) -> MemoryBreakdown:
    """What was held, summed by the column `by`; blocks are None where one of the sums has none."""
    blocks: defaultdict[tuple[str | None, bool], list[int | None]] = defaultdict(list)
    sums: Counter[tuple[str | None, bool]] = Counter()
    for row in held:
        key = row[by], row["seen"]
        blocks[key].append(row["blocks"])
        sums[key] += row["bytes"]
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0][0] is None, item[0][0] or "", item[0][1]))
    parts = [
        MemoryHolder(asked_by=name, seen=seen, blocks=_sum(blocks[name, seen]), bytes=size)
        for (name, seen), size in ranked[:TOP_HOLDERS]
    ]
    return MemoryBreakdown(by=by, parts=parts, others_bytes=sum(size for _, size in ranked[TOP_HOLDERS:]))


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _key(row: dict[str, Any]) -> Series:
    return row["trace"], row["device"], row["allocator"]
