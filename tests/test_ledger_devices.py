"""The ledger beside the devices: what each worked and idled in each part, and what the trace tells of fetching."""

from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.device_slices import kernel, span
from tests.test_analyses import MS, mark
from toolkit.analyses import runner
from toolkit.analyses.ledger_devices import FetchInCompute, fetches_in_compute, ledger_devices
from toolkit.analyses.summary import summarise
from toolkit.ingest.store import StoreWriter, connect
from toolkit.reports.ledger import ledger_tables

PROFILE = {"pass_name": "profile"}
# Two epochs of one step each, all of it between the profiler's start and its end.
EPOCHS = [
    mark(1, None, "phase", "profiler", -20, -10, epoch=None, **PROFILE),
    mark(2, None, "epoch", "train", 0, 100, **PROFILE),
    mark(3, 2, "step", "train", 0, 50, step=1, **PROFILE),
    mark(4, 3, "phase", "data_wait", 0, 20, step=1, **PROFILE),
    mark(5, 3, "phase", "compute", 20, 49, step=1, **PROFILE),
    mark(6, 2, "phase", "compute", 50, 60, **PROFILE),
    mark(7, 2, "phase", "validation", 60, 95, **PROFILE),
    mark(8, None, "epoch", "train", 104, 160, epoch=2, **PROFILE),
    mark(9, 8, "step", "train", 110, 150, epoch=2, step=1, **PROFILE),
    mark(10, 9, "phase", "compute", 110, 150, epoch=2, step=1, **PROFILE),
    mark(11, 8, "phase", "profiler", 150, 158, epoch=2, **PROFILE),
]


def store(
    folder: Path, slices: list[dict[str, Any]], marks: list[dict[str, Any]] = EPOCHS
) -> duckdb.DuckDBPyConnection:
    """A profile pass of these marks, with one trace of these slices."""
    with StoreWriter(folder) as writer:
        writer.append_rows("marks", marks)
        writer.append_rows("traces", [{"trace": 0, "path": "t", "format": "kineto", "events": 1} | PROFILE])
        writer.append_rows("slices", [{"trace": 0} | PROFILE | one for one in slices])
    return connect(folder)


def test_a_device_works_and_idles_in_each_part(tmp_path: Path) -> None:
    """Overlapping work counts once, what lies outside the window or the epochs not at all, and gaps are split alike."""
    work = [(-15, -12), (15, 30), (25, 45), (52, 58), (90, 107), (120, 155)]
    slices = [kernel(None, start * MS, end * MS) for start, end in work]
    found = {
        (row.epoch, row.between, row.part): (row.worked_ns // MS, row.idle_ns // MS)
        for row in ledger_devices(store(tmp_path, slices))
    }
    assert found == {
        (1, False, "data_wait"): (5, 15),
        (1, False, "compute"): (25 + 6, 4 + 4),
        (1, False, "validation"): (5, 30),
        (1, False, "other"): (5, 1),
        (1, True, "validation"): (5, 30),
        (1, True, "other"): (5 + 3 + 4, 3),
        (2, False, "compute"): (30, 10),
        (2, False, "other"): (3, 3),
    }


@settings(max_examples=15)
@given(work=st.lists(st.tuples(st.integers(-30, 170), st.integers(0, 60)), max_size=8))
def test_worked_and_idle_make_up_each_part(tmp_path_factory: Any, work: list[tuple[int, int]]) -> None:
    """Whatever the device did, the two sum to the part's time in the window, to the nanosecond."""
    slices = [kernel(None, start * MS, (start + length) * MS) for start, length in work]
    with store(tmp_path_factory.mktemp("store"), slices) as connection:
        rows = ledger_devices(connection)
        spans = runner.run(connection, "ledger_spans")
    for row in rows:
        moments = {
            moment
            for one in spans
            if not row.between and (one["epoch"], one["part"]) == (row.epoch, row.part)
            for moment in range(one["start_ns"] // MS, min(one["end_ns"] // MS, 150))
        }
        if not row.between:
            busy = {moment for start, length in work for moment in range(start, start + length)}
            assert (row.worked_ns // MS, row.idle_ns // MS) == (len(moments & busy), len(moments - busy))
    assert bool(rows) == bool(work)


def test_stretches_of_an_epoch_have_no_hole_and_no_overlap(tmp_path: Path) -> None:
    """Each begins where the one before ended, whatever lies in whatever."""
    nested = [*EPOCHS, mark(12, 5, "phase", "data_wait", 20, 25, step=1, **PROFILE)]
    with store(tmp_path, [], nested) as connection:
        spans = [row for row in runner.run(connection, "ledger_spans") if row["epoch"] == 1]
    assert [(row["part"], row["start_ns"] // MS, row["end_ns"] // MS) for row in spans] == [
        ("data_wait", 0, 20), ("data_wait", 20, 25), ("compute", 25, 49), ("other", 49, 50), ("compute", 50, 60),
        ("validation", 60, 95), ("other", 95, 100),
    ]  # fmt: skip


def test_the_trace_tells_what_fit_waits_for_inside_its_step(tmp_path: Path) -> None:
    """Fetches count as far as they lie in compute; those of the validation are its own."""
    name = "IteratorGetNextOp::DoCompute"
    slices = [span("annotation", name, start * MS, end * MS) for start, end in ((15, 30), (28, 32), (70, 80))]
    found = fetches_in_compute(store(tmp_path, slices))
    assert found == [FetchInCompute(pass_name="profile", compute_ns=(29 + 10 + 40) * MS, fetch_ns=12 * MS)]


def test_the_report_shows_the_ledger_beside_each_device(tmp_path: Path) -> None:
    """Parts in the ledger's order, those between epochs below; and what of compute was fetching."""
    slices = [kernel(None, 0, 30 * MS), span("annotation", "IteratorGetNextOp::DoCompute", 20 * MS, 30 * MS)]
    with store(tmp_path, slices) as connection:
        summary = summarise(connection)
    console = Console(width=120, file=StringIO(), color_system=None)
    for table in ledger_tables(summary, "profile", summary.epochs):
        console.print(table)
    shown = [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined] # of above
    assert ["data", "wait", "20.00", "20.00", "0.00", "··········", "0.0%"] in shown
    assert any(line[:4] == ["validation,", "between", "epochs", "35.00"] for line in shown)
    assert any("10.00 of 79.00 ms (12.7%)" in " ".join(line) for line in shown)
