"""Puts py-spy's stacks on the run's clock: their times count from py-spy's launch, which no file tells.

The worker spins in a function of a known name inside a mark, before and after everything else. py-spy opens that frame
at the first sample that holds it and closes it at the first that does not, so up to an interval late at both ends, as
with every frame. Each end of the mark less that of the frame is the launch less such a lateness; their mean puts all
frames where they begin and end on average.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import duckdb

from toolkit.ingest.pyspy import FORMAT
from toolkit.ingest.store import connect

MARKER = "hwprof_pyspy_marker (%"
# (trace, pass, start and end of the marker's frames as py-spy saw them, in order)
FRAMES = """
SELECT trace, pass_name, list(ts_ns ORDER BY ts_ns), list(ts_ns + dur_ns ORDER BY ts_ns)
FROM stacks SEMI JOIN (SELECT trace FROM traces WHERE format = ?) USING (trace)
WHERE frame LIKE ? AND NOT recursive AND dur_ns IS NOT NULL AND pass_name IS NOT NULL GROUP BY ALL
"""
MARKS = """
SELECT ts_ns, ts_ns + dur_ns FROM marks
WHERE pass_name = ? AND kind = 'sync' AND name = 'pyspy' AND complete ORDER BY ts_ns
"""
PLACED = "SELECT * REPLACE (ts_ns + CASE WHEN trace = {} THEN {} ELSE 0 END AS ts_ns) FROM stacks"
TOLD = """
SELECT * EXCLUDE (hit) REPLACE (
    CASE WHEN hit THEN 'stacks_placed' ELSE code END AS code, CASE WHEN hit THEN {markers} ELSE count END AS count,
    CASE WHEN hit THEN '{message}' ELSE message END AS message
) FROM (SELECT *, trace = {trace} AND code = 'no_epoch' AS hit FROM warnings)
"""


class Place(NamedTuple):
    """When py-spy was launched, less its mean lateness; by how many markers, and how far their ends lie apart."""

    launch_ns: int
    markers: int
    spread_ns: int


def place(folder: Path) -> None:
    """Shifts `stacks.ts_ns` of each of py-spy's traces that holds a marker, and says so in its warnings."""
    if not (folder / "stacks.parquet").exists():
        return
    with connect(folder) as connection:
        found = connection.execute(FRAMES, [FORMAT, MARKER]).fetchall()
    for trace, pass_name, starts, ends in found:
        with connect(folder) as connection:
            marks = connection.execute(MARKS, [pass_name]).fetchall()
            placed = launched(joined(zip(starts, ends, strict=True)), marks)
            if placed:
                _write(folder, connection, trace, placed)


def joined(frames: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Frames (start, end) in order, one where the next begins as one ends: py-spy's are of a function's line each."""
    found: list[tuple[int, int]] = []
    for start, end in frames:
        goes_on = found and found[-1][1] == start
        found.append((found.pop()[0] if goes_on else start, end))
    return found


def launched(frames: list[tuple[int, int]], marks: list[tuple[int, int]]) -> Place | None:
    """py-spy's launch by the last marks, one for each frame; None where they contradict each other.

    Frames (start, end) are ns since the launch, marks of the run's clock. py-spy may have come late, never too early.
    """
    if not frames or len(frames) > len(marks):
        return None
    pairs = list(zip(frames, marks[-len(frames) :], strict=True))
    bounds = [mark - frame for spans in pairs for frame, mark in zip(*spans, strict=True)]
    latest = max(bounds)
    # A sample that holds the frame lies inside the mark.
    if any(latest + start > end for (start, _), (_, end) in pairs):
        return None
    return Place(sum(bounds) // len(bounds), len(pairs), latest - min(bounds))


def _write(folder: Path, connection: duckdb.DuckDBPyConnection, trace: int, placed: Place) -> None:
    spread = f"{placed.spread_ns / 1e6:.1f}"
    message = f"Stacks lie on the run''s clock by {placed.markers} markers, whose ends agree to {spread} ms."
    _replace(folder, connection, "stacks", PLACED.format(trace, placed.launch_ns))
    _replace(folder, connection, "warnings", TOLD.format(trace=trace, markers=placed.markers, message=message))


def _replace(folder: Path, connection: duckdb.DuckDBPyConnection, table: str, query: str) -> None:
    path, partial = folder / f"{table}.parquet", folder / f".{table}.parquet.partial"
    try:
        connection.sql(query).write_parquet(str(partial), compression="zstd")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
