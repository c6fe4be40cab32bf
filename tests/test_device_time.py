"""Device time and steps: equal to an independent reader's figures on real traces, and to brute force on random ones."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stores import SHARED, needs_traces, shared
from toolkit.analyses.device_time import DeviceTime, device_time
from toolkit.analyses.intervals import Union
from toolkit.analyses.step_parts import PARTS, REST, StepParts, step_parts
from toolkit.ingest.store import StoreWriter, connect

FIGURES = json.loads((SHARED / "expected.json").read_text()) if (SHARED / "expected.json").exists() else {}
EXPECTED: dict[str, dict[str, dict[str, int]]] = FIGURES.get("kineto", {})
STEPS: dict[str, Any] = FIGURES.get("step_breakdown", {})


def connected(folder: Path, slices: list[dict[str, Any]]) -> duckdb.DuckDBPyConnection:
    """A store of these slices of trace 0."""
    with StoreWriter(folder) as store:
        store.append_rows("slices", [{"trace": 0, "name": "f"} | row for row in slices])
    return connect(folder)


@needs_traces
def test_every_shared_trace_has_expected_figures() -> None:
    """The figures below are held against every Kineto trace that there is."""
    assert {f"kineto/{path.name}" for path in (SHARED / "kineto").iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("file", EXPECTED)
def test_device_figures_are_those_of_an_independent_reader(file: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every device of a real trace, and every figure of it, is equal to the nanosecond."""
    found = {time.device: time for time in device_time(shared(file, tmp_path_factory))}
    figures = {
        device: {name: getattr(found[device], name) for name in wanted}
        for device, wanted in EXPECTED[file].items()
        if device in found
    }
    assert figures == EXPECTED[file]
    assert found.keys() == EXPECTED[file].keys()


@pytest.mark.parametrize("file", [file for file, devices in EXPECTED.items() if devices])
def test_categories_sum_to_all_device_work(file: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Categories leave nothing out: they sum to the durations of kernels, copies and sets."""
    connection = shared(file, tmp_path_factory)
    work = "SELECT sum(dur_ns) FROM slices WHERE kind IN ('kernel', 'memcpy', 'memset')"
    total = connection.execute(work).fetchall()[0][0]
    assert sum(sum(time.categories.values()) for time in device_time(connection)) == total


@pytest.mark.parametrize("file", STEPS)
def test_steps_are_those_of_the_published_breakdown(file: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each step's parts equal the TensorBoard plugin's, which are whole microseconds as the trace's times are."""
    steps = step_parts(shared(file, tmp_path_factory))
    for step, wanted in zip(steps, STEPS[file]["steps"], strict=True):
        published = {part: 1_000 * wanted.get(part, 0) for part in (*PARTS, REST)}
        assert (str(step.step), step.parts_ns) == (wanted["Step"], published)


@pytest.mark.parametrize("file", EXPECTED)
def test_the_device_side_annotation_is_no_second_step(file: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """There is one step a ProfilerStep annotation on the host, each begins where the last ended or later."""
    connection = shared(file, tmp_path_factory)
    marked = "SELECT count(*) FROM slices WHERE kind IN ('op', 'annotation') AND name LIKE 'ProfilerStep#%'"
    steps = step_parts(connection)
    assert len(steps) == connection.execute(marked).fetchall()[0][0]
    assert all(before.end_ns <= after.start_ns for before, after in pairwise(steps))


def launched(correlation: int, launch: tuple[int, int], ran: tuple[int, int]) -> list[dict[str, Any]]:
    """A launch and its kernel, each (start, end)."""
    rows = [{"kind": "launch", "thread": "1/1"}, {"kind": "kernel", "device": "0"}]
    return [
        row | {"correlation": correlation, "ts_ns": start, "dur_ns": end - start}
        for row, (start, end) in zip(rows, (launch, ran), strict=True)
    ]


def test_a_step_ends_where_its_last_launched_work_ends(tmp_path: Path) -> None:
    """Work launched in a step belongs to it however late it runs; what ran before the first step delays its start."""
    slices: list[dict[str, Any]] = [
        {"kind": "annotation", "thread": "1/1", "name": f"ProfilerStep#{number}", "ts_ns": start, "dur_ns": 100}
        for number, start in ((7, 100), (8, 200))
    ]
    slices += (
        launched(1, (90, 95), (96, 120)) + launched(2, (130, 135), (140, 260)) + launched(3, (210, 220), (270, 290))
    )
    assert step_parts(connected(tmp_path, slices)) == [
        StepParts(trace=0, step=7, start_ns=120, end_ns=260, parts_ns=parts(Kernel=120, Runtime=5, Other=15)),
        StepParts(trace=0, step=8, start_ns=260, end_ns=300, parts_ns=parts(Kernel=20, Other=20)),
    ]


def parts(**known: int) -> dict[str, int]:
    """Parts of a step, 0 where not told."""
    return dict.fromkeys((*PARTS, REST), 0) | known


def test_a_trace_without_marked_steps_has_none(tmp_path: Path) -> None:
    """Steps are read, never guessed."""
    assert step_parts(connected(tmp_path, launched(1, (0, 1), (2, 3)))) == []


def test_a_store_without_slices_has_no_device(tmp_path: Path) -> None:
    """An empty store gives no rows rather than an error."""
    assert device_time(connected(tmp_path, [])) == []


def test_work_of_unknown_duration_counts_but_lasts_nothing(tmp_path: Path) -> None:
    """A kernel whose duration is NULL is counted, and no time is made up for it."""
    kernel: dict[str, Any] = {"kind": "kernel", "device": "0", "category": "gemm"}
    slices: list[dict[str, Any]] = [kernel | {"ts_ns": 0, "dur_ns": 10}, kernel | {"ts_ns": 20, "dur_ns": None}]
    (time,) = device_time(connected(tmp_path, slices))
    assert (time.kernels, time.kernel_sum_ns, time.span_ns, time.busy_ns) == (2, 10, 20, 10)
    assert time.categories == {"gemm": 10}


INTERVALS = st.lists(st.tuples(st.integers(-20, 60), st.integers(0, 15)), max_size=12)


@given(intervals=INTERVALS, other=INTERVALS, start=st.integers(-30, 80), length=st.integers(0, 60))
def test_unions_cover_what_their_points_do(
    intervals: list[tuple[int, int]], other: list[tuple[int, int]], start: int, length: int
) -> None:
    """A union of intervals, or of two unions, covers in any window as many ns as there are points in it."""
    points, more = points_of(intervals), points_of(other)
    one, two = union_of(intervals), union_of(other)
    window = set(range(start, start + length))
    assert one.within(start, start + length).ns == len(points & window)
    assert one.with_(two).within(start, start + length).ns == len((points | more) & window)
    assert np.all(one.starts[1:] > one.ends[:-1])


def points_of(intervals: list[tuple[int, int]]) -> set[int]:
    """Every ns in any of the (start, duration)."""
    return {ns for start, duration in intervals for ns in range(start, start + duration)}


def union_of(intervals: list[tuple[int, int]]) -> Union:
    """Their union."""
    starts = np.array([start for start, _ in intervals], dtype=np.int64)
    return Union(starts, starts + np.array([duration for _, duration in intervals], dtype=np.int64))


def test_an_interval_that_ends_before_it_starts_is_refused() -> None:
    """A negative duration is an error, not a negative time."""
    with pytest.raises(ValueError, match="ends before"):
        Union(np.array([2]), np.array([1]))


WORK = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["kernel", "memcpy", "memset", "device_annotation", "launch"]),
        "name": st.sampled_from(["gemm", "ncclDevKernel_AllReduce", "rcclGenericKernel"]),
        "device": st.sampled_from(["0", "1"]),
        "ts_ns": st.integers(0, 40),
        "dur_ns": st.integers(0, 15),
    }
)


