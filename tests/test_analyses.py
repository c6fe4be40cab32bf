"""The SQL analyses over stores written by hand, and what each says of its own columns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.analyses import runner
from toolkit.analyses.summary import summarise
from toolkit.errors import HwprofError
from toolkit.ingest.store import StoreWriter, connect
from toolkit.reports import summary_json

MS = 1_000_000


def store(folder: Path, **tables: Sequence[dict[str, Any]]) -> duckdb.DuckDBPyConnection:
    """A store of the given rows, open for reading."""
    with StoreWriter(folder) as writer:
        for table, rows in tables.items():
            writer.append_rows(table, rows)
    return connect(folder)


def mark(id_: int, parent: int | None, kind: str, name: str, *span: int, **more: Any) -> dict[str, Any]:
    """A row of `marks` over (start, end) in milliseconds, in the time pass's first epoch unless told otherwise."""
    row = {"pass_name": "time", "id": id_, "parent": parent, "kind": kind, "name": name, "epoch": 1, "complete": True}
    start, end = span
    return row | {"ts_ns": start * MS, "dur_ns": (end - start) * MS} | more


TWO_STEPS = [
    mark(1, None, "epoch", "train", 0, 100),
    mark(2, 1, "step", "train", 0, 40, step=1),
    mark(3, 2, "phase", "data_wait", 0, 10, step=1),
    mark(4, 2, "phase", "compile", 10, 38, step=1),
    mark(5, 1, "step", "train", 40, 60, step=2),
    mark(6, 5, "phase", "compute", 41, 60, step=2),
    mark(7, 1, "phase", "validation", 62, 95),
]


@pytest.mark.parametrize("name", runner.names())
def test_every_output_column_is_described(name: str, tmp_path: Path) -> None:
    """The head of each SQL file describes exactly the columns that it gives, in their order."""
    with store(tmp_path) as connection:
        described = connection.execute(runner.text(name)).description
    assert list(runner.documented_columns(name)) == [column[0] for column in described]


