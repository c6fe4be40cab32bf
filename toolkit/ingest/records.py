"""raw/<pass>/*.jsonl, what worker and samplers wrote (`capture/record.py`), into the store.

Readings, of which a long run has millions, are readings.py's.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.clock import ClockPair, MonotonicAxis
from toolkit.errors import FAILED, HwprofError
from toolkit.ingest import readings
from toolkit.ingest.store import StoreWriter

Row = dict[str, Any]


def read(path: Path, *, pass_name: str, store: StoreWriter) -> None:
    """Appends all that the file holds, and warnings. A last line cut off by a kill is left out."""
    lines = list(_lines(path))
    pairs = [ClockPair(*line[1:]) for line in lines if line[0] == "clock"]
    if not pairs:
        raise HwprofError(f"{path} holds no clock record.", remedy="The pass ended before it began.", exit_code=FAILED)
    axis = MonotonicAxis(pairs)
    rows: dict[str, list[Row]] = defaultdict(list)
    rows["marks"] = _marks(lines, axis)
    rows["clocks"] = [pair._asdict() | {"source": path.stem} for pair in pairs]
    rows["warnings"] = [_wall_step(move) for _, move in axis.steps()]
    for line in lines:
        if line[0] in _ROWS:
            rows[_ROWS[line[0]][0]].append(_row(line, axis))
    for table, found in rows.items():
        store.append_rows(table, [row | {"pass_name": pass_name} for row in found])
    readings.read(path, axis, pass_name=pass_name, store=store)


# Record kind -> (table, its columns in the record's order; `at` is a CLOCK_MONOTONIC reading).
_ROWS = {
    "scalar": ("scalars", ("at", "epoch", "name", "value")),
    "counter": ("counters", ("at", "source", "device", "metric", "value", "unit")),
    "unavailable": ("unavailable", ("source", "device", "metric", "reason")),
    "lost": ("unavailable", ("at", "source", "device", "metric", "reason")),
    "gpu": ("gpus", ("device", "name", "uuid", "architecture", "driver", "mig", "used", "power_limit_mw")),
    "sensor": ("sensors", ("device", "metric", "update_ns", "reads")),
}


def _row(line: list[Any], axis: MonotonicAxis) -> Row:
    row = dict(zip(_ROWS[line[0]][1], line[1:], strict=True))
    if "at" in row:
        row["ts_ns"] = axis.realtime_ns(row.pop("at"))
    return row


def _lines(path: Path) -> Iterator[list[Any]]:
    with path.open(encoding="utf-8") as file:
        for text in file:
            if text.endswith("\n") and not text.startswith(readings.PREFIXES):
                yield json.loads(text)


def _marks(lines: list[list[Any]], axis: MonotonicAxis) -> list[Row]:
    """Ended marks as they are; those that a kill left open end, incomplete, at the last thing recorded."""
    ended = {line[1]: line for line in lines if line[0] == "mark"}
    gone = {line[1] for line in lines if line[0] == "drop"} | ended.keys()
    opened = {line[1]: line for line in lines if line[0] == "open" and line[1] not in gone}
    last = max((line[8] for line in ended.values()), default=0)
    last = max([last, *(line[7] for line in opened.values())])
    marks = [_mark(line, line[8], axis, complete=True) for line in ended.values()]
    marks += [_mark(line, last, axis, complete=False) for line in opened.values()]
    return sorted(marks, key=lambda mark: mark["id"])


def _mark(line: list[Any], end: int, axis: MonotonicAxis, *, complete: bool) -> Row:
    columns = dict(zip(("id", "parent", "kind", "name", "epoch", "step"), line[1:7], strict=True))
    return columns | {"ts_ns": axis.realtime_ns(line[7]), "dur_ns": end - line[7], "complete": complete}


def _wall_step(move_ns: int) -> Row:
    return {
        "code": "wall_clock_step",
        "count": 1,
        "message": f"The wall clock was set by {move_ns / 1e6:+.1f} ms during the run.",
        "untrusted": True,
    }
