"""Events and samples as py-spy writes them, and a store of them."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.stores import read
from toolkit.errors import HwprofError


def event(ph: str, name: str, ts: float, *, tid: int = 5, place: tuple[str, int | None] = ("a.py", 1)) -> Any:
    """A beginning or an end, as py-spy writes it."""
    args = dict(zip(("filename", "line"), place, strict=True))
    return {"args": args, "cat": "py-spy", "name": name, "ph": ph, "pid": 7, "tid": tid, "ts": ts}


def nested(*frames: tuple[str, int, int], tid: int = 5) -> list[Any]:
    """Events of frames given as (name, begin, end), each within or after those before it, in the order of time."""
    stack: list[tuple[str, int, int]] = []
    events = []
    for frame in [*frames, ("", 10**9, 10**9)]:
        while stack and stack[-1][2] <= frame[1]:
            name, _, end = stack.pop()
            events.append(event("E", name, end, tid=tid))
        if frame[0]:
            stack.append(frame)
            events.append(event("B", frame[0], frame[1], tid=tid))
    return events


TREE = [("main", 100, 190), ("work", 110, 150), ("work", 120, 140), ("rest", 160, 165)]
EVENTS = nested(*TREE)

FRAMES = [
    {"name": "main", "file": "a.py", "line": 1, "col": None},
    {"name": "work", "file": "a.py", "line": 2},
    {"name": "thread (7)", "file": "", "line": 0},
]
PROFILE = {
    "type": "sampled", "name": 'Thread 7 "MainThread"', "unit": "seconds", "startValue": 0.0, "endValue": 0.04,
    "samples": [[2, 0], [2, 0, 1, 1], [2, 0, 1], [2]], "weights": [0.01, 0.01, 0.01, 0.01],
}  # fmt: skip
DOCUMENT = {
    "$schema": "https://www.speedscope.app/file-format-schema.json", "profiles": [PROFILE],
    "shared": {"frames": FRAMES}, "activeProfileIndex": None, "exporter": "py-spy@0.4.3", "name": "py-spy profile",
}  # fmt: skip


def write(folder: Path, content: Any, name: str = "pyspy.json") -> Path:
    """A file of these bytes, or of this document."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def refused(path: Path) -> str:
    """What the error says about a file that must be refused, with nothing of it stored."""
    with pytest.raises(HwprofError, match=path.name) as caught:
        read(path)
    assert list((path.parent / "store").iterdir()) == []
    return str(caught.value)


def rows(connection: duckdb.DuckDBPyConnection, columns: str, order: str = "ALL") -> list[tuple[Any, ...]]:
    """Columns of `stacks`."""
    return connection.table("stacks").order(order).project(columns).fetchall()
