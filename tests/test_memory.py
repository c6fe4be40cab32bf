"""Memory over time: exact where the trace tells, relative where it does not, thinned without losing an extreme."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.snapshot_traces import HISTORY, MIB, REAL, SEGMENTS, event, segment, write
from tests.stores import needs_traces, read
from tests.test_analyses import store
from toolkit.analyses import runner
from toolkit.analyses.memory import MemorySeries, memory_series
from toolkit.analyses.traces import analyse
from toolkit.reports.pointers import pointers

TRACE = {"trace": 0, "path": "t", "format": "kineto", "events": 1}
GPU: dict[str, Any] = {"trace": 0, "device": "0"}


def moment(ts_ns: int, action: str, size: int, address: int, in_use: int | None = None, **more: Any) -> dict[str, Any]:
    """A row of `allocations`."""
    told = {"ts_ns": ts_ns, "action": action, "bytes": size, "address": address, "in_use_bytes": in_use}
    return GPU | told | more


def series_of(folder: Path, allocations: Sequence[dict[str, Any]], **tables: Any) -> MemorySeries:
    """The only allocator of a store."""
    with store(folder, allocations=allocations, **{"traces": [TRACE], **tables}) as connection:
        (found,) = memory_series(connection)
    return found


def held(series: MemorySeries) -> list[tuple[str | None, bool, int | None, int]]:
    """What was alive at the peak."""
    return [(holder.asked_by, holder.seen, holder.blocks, holder.bytes) for holder in series.at_peak]


def snapshot(folder: Path, segments: Sequence[Any], history: Sequence[Any]) -> MemorySeries:
    """The only device of a snapshot."""
    with read(write(folder, {"segments": list(segments), "device_traces": [list(history)]})) as connection:
        (found,) = memory_series(connection)
    return found


def test_the_allocator_s_own_count_is_the_level(tmp_path: Path) -> None:
    """Totals are taken as told, the level before the first event too; the reservation beside them."""
    found = series_of(
        tmp_path,
        [
            moment(10, "alloc", 5, 1, 105, reserved_bytes=200),
            moment(20, "free", 40, 2, 65, reserved_bytes=200),
            moment(30, "alloc", 30, 3, 95, reserved_bytes=300),
        ],
    )
    assert (found.basis, found.events) == ("total", 3)
    points = [(point.event, point.ts_ns, point.in_use_bytes, point.reserved_bytes) for point in found.points]
    assert points == [(0, 10, 100, 200), (1, 10, 105, 200), (2, 20, 65, 200), (3, 30, 95, 300)]
    assert found.peak == found.points[1]
    assert held(found) == [(None, False, None, 100), (None, True, 1, 5)]


def test_what_was_alive_at_the_peak_goes_to_the_operator_that_does_more_than_allocate(tmp_path: Path) -> None:
    """The innermost around the moment on the same thread; a freed block and one of after the peak are not alive."""
    ops = [
        {"trace": 0, "kind": "op", "name": name, "thread": thread, "ts_ns": start, "dur_ns": dur}
        for name, thread, start, dur in [
            ("aten::linear", "1", 0, 100),
            ("aten::addmm", "1", 10, 50),
            ("aten::empty", "1", 20, 30),
            ("aten::mul", "2", 0, 100),
        ]
    ]
    allocations = [
        moment(25, "alloc", 8, 1, 8, thread="1"),
        moment(40, "alloc", 4, 2, 12, thread="1"),
        moment(70, "free", 4, 2, 8, thread="1"),
        moment(80, "alloc", 16, 2, 24, thread="1"),
        moment(90, "free", 16, 2, 8, thread="1"),
        moment(95, "alloc", 1, 3, 9, thread="2"),
    ]
    found = series_of(tmp_path, allocations, slices=ops)
    assert held(found) == [("aten::linear", True, 1, 16), ("aten::addmm", True, 1, 8)]


def test_what_was_alive_at_the_peak_by_module_phase_and_step(tmp_path: Path) -> None:
    """The innermost module on the thread, the run's phase and step at the moment; each way sums to the peak."""
    profile = {"pass_name": "profile"}
    modules = [
        {"trace": 0, "kind": "python", "name": name, "thread": "1", "ts_ns": start, "dur_ns": dur} | profile
        for name, start, dur in [("nn.Module: Net_0", 0, 100), ("nn.Module: Conv2d_1", 10, 20), ("f (a.py:1)", 12, 5)]
    ]
    marks = [
        profile | {"id": number, "kind": kind, "name": name, "epoch": 1, "step": 2, "ts_ns": start, "dur_ns": dur}
        for number, (kind, name, start, dur) in enumerate(
            [("step", "train", 0, 60), ("phase", "data_wait", 0, 5), ("phase", "compute", 5, 55)]
        )
    ]
    allocations = [
        moment(at, "alloc", size, at, total, thread=thread, **profile)
        for at, size, total, thread in [(2, 1, 101, "1"), (15, 2, 103, "1"), (40, 4, 107, "1"), (70, 8, 115, "9")]
    ]
    found = series_of(
        tmp_path, allocations, slices=modules, marks=marks, traces=[TRACE | profile]
    )  # fmt: skip
    parts = {each.by: {(part.asked_by, part.seen): part.bytes for part in each.parts} for each in found.at_peak_by}
    before = {(None, False): 100}
    assert parts == {
        "module": before | {("nn.Module: Net_0", True): 5, ("nn.Module: Conv2d_1", True): 2, (None, True): 8},
        "phase": before | {("data_wait", True): 1, ("compute", True): 6, (None, True): 8},
        "step": before | {("epoch 1, step 2", True): 7, (None, True): 8},
    }