def test_the_ledger_tells_where_an_epoch_went(tmp_path: Path) -> None:
    """Each part is its marks' own time, and what no phase covers is other."""
    with store(tmp_path, marks=TWO_STEPS) as connection:
        parts = {row["part"]: row["ns"] // MS for row in runner.run(connection, "epoch_ledger")}
        (other,) = runner.run(connection, "other_parts")
    assert parts == {"validation": 33, "compile": 28, "compute": 19, "data_wait": 10, "other": 10}
    assert (other["inside_ns"] // MS, other["between_ns"] // MS) == (3, 7)


@st.composite
def epochs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One epoch with marks nested at random, of any kind and length, the empty ones too."""
    rows = [mark(0, None, "epoch", "train", 0, draw(st.integers(0, 50)))]
    for id_ in range(1, draw(st.integers(1, 12))):
        parent = draw(st.sampled_from(rows))
        siblings = [row for row in rows if row["parent"] == parent["id"]]
        free = max([parent["ts_ns"], *(row["ts_ns"] + row["dur_ns"] for row in siblings)]) // MS
        last = (parent["ts_ns"] + parent["dur_ns"]) // MS
        start, end = sorted((draw(st.integers(free, last)), draw(st.integers(free, last))))
        kind = draw(st.sampled_from(["step", "phase"]))
        rows.append(mark(id_, parent["id"], kind, draw(st.sampled_from(["compute", "data_wait"])), start, end))
    return rows


@given(rows=epochs())
def test_the_ledger_sums_to_the_wall_time(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    """Whatever the marks, the parts of an epoch sum to its duration to the nanosecond, and none is negative."""
    with store(tmp_path_factory.mktemp("store"), marks=rows) as connection:
        parts = runner.run(connection, "epoch_ledger")
    assert sum(row["ns"] for row in parts) == rows[0]["dur_ns"]
    assert all(row["ns"] >= 0 for row in parts)


def test_the_gap_between_epochs_is_split_like_the_epoch(tmp_path: Path) -> None:
    """From the wait after the last step of an epoch to the next one's first: phases between, other for the rest."""
    rows = [
        *TWO_STEPS,
        mark(11, 1, "phase", "compute", 60, 61),
        mark(8, None, "epoch", "train", 100, 150, epoch=2),
        mark(9, 8, "phase", "data_wait", 101, 104, epoch=2),
        mark(10, 8, "step", "train", 105, 140, epoch=2, step=1),
    ]
    with store(tmp_path, marks=rows) as connection:
        gaps = {row["part"]: (row["ns"] // MS, row["gap_ns"] // MS) for row in runner.run(connection, "epoch_gaps")}
    assert gaps == {"validation": (33, 44), "data_wait": (3, 44), "other": (8, 44)}


def test_a_step_s_series_shares_out_the_wait_for_the_device(tmp_path: Path) -> None:
    """In the order of time, each with its part of what its epoch's end waited; a step that compiled is marked."""
    rows = [
        *TWO_STEPS,
        mark(11, 1, "phase", "compute", 60, 64),
        mark(12, None, "step", "train", 70, 75, epoch=2, step=1),
    ]
    with store(tmp_path, marks=rows) as connection:
        series = runner.run(connection, "step_series")
    told = [(row["epoch"], row["step"], row["host_ns"] // MS, row["wait_ns"] // MS, row["compiled"]) for row in series]
    assert told == [(1, 1, 40, 2, True), (1, 2, 20, 2, False), (2, 1, 5, 0, False)]


def test_a_step_that_compiled_is_no_steady_step(tmp_path: Path) -> None:
    """The median leaves out steps that compiled, and says how many."""
    with store(tmp_path, marks=TWO_STEPS) as connection:
        whole = next(row for row in runner.run(connection, "step_times") if row["epoch"] is None)
    assert (whole["steps"], whole["compiled_steps"], whole["median_ns"]) == (1, 1, 20 * MS)


@pytest.mark.parametrize(("wait", "window_wait", "compiles"), [(0, 0, 0), (36, 20, 0), (36, 20, 2)])
def test_the_profiler_s_cost_counts_what_steps_left_to_the_end(
    tmp_path: Path, wait: int, window_wait: int, compiles: int
) -> None:
    """Steps that only ask for work have the waits shared out: of the epoch, and of the window of two steps.

    One that compiled several times is one step.
    """
    rows = [mark(0, None, "epoch", "train", 0, 400), mark(1, None, "epoch", "train", 0, 400, pass_name="profile")]
    rows += [mark(step, 0, "step", "train", step, step + 1, step=step) for step in (1, 2, 3, 4)]
    rows += [mark(5, 0, "phase", "compute", 6, 6 + wait)]
    profile = {"pass_name": "profile"}
    rows += [mark(5 + step, 1, "step", "train", 2 * step, 2 * step + 2, step=step, **profile) for step in (1, 2)]
    rows += [mark(8, 1, "phase", "compute", 7, 7 + window_wait, **profile)]
    rows += [mark(6 + step, 1, "step", "train", 100 * step, 100 * step + 1, step=step, **profile) for step in (3, 4)]
    rows += [mark(11, 1, "phase", "compute", 402, 402 + wait, **profile)]
    rows += [mark(12 + number, 6, "phase", "compile", 2, 3, step=1, **profile) for number in range(compiles)]
    slices = [
        {"trace": 0, "pass_name": "profile", "ts_ns": 0, "dur_ns": 1, "epoch": 1, "step": step} for step in (1, 2)
    ]
    slices = [one | {"kind": "op", "name": "add"} for one in slices]
    with store(tmp_path, marks=rows, slices=slices) as connection:
        (cost,) = runner.run(connection, "profiler_cost")
    assert cost["time_median_ns"] == (1 + wait // 4) * MS
    assert cost["profile_median_ns"] == (2 + window_wait // 2) * MS


def test_samples_are_summed_up_by_epoch_and_for_the_whole_pass(tmp_path: Path) -> None:
    """A reading outside every epoch counts for the pass alone."""
    readings = [(-5, 900.0), (10, 100.0), (90, 300.0)]
    power = {"pass_name": "time", "source": "nvml", "device": "0", "metric": "power", "unit": "mW"}
    counters = [
        power | {"ts_ns": at * MS, "value": value} for at, value in readings
    ]  # fmt: skip
    with store(tmp_path, marks=TWO_STEPS, counters=counters) as connection:
        rows = {row["epoch"]: (row["readings"], row["mean"], row["most"]) for row in runner.run(connection, "samples")}
    assert rows == {1: (2, 200.0, 300.0), None: (3, pytest.approx(1300 / 3), 900.0)}


def test_what_samplers_and_others_read_is_kept_apart(tmp_path: Path) -> None:
    """Before the worker is the baseline, of GPUs alone; the framework's counters are no samples."""
    gpu = {"pass_name": "time", "source": "nvml", "device": "0", "metric": "memory_used", "unit": "B"}
    host = {"pass_name": "time", "source": "host", "metric": "rss", "unit": "B"}
    framework = {"pass_name": "time", "source": "torch", "device": "0", "metric": "in_use", "unit": "B"}
    readings = [(gpu, -9, 7.0), (gpu, -5, 8.0), (host, -4, 1.0), (gpu, 10, 9.0), (host, 10, 2.0), (framework, 11, 3.0)]
    counters = [kind | {"ts_ns": at * MS, "value": value} for kind, at, value in readings]
    marks = [mark(0, None, "run", "time", 0, 100), *TWO_STEPS]
    with store(tmp_path, marks=marks, counters=counters) as connection:
        samples = {(row["metric"], row["epoch"]): row["mean"] for row in runner.run(connection, "samples")}
        baseline = runner.run(connection, "baseline")
        memory = runner.run(connection, "framework_memory")
    assert samples == {("memory_used", None): 9.0, ("memory_used", 1): 9.0, ("rss", None): 2.0, ("rss", 1): 2.0}
    assert baseline == [{"pass_name": "time", "device": "0", "metric": "memory_used", "unit": "B", "value": 7.0}]
    assert [(row["metric"], row["bytes"]) for row in memory] == [("in_use", 3)]


def annotation(mark_id: int, start_ns: int, end_ns: int) -> dict[str, Any]:
    """A native annotation of a mark."""
    row = {"trace": 0, "pass_name": "time", "kind": "annotation", "name": f"hwprof.compute.{mark_id}"}
    return row | {"ts_ns": start_ns, "dur_ns": end_ns - start_ns}


TRACES = [{"trace": 0, "pass_name": "time", "path": "t", "format": "kineto", "events": 2}]


def test_annotations_inside_their_marks_are_trusted(tmp_path: Path) -> None:
    """Residuals are the larger distance of an annotation's ends from its mark's; nothing is violated."""
    slices = [
        annotation(4, 10 * MS + 2_000, 38 * MS - 1_000),
        annotation(5, 40 * MS + 1_000, 60 * MS - 1_000),
        annotation(6, 41 * MS + 3_000, 60 * MS - 9_000),
    ]
    with store(tmp_path, marks=TWO_STEPS, slices=slices, traces=TRACES) as connection:
        row = runner.run(connection, "alignment")[0]
        assert summarise(connection).trusted
    figures = (row["brackets"], row["median_residual_ns"], row["worst_residual_ns"], row["violations"])
    assert figures == (3, 2_000, 9_000, 0)


def test_an_annotation_before_its_bracket_makes_the_trace_untrusted(tmp_path: Path) -> None:
    """A violation beyond the bound is counted, sized and named."""
    slices = [annotation(4, 9 * MS, 37 * MS)]
    with store(tmp_path, marks=TWO_STEPS, slices=slices, traces=TRACES) as connection:
        row = runner.run(connection, "alignment")[0]
        summary = summarise(connection)
    assert (row["violations"], row["worst_violation_ns"]) == (1, MS)
    assert not summary.trusted
    assert [warning.code for warning in summary.warnings] == ["clock_violation"]


def test_annotations_that_the_trace_lost_make_it_untrusted(tmp_path: Path) -> None:
    """A mark of the profiled window without its annotation is counted and named."""
    slices = [annotation(4, 10 * MS, 38 * MS), annotation(6, 41 * MS, 60 * MS)]
    with store(tmp_path, marks=TWO_STEPS, slices=slices, traces=TRACES) as connection:
        summary = summarise(connection)
    assert [(warning.code, warning.count) for warning in summary.warnings] == [("missing_annotations", 1)]


def test_a_profile_pass_without_a_trace_is_untrusted(tmp_path: Path) -> None:
    """So is a pass that was cut off: both stand among the warnings."""
    rows = [mark(1, None, "run", "profile", 0, 100, pass_name="profile", epoch=None, complete=False)]
    with store(tmp_path, marks=rows) as connection:
        summary = summarise(connection)
    assert not summary.trusted
    assert {warning.code for warning in summary.warnings} == {"cut_off", "no_trace"}


def test_throughput_counts_to_the_moment_the_device_was_done(tmp_path: Path) -> None:
    """From the first step's start to the end of the loop's wait for the device, not to the last step's mark."""
    rows = [*TWO_STEPS, mark(8, 1, "phase", "compute", 60, 62)]
    with store(tmp_path, marks=rows) as connection:
        (row,) = runner.run(connection, "training")
    assert (row["steps"], row["compiled_steps"], row["ns"]) == (2, 1, 62 * MS)


def test_a_step_that_was_cut_off_counts_in_no_median(tmp_path: Path) -> None:
    """It has no duration that anyone measured."""
    rows = [*TWO_STEPS, mark(8, 1, "step", "train", 60, 5_000, step=3, complete=False)]
    with store(tmp_path, marks=rows) as connection:
        whole = next(row for row in runner.run(connection, "step_times") if row["epoch"] is None)
    assert (whole["steps"], whole["median_ns"]) == (1, 20 * MS)


def test_a_loss_that_is_no_number_is_null(tmp_path: Path) -> None:
    """Training that diverges leaves a summary that can be read back."""
    scalars = [{"pass_name": "time", "ts_ns": 1, "epoch": 1, "name": "train_loss", "value": float("nan")}]
    with store(tmp_path, scalars=scalars) as connection:
        summary = summarise(connection)
    assert summary.scalars[0].value is None
    (tmp_path / "summary.json").write_text(summary_json.encode(summary))
    assert summary_json.read(tmp_path / "summary.json") == summary


def test_a_trace_without_annotations_is_untrusted(tmp_path: Path) -> None:
    """Alignment is measured, not assumed."""
    with store(tmp_path, marks=TWO_STEPS, traces=TRACES) as connection:
        summary = summarise(connection)
    assert [warning.code for warning in summary.warnings] == ["no_alignment"]


def test_an_unknown_analysis_is_refused() -> None:
    """One clear line that names what there is."""
    with pytest.raises(HwprofError, match=r"no analysis 'ledgers'.*epoch_ledger"):
        runner.text("ledgers")
