"""A phase inside another, as `fit` makes around the making of a batch: each moment belongs to the innermost alone."""

from pathlib import Path
from typing import Any

from tests.test_analyses import MS, mark, store
from toolkit.analyses import runner
from toolkit.ingest.place import place
from toolkit.ingest.store import connect

# A batch is made from 30 to 50, within what is compute before and after it.
MARKS = [
    mark(1, None, "epoch", "train", 0, 100),
    mark(2, 1, "step", "train", 10, 90, step=1),
    mark(3, 2, "phase", "compute", 10, 90, step=1),
    mark(4, 3, "phase", "data_wait", 30, 50, step=1),
]
MOMENTS = {5: None, 20: "compute", 40: "data_wait", 60: "compute", 95: None}
OF_TRACE: dict[str, Any] = {"trace": 0, "pass_name": "time"}


def test_slices_after_the_inner_phase_are_the_outer_one_s_again(tmp_path: Path) -> None:
    """By their starts."""
    slices = [OF_TRACE | {"kind": "op", "name": "f", "ts_ns": at * MS, "dur_ns": MS} for at in MOMENTS]
    store(tmp_path, marks=MARKS, slices=slices).close()
    place(tmp_path)
    with connect(tmp_path) as connection:
        placed = connection.execute("SELECT ts_ns // 1000000, phase FROM slices ORDER BY ts_ns").fetchall()
    assert dict(placed) == MOMENTS


def test_memory_asked_for_after_the_inner_phase_is_the_outer_one_s_again(tmp_path: Path) -> None:
    """Each block at the peak is of the phase in which it was allocated."""
    event = OF_TRACE | {"device": "0", "action": "alloc", "bytes": 1}
    allocations = [
        event | {"ts_ns": at * MS, "address": at, "in_use_bytes": number} for number, at in enumerate(MOMENTS, 1)
    ]
    traces = [OF_TRACE | {"path": "t", "format": "kineto", "events": 1}]
    with store(tmp_path, marks=MARKS, allocations=allocations, traces=traces) as connection:
        found = {row["phase"]: row["bytes"] for row in runner.run(connection, "memory_at_peak")}
    assert found == {None: 2, "compute": 2, "data_wait": 1}


def test_python_s_time_in_the_inner_phase_is_not_the_outer_one_s(tmp_path: Path) -> None:
    """A function that runs throughout has its time in each phase once."""
    frame = OF_TRACE | {"thread": "1"}
    stacks = [
        frame | {"depth": 0, "frame": name, "ts_ns": start * MS, "dur_ns": length * MS}
        for name, start, length in (("hwprof_pyspy_marker (a.py:1)", -20, 10), ("f (a.py:2)", 0, 100))
    ]
    warnings = [{"trace": 0, "code": "stacks_placed", "count": 1, "message": "", "untrusted": False}]
    with store(tmp_path, marks=MARKS, stacks=stacks, warnings=warnings) as connection:
        found = {row["name"]: row["self_ns"] // MS for row in runner.run(connection, "stack_windows")}
    assert found == {"compute": 60, "data_wait": 20}


def test_a_wait_inside_a_wait_counts_once(tmp_path: Path) -> None:
    """The making of the first batch lies in the pipeline's start."""
    rows = [*MARKS, mark(5, 1, "phase", "data_wait", 0, 9), mark(6, 5, "phase", "data_wait", 3, 7)]
    with store(tmp_path, marks=rows) as connection:
        (found,) = runner.run(connection, "data_waits")
    assert (found["in_steps_ns"], found["around_ns"]) == (20 * MS, 9 * MS)
