"""Everything that a store holds of time, as tracks: marks, device work, threads, Python, counters and allocators.

A run is a track of its own, below it each pass (of a trace that hwprof did not make, the trace), below that what was
going on, from the loop's marks to the allocator. Launches and what they asked for are joined by flows.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple

import duckdb

from toolkit.ingest import store
from toolkit.reports.perfetto import Event, TraceWriter, nested

BATCH_ROWS = 1 << 13
MOST_FLOWS = 2**64

# What a pass holds. Each gives track, ts_ns, dur_ns, name, category, flow, and figures.
MARKS = """
SELECT 'marks' AS track, ts_ns, dur_ns,
    concat_ws(' ', CASE WHEN kind IN ('phase', 'sync') THEN NULL ELSE kind END,
        CASE WHEN kind = 'epoch' THEN epoch::VARCHAR WHEN kind = 'step' THEN step::VARCHAR ELSE name END) AS name,
    kind AS category, NULL::BIGINT AS flow, NULL::BIGINT AS bytes, NULL AS op, NULL AS module
FROM marks WHERE pass_name IS NOT DISTINCT FROM $pass AND dur_ns IS NOT NULL ORDER BY ts_ns, dur_ns DESC, id
"""
DEVICES = """
SELECT concat('GPU ', device, ', stream ', stream) AS track, ts_ns, dur_ns, name, category, correlation AS flow,
    bytes, op, module
FROM slices WHERE pass_name IS NOT DISTINCT FROM $pass AND device IS NOT NULL
ORDER BY device, stream, track, ts_ns, dur_ns DESC
"""
THREADS = """
SELECT concat('thread ', thread) AS track, ts_ns, dur_ns, name, coalesce(category, kind) AS category,
    CASE WHEN kind = 'launch' THEN correlation END AS flow, bytes, op, module
FROM slices WHERE pass_name IS NOT DISTINCT FROM $pass AND device IS NULL
ORDER BY thread, track, ts_ns, dur_ns DESC
"""
STACKS = """
SELECT concat('py-spy, thread ', thread) AS track, ts_ns, dur_ns, frame AS name, NULL AS category, NULL::BIGINT AS flow,
    NULL::BIGINT AS bytes, NULL AS op, NULL AS module
FROM stacks WHERE pass_name IS NOT DISTINCT FROM $pass AND ts_ns IS NOT NULL
    AND ($pass IS NULL OR trace IN (SELECT trace FROM warnings WHERE code = 'stacks_placed'))
ORDER BY thread, track, ts_ns, depth
"""
# Each gives track, unit, ts_ns and value.
COUNTERS = """
SELECT concat_ws(' ', source, device, metric) AS track, coalesce(unit, '') AS unit, ts_ns, value
FROM counters WHERE pass_name IS NOT DISTINCT FROM $pass AND value IS NOT NULL ORDER BY track, unit, ts_ns
"""
ALLOCATORS = """
SELECT concat('allocator ', concat_ws(' ', allocator, device), ', ', what) AS track, 'B' AS unit, ts_ns, bytes AS value
FROM (
    SELECT trace, device, allocator, ts_ns, unnest(['in use', 'reserved']) AS what,
        unnest([in_use_bytes, reserved_bytes]) AS bytes
    FROM allocations WHERE pass_name IS NOT DISTINCT FROM $pass
) WHERE bytes IS NOT NULL ORDER BY track, ts_ns
"""
GROUPS = {
    "": MARKS,
    "devices": DEVICES,
    "counters": COUNTERS,
    "allocators": ALLOCATORS,
    "threads": THREADS,
    "Python stacks": STACKS,
}
PASSES = """
SELECT pass_name FROM (
    SELECT DISTINCT pass_name FROM marks UNION SELECT DISTINCT pass_name FROM slices
    UNION SELECT DISTINCT pass_name FROM counters UNION SELECT DISTINCT pass_name FROM allocations
    UNION SELECT DISTINCT pass_name FROM stacks
) ORDER BY pass_name = 'profile', pass_name
"""
EXTENT = """
SELECT min(first_ns), max(last_ns) FROM (
    SELECT min(ts_ns) AS first_ns, max(ts_ns + coalesce(dur_ns, 0)) AS last_ns FROM marks
    UNION ALL SELECT min(ts_ns), max(ts_ns + coalesce(dur_ns, 0)) FROM slices
    UNION ALL SELECT min(ts_ns), max(ts_ns) FROM counters
    UNION ALL SELECT min(ts_ns), max(ts_ns) FROM allocations
    UNION ALL SELECT min(ts_ns), max(ts_ns) FROM stacks WHERE ts_ns IS NOT NULL
)
"""
FLOWS = "SELECT min(correlation), max(correlation) FROM slices"


class Extent(NamedTuple):
    """From the first moment of a store to its last, ns; None of one that holds no moments."""

    first_ns: int | None
    last_ns: int | None


def extent(folder: Path) -> Extent:
    """When what a store holds was."""
    with store.connect(folder) as connection:
        return Extent(*_rows(connection, EXTENT).__next__())


def write(stores: Mapping[str, Path], shifts_ns: Mapping[str, int], first_ns: int, file: IO[bytes]) -> None:
    """The stores of runs and traces, by name, as one trace that begins at first_ns; each is moved by its shift."""
    writer = TraceWriter(file, first_ns)
    flows = 0
    for name, folder in stores.items():
        with store.connect(folder) as connection:
            least, most = next(_rows(connection, FLOWS))
            # Each store's correlations, which may be any numbers, get numbers of their own.
            one = _Store(connection, writer, shifts_ns[name], flows - (least or 0))
            flows += (most or 0) - (least or 0) + 1
            root = writer.track(name)
            for (pass_name,) in _rows(connection, PASSES):
                one.write(pass_name, writer.track(f"{pass_name} pass", root) if pass_name else root)


class _Store(NamedTuple):
    """One store on its way into the trace."""

    connection: duckdb.DuckDBPyConnection
    writer: TraceWriter
    shift_ns: int
    flow: int

    def write(self, pass_name: str | None, parent: int) -> None:
        for group, query in GROUPS.items():
            rows = _rows(self.connection.cursor(), query, {"pass": pass_name})
            below: int | None = None if group else parent
            for track, members in groupby(rows, key=lambda row: row[0]):
                below = below or self.writer.track(group, parent)
                if query in (COUNTERS, ALLOCATORS):
                    self._counters(track, below, members)
                else:
                    nested(self.writer, track, below, map(self._slice, members))

    def _slice(self, row: tuple[Any, ...]) -> tuple[int, int | None, Event]:
        _, ts_ns, dur_ns, name, category, correlation, size, op, module = row
        flow = None if correlation is None else (correlation + self.flow) % MOST_FLOWS
        told = {"bytes": size, "op": op, "module": module}
        return ts_ns + self.shift_ns, dur_ns, Event(name or "", category, flow, told)

    def _counters(self, name: str, parent: int, rows: Iterator[tuple[Any, ...]]) -> None:
        for unit, readings in groupby(rows, key=lambda row: row[1]):
            track = self.writer.track(f"{name} [{unit}]" if unit else name, parent, unit=unit)
            for _, _, ts_ns, value in readings:
                self.writer.count(track, ts_ns + self.shift_ns, value)


def _rows(connection: duckdb.DuckDBPyConnection, query: str, given: Any = None) -> Iterator[tuple[Any, ...]]:
    result = connection.execute(query, given)
    while rows := result.fetchmany(BATCH_ROWS):
        yield from rows