def test_steps_of_a_trace_that_hwprof_did_not_make_are_the_framework_s(tmp_path: Path) -> None:
    """By the number that the annotation gives; outside of steps nothing is said."""
    step = {"trace": 0, "kind": "annotation", "name": "ProfilerStep#7", "thread": "1", "ts_ns": 10, "dur_ns": 10}
    found = series_of(tmp_path, [moment(15, "alloc", 2, 1, 2), moment(25, "alloc", 3, 2, 5)], slices=[step])
    (steps,) = found.at_peak_by
    assert [(part.asked_by, part.bytes) for part in steps.parts] == [(None, 3), ("step 7", 2)]


def test_tensorflow_s_layers_are_summed_up(tmp_path: Path) -> None:
    """The operator is told, and numbers in its scopes do not keep equal layers apart."""
    allocations = [
        moment(number, "alloc", 2, number, 2 * number, op=f"model/layer_{number}/Cast") for number in (1, 2, 3)
    ]
    assert held(series_of(tmp_path, allocations)) == [("model/layer_*/Cast", True, 3, 6)]


@pytest.mark.parametrize(
    ("trace", "device", "basis"),
    [("kineto", "cpu", "growth"), ("kineto", "0", "total"), ("xplane", "cpu", "total")],
)
def test_pytorch_s_count_of_host_memory_is_growth(tmp_path: Path, trace: str, device: str, basis: str) -> None:
    """It begins at 0 with the profiler, which is said; every other count is the allocator's whole."""
    row = moment(1, "alloc", 8, 1, 8) | {"device": device}
    assert series_of(tmp_path, [row], traces=[TRACE | {"format": trace}]).basis == basis


def test_sizes_alone_are_relative(tmp_path: Path) -> None:
    """Without totals the level before is not told: changes from it, negative where more is freed than allocated."""
    rows = [moment(1, "free", 30, 1), moment(2, "alloc", 10, 2)]
    found = series_of(tmp_path, [row | {"address": None} for row in rows])
    assert (found.basis, [point.in_use_bytes for point in found.points]) == ("relative", [0, -30, -20])
    assert (found.peak, held(found)) == (found.points[0], [])


def test_a_trace_that_lacks_frees_does_not_say_what_was_alive(tmp_path: Path) -> None:
    """Blocks that add up to more than was in use are not listed."""
    found = series_of(tmp_path, [moment(1, "alloc", 10, 1, 10), moment(2, "alloc", 20, 2, 20)])
    assert (found.basis, held(found)) == ("total", [])


def test_a_truncated_history_is_counted_back_from_the_segments(tmp_path: Path) -> None:
    """What the snapshot holds at its end is exact, so the history gives levels; from 0 it would give others."""
    blocks = segment((4 * MIB, "active_allocated"), (2 * MIB, "inactive"), address=4096, requested_size=4 * MIB - 9)
    history = [
        event("free_completed", 99, 7 * MIB),
        event("alloc", 4096, 4 * MIB - 9),
        event("alloc", 99, MIB),
        event("free_completed", 99, MIB),
        event("segment_alloc", 9999, 2 * MIB),
        event("segment_free", 8888, 3 * MIB),
    ]
    found = snapshot(tmp_path, [blocks], history)
    assert found.basis == "placed"
    ends = [4 * MIB - 9, 4 * MIB - 9]
    levels = [7 * MIB, 0, 4 * MIB - 9, 5 * MIB - 9, 4 * MIB - 9, *ends]
    assert [point.in_use_bytes for point in found.points] == levels
    assert [point.reserved_bytes for point in found.points] == [7 * MIB] * 5 + [9 * MIB, 6 * MIB]
    assert held(found) == [(None, False, None, 7 * MIB)]