@given(slices=st.lists(WORK, min_size=1, max_size=15))
def test_device_time_is_that_of_a_moment_by_moment_count(
    tmp_path_factory: pytest.TempPathFactory, slices: list[dict[str, Any]]
) -> None:
    """Whatever overlaps, each ns of a device belongs to compute, else communication, else memory, else idle."""
    for time in device_time(connected(tmp_path_factory.mktemp("store"), slices)):
        own = [row for row in slices if row["device"] == time.device and row["kind"] in ("kernel", "memcpy", "memset")]
        assert figures_of(time) == counted(own)


def figures_of(time: DeviceTime) -> dict[str, int]:
    """The parts that are counted below."""
    return {name: getattr(time, name) for name in counted([])}


def counted(work: list[dict[str, Any]]) -> dict[str, int]:
    """The same figures from sets of nanoseconds."""
    kernels = [row for row in work if row["kind"] == "kernel"]
    compute = points_of([(row["ts_ns"], row["dur_ns"]) for row in kernels if "ccl" not in row["name"]])
    computing = points_of([(row["ts_ns"], row["dur_ns"]) for row in kernels])
    busy = points_of([(row["ts_ns"], row["dur_ns"]) for row in work])
    ends = [row["ts_ns"] + row["dur_ns"] for row in work]
    span_ns = max(ends) - min(row["ts_ns"] for row in work) if work else 0
    return {
        "kernels": len(kernels),
        "kernel_sum_ns": sum(row["dur_ns"] for row in kernels),
        "span_ns": span_ns,
        "busy_ns": len(busy),
        "idle_ns": span_ns - len(busy),
        "compute_ns": len(compute),
        "exposed_comm_ns": len(computing - compute),
        "exposed_memory_ns": len(busy - computing),
    }
