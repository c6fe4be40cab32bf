"""What Python did in each part of a run, in the terminal report; and its stacks as a file for speedscope."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
from rich.table import Table

from toolkit.analyses.stack_windows import StackWindow
from toolkit.capture.files import write_whole
from toolkit.reports.tables import Cropped, milliseconds, share, short_frame, table

SPEEDSCOPE = "stacks.speedscope.json"
SCHEMA = "https://www.speedscope.app/file-format-schema.json"
SHOWN_FRAMES = 3
ORDER = ("stage", "gap", "phase")
STACKS = """
SELECT pass_name, thread, depth, frame, ts_ns, dur_ns FROM stacks
WHERE ts_ns IS NOT NULL AND dur_ns IS NOT NULL
    AND (pass_name IS NULL OR trace IN (SELECT trace FROM warnings WHERE code = 'stacks_placed'))
ORDER BY pass_name, thread, ts_ns, depth
"""


def stack_tables(windows: Sequence[StackWindow]) -> Iterable[Table]:
    """One row a function, the first few of each stage, gap and phase."""
    if not windows:
        return
    found = table("What Python did, by py-spy, ms of own time", "where", "mostly", "own", "share")
    for window in sorted(windows, key=lambda one: (ORDER.index(one.kind), -one.sampled_ns)):
        name = window.name if window.kind != "phase" else f"phase {window.name.replace('_', ' ')}"
        for frame in window.frames[:SHOWN_FRAMES]:
            of_all = share(frame.self_ns, window.sampled_ns)
            found.add_row(name, Cropped(short_frame(frame.frame)), milliseconds(frame.self_ns), f"{of_all or 0:.0%}")
            name = ""
        rest = window.sampled_ns - sum(frame.self_ns for frame in window.frames[:SHOWN_FRAMES])
        if rest:
            found.add_row("", "the rest", milliseconds(rest), f"{share(rest, window.sampled_ns) or 0:.0%}")
    found.note = (
        "the worker's own thread, sampled 100 times a second and left out where it slept; phases lie inside of stages;"
        " edges are known to 10 ms, and parts of under 50 ms left out"
    )
    yield found


def write_speedscope(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Writes SPEEDSCOPE into a run folder, of stacks that lie on its clock; where there are none, nothing."""
    if text := speedscope_of(connection):
        write_whole(folder / SPEEDSCOPE, text)


def speedscope_of(connection: duckdb.DuckDBPyConnection) -> str | None:
    """The speedscope file of a store's stacks that have times; None where there are none."""
    rows = connection.execute(STACKS).fetchall()
    return json.dumps(speedscope(rows), separators=(",", ":")) if rows else None


def speedscope(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """A profile a thread, in ns since the first frame of all; rows are those of STACKS, in its order."""
    numbers: dict[str, int] = {}
    threads: defaultdict[tuple[str, str], list[tuple[int, int, int, str]]] = defaultdict(list)
    for pass_name, thread, depth, frame, ts_ns, dur_ns in rows:
        numbers.setdefault(frame, len(numbers))
        threads[pass_name, thread].append((depth, ts_ns, ts_ns + dur_ns, frame))
    first_ns = min(row[4] for row in rows)
    profiles = [
        {
            "type": "evented", "name": f"{pass_name} {thread}", "unit": "nanoseconds", "startValue": 0,
            "endValue": max(end for _, _, end, _ in frames) - first_ns,
            "events": list(_events(frames, numbers, first_ns)),
        }
        for (pass_name, thread), frames in threads.items()
    ]  # fmt: skip
    names = [{"name": frame} for frame in numbers]
    return {"$schema": SCHEMA, "shared": {"frames": names}, "profiles": profiles, "exporter": "hwprof"}


def _events(
    frames: Sequence[tuple[int, int, int, str]], numbers: dict[str, int], first_ns: int
) -> Iterable[dict[str, Any]]:
    """Openings and closings in the order of time: what ends where the next begins closes before it opens."""
    open_: list[tuple[int, str]] = []
    following = [*frames, (0, max(end for _, _, end, _ in frames), 0, "")]
    for (_, start, end, frame), (_, next_start, _, _) in pairwise(following):
        open_.append((end, frame))
        yield {"type": "O", "frame": numbers[frame], "at": start - first_ns}
        while open_ and open_[-1][0] <= next_start:
            end_ns, closed = open_.pop()
            yield {"type": "C", "frame": numbers[closed], "at": end_ns - first_ns}