def test_blocks_that_the_history_does_not_reach_keep_their_frames(tmp_path: Path) -> None:
    """The user's own frame, not the library's around it, says who holds a block since before the history."""
    frames = [
        {"name": "empty", "filename": "/venv/lib/python3.11/site-packages/torch/x.py", "line": 1},
        {"name": "load", "filename": "/home/me/model.py", "line": 7},
    ]
    old = segment((MIB, "active_allocated"), address=4096, requested_size=MIB)
    old["blocks"][0]["frames"] = frames
    found = snapshot(tmp_path, [old], [event("alloc", 8, 5), event("free_completed", 8, 5)])
    assert held(found) == [("load (/home/me/model.py:7)", False, 1, MIB), ("forward (model.py:3)", True, 1, 5)]


@pytest.mark.parametrize(
    ("segments", "history"),
    [
        (SEGMENTS[:1], [event("alloc", 77, 1)]),
        (SEGMENTS[:1], [event("alloc", 4096, 1), event("free_completed", 4096, 1)]),
        ([SEGMENTS[1]], [event("alloc", 5, 9), event("free_completed", 5, 1)]),
        ([{**SEGMENTS[1], "requested_size": None}], [event("free_completed", 5, 1)]),
    ],
    ids=["lost a free", "lost an allocation", "would be negative", "an old snapshot"],
)
def test_a_history_that_is_not_that_of_the_segments_is_relative(
    tmp_path: Path, segments: Sequence[Any], history: Sequence[Any]
) -> None:
    """Where the end cannot be trusted, nothing absolute is said."""
    assert snapshot(tmp_path, segments, history).basis == "relative"


def test_failed_requests_and_missing_times_are_no_obstacle(tmp_path: Path) -> None:
    """An oom changes nothing, and the order of events stands for times that are not told."""
    timeless = [{name: value for name, value in item.items() if name != "time_us"} for item in HISTORY]
    found = snapshot(tmp_path, SEGMENTS[:1], timeless[1:2] + timeless[4:5])
    assert (found.events, [point.ts_ns for point in found.points]) == (1, [None, None])


@needs_traces
def test_a_real_snapshot_s_peak_is_that_of_an_independent_replay(tmp_path: Path) -> None:
    """Counted back by hand over the pickle: 13,923,997,700 bytes asked for at the peak, 1,373,919,236 at both ends."""
    path = tmp_path / REAL.name
    path.symlink_to(REAL)
    with read(path) as connection:
        (found,) = memory_series(connection)
    assert found.peak is not None
    assert (found.basis, found.events, found.peak.in_use_bytes) == ("placed", 3442, 13_923_997_700)
    assert {found.points[0].in_use_bytes, found.points[-1].in_use_bytes} == {1_373_919_236}
    assert {point.reserved_bytes for point in found.points} == {14_180_941_824}
    largest = found.at_peak[0].asked_by or ""
    assert largest.startswith("forward (")
    assert largest.endswith("model.py:39)")
    assert len(json.dumps([point.in_use_bytes for point in found.points])) < 10_000


@needs_traces
def test_what_lies_free_in_a_snapshot_is_pointed_at(tmp_path: Path) -> None:
    """Of 13,524 MiB 12,210.1 are inactive; whole segments of that, by hand over the pickle, can be given back."""
    path = tmp_path / REAL.name
    path.symlink_to(REAL)
    with REAL.open("rb") as file:
        segments = pickle.load(file)["segments"]  # noqa: S301 - the one that the importer is tested against
    whole = sum(each["total_size"] for each in segments if [block["state"] for block in each["blocks"]] == ["inactive"])
    with read(path) as connection:
        (trace,) = analyse(connection)
    (sentence,) = (each for each in pointers(trace) if each.startswith("Free when"))
    assert "12,210.1 of 13,524.0 MiB reserved on device 0, in blocks of at most 314.0 MiB" in sentence
    assert f"could give back {whole / MIB:,.1f} MiB of it" in sentence


SIZES = st.lists(st.tuples(st.integers(0, 5_000), st.integers(-50, 50)), min_size=401, max_size=900)


@given(changes=SIZES)
@pytest.mark.e2e
def test_thinning_keeps_every_extreme_and_is_bounded(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    """At most 406 points in order; lowest, highest, first and last are those of the whole; none is made up."""
    changes = sorted(changes, key=lambda change: change[0])
    levels, rows = [1_000_000], []
    for number, (at, size) in enumerate(changes):
        levels.append(levels[-1] + size)
        rows.append(moment(at, "alloc" if size >= 0 else "free", abs(size), number, levels[-1]))
    with store(tmp_path_factory.mktemp("store"), allocations=rows, traces=[TRACE]) as connection:
        points = runner.run(connection, "memory_series")
    assert len(points) <= 406
    assert [point["event"] for point in points] == sorted({point["event"] for point in points})
    assert all(levels[point["event"]] == point["in_use_bytes"] for point in points)
    kept = [point["in_use_bytes"] for point in points]
    assert (max(kept), min(kept), kept[0], kept[-1]) == (max(levels), min(levels), levels[0], levels[-1])
    assert [point["event"] for point in points if point["is_peak"]] == [levels.index(max(levels))]
