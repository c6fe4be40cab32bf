"""Memory by allocator: each one's figures by its own definitions, what the device had, and why where one is missing."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.stores import SHARED, needs_traces, read
from tests.test_analyses import MS, mark, store
from toolkit.analyses.allocator_memory import BFC_FREE, FIGURES, PYTORCH_SPLIT, AllocatorMemory, allocator_memory
from toolkit.reports.allocators import allocator_tables

MIB = 1 << 20
RUN = [mark(0, None, "run", "time", 0, 100), mark(1, 0, "epoch", "train", 0, 90)]
GPU = {"pass_name": "time", "device": "0", "name": "T", "used": True, "mig": False}


def counters(source: str, device: str = "0", at: int = 80, **values: int) -> list[dict[str, Any]]:
    """Readings of one moment, in MiB but for counts."""
    return [
        {"pass_name": "time", "ts_ns": at * MS, "source": source, "device": device, "metric": metric}
        | ({"value": value, "unit": "events"} if metric == "growth_events" else {"value": value * MIB, "unit": "B"})
        for metric, value in values.items()
    ]


def nvml(*readings: tuple[int, int], device: str = "0") -> list[dict[str, Any]]:
    """NVML's memory in MiB at moments in ms."""
    return [row for at, used in readings for row in counters("nvml", device, at, memory_used=used)]


def rows_of(folder: Path, **tables: Any) -> list[AllocatorMemory]:
    """The table of a store."""
    with store(folder, **{"marks": RUN, "gpus": [GPU], **tables}) as connection:
        return allocator_memory(connection)


TORCH = {
    "in_use": 100, "reserved": 300, "peak_in_use": 250, "peak_reserved": 300, "inactive_split": 30, "growth_events": 7,
    "largest_free": 120,
}  # fmt: skip


def test_pytorch_s_counters_and_what_the_device_had_at_their_moment(tmp_path: Path) -> None:
    """The last reading counts; NVML's of that moment less the one before the worker; the rest is unexplained."""
    readings = nvml((-5, 1000), (10, 1900), (79, 1800), (95, 5000))
    early = counters("torch", at=30, in_use=999, reserved=999)
    (row,) = rows_of(tmp_path, counters=[*early, *counters("torch", **TORCH), *readings])
    assert (row.allocator, row.basis, row.in_use_bytes, row.reserved_bytes) == (
        "PyTorch",
        "total",
        100 * MIB,
        300 * MIB,
    )
    assert (row.growth_events, row.largest_free_bytes, row.fragmented_bytes) == (7, 120 * MIB, 30 * MIB)
    assert (row.fragmentation, row.fragmentation_is) == (0.1, PYTORCH_SPLIT)
    assert (row.device_bytes, row.unexplained_bytes) == (800 * MIB, 500 * MIB)
    assert (row.reasons, set(row.told_by.values())) == ({}, {"counters"})


def test_xla_s_fragmentation_is_that_of_bfc(tmp_path: Path) -> None:
    """Free bytes outside the largest free block over free bytes; what memory_stats lacks is said."""
    told = counters("jax", in_use=100, reserved=400, peak_in_use=200, peak_reserved=400, largest_free=240)
    unavailable = [
        {"pass_name": "time", "source": "jax", "device": "0", "metric": "growth_events", "reason": "not counted"},
        {"pass_name": "time", "source": "nvml", "device": None, "metric": "all", "reason": "Driver Not Loaded"},
    ]
    (row,) = rows_of(tmp_path, counters=told, unavailable=unavailable, gpus=[])
    assert (row.fragmented_bytes, row.fragmentation, row.fragmentation_is) == (60 * MIB, 0.2, BFC_FREE)
    assert row.reasons["growth_events"] == "not counted"
    assert row.reasons["device_bytes"] == row.reasons["unexplained_bytes"] == "Driver Not Loaded"
    assert (row.growth_events, row.device_bytes, row.unexplained_bytes) == (None, None, None)


def test_what_the_counters_lack_a_trace_of_the_same_allocator_tells(tmp_path: Path) -> None:
    """TensorFlow's events tell BFC's fragmentation, its counters the levels; each figure says who told it."""
    trace = {"trace": 0, "pass_name": "time", "path": "t", "format": "xplane", "events": 1}
    event = {"trace": 0, "pass_name": "time", "device": "0", "allocator": "GPU_0_bfc", "ts_ns": 50 * MS}
    event |= {"action": "alloc", "bytes": 1, "address": 1, "in_use_bytes": 9, "fragmentation": 0.25}
    told = counters("tf", in_use=100, peak_in_use=250)
    (row,) = rows_of(tmp_path, counters=[*told, *nvml((-5, 0), (80, 700))], traces=[trace], allocations=[event])
    assert (row.allocator, row.in_use_bytes, row.fragmentation) == ("TensorFlow GPU_0_bfc", 100 * MIB, 0.25)
    assert (row.told_by["in_use_bytes"], row.told_by["fragmentation"]) == ("counters", "trace")
    assert row.reasons["reserved_bytes"] == "neither get_memory_info nor the trace's events tell it"
    assert row.unexplained_bytes == 600 * MIB


def test_a_snapshot_tells_how_often_the_pool_grew(tmp_path: Path) -> None:
    """Segments got from the driver are growth events; largest free block and fragmentation are the segments'."""
    trace = {"trace": 0, "pass_name": "time", "path": "t", "format": "torch_memory_snapshot", "events": 2}
    base = {"trace": 0, "pass_name": "time", "device": "0"}
    segment = {"address": 0, "stream": "0", "type": "large", "total_bytes": 100, "allocated_bytes": 40}
    segment |= {"active_bytes": 40, "requested_bytes": 40, "blocks": 2, "largest_free_bytes": 60}
    events = [
        base | {"ts_ns": 1, "action": "segment_alloc", "bytes": 100, "address": 0},
        base | {"ts_ns": 2, "action": "alloc", "bytes": 40, "address": 0},
    ]
    held = base | {"address": 0, "bytes": 40, "requested_bytes": 40}
    (row,) = rows_of(tmp_path, traces=[trace], allocations=events, segments=[base | segment], blocks=[held])
    assert (row.framework, row.growth_events, row.largest_free_bytes, row.fragmentation) == ("torch", 1, 60, 0.6)
    assert (row.in_use_bytes, row.reserved_bytes, row.told_by["reserved_bytes"]) == (40, 100, "snapshot")


@pytest.mark.parametrize(
    ("gpus", "device"),
    [([GPU], 800), ([GPU | {"device": "1", "used": False}, GPU], 800), ([GPU | {"mig": True}], None), ([], None)],
    ids=["one", "another unused", "split into instances", "none"],
)
def test_only_a_gpu_of_the_run_s_own_is_held_against_the_allocator(
    tmp_path: Path, gpus: list[dict[str, Any]], device: int | None
) -> None:
    """A GPU that is split, or not the run's, says nothing of what the worker took."""
    readings = [*nvml((-5, 1000), (79, 1800)), *nvml((-5, 0), (79, 9), device="1")]
    (row,) = rows_of(tmp_path, counters=[*counters("torch", **TORCH), *readings], gpus=gpus)
    assert row.device_bytes == (None if device is None else device * MIB)


def test_on_the_host_growth_is_marked_and_silence_has_its_reason(tmp_path: Path) -> None:
    """PyTorch's host count begins with the profiler; beside it what was resident. A silent pass says why."""
    trace = {"trace": 0, "pass_name": "profile", "path": "t", "format": "kineto", "events": 1}
    event = {"trace": 0, "pass_name": "profile", "device": "cpu", "ts_ns": 50 * MS, "action": "alloc", "bytes": 4 * MIB}
    resident = {
        "pass_name": "profile",
        "ts_ns": 45 * MS,
        "source": "host",
        "metric": "rss",
        "value": 300 * MIB,
        "unit": "B",
    }
    silent = {"source": "torch", "device": "cpu", "metric": "allocator", "reason": "no counters"}
    time, profile = rows_of(
        tmp_path, traces=[trace], allocations=[event | {"address": 1, "in_use_bytes": 4 * MIB}], counters=[resident],
        unavailable=[silent | {"pass_name": name} for name in ("time", "profile")], gpus=[],
    )  # fmt: skip
    assert (time.in_use_bytes, time.reasons["in_use_bytes"], time.told_by) == (None, "no counters", {})
    assert (profile.basis, profile.in_use_bytes, profile.unexplained_bytes) == ("growth", 4 * MIB, 296 * MIB)
    console = Console(width=80, record=True)
    console.print(*allocator_tables([time, profile]))
    shown = console.export_text()
    assert "+4.0ᵗ" in shown
    assert "Not told of PyTorch, time pass" in shown


@needs_traces
@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("xplane/gpu_cc70_tf_bert.xplane.pb", {("GPU_1_bfc", 4_013_344_768, None), ("gpu_host_bfc", 605_696, None)}),
        ("kineto/v100_nccl_memory_large.pt.trace.json.gz", {("PyTorch", 4_096_614_400, 12_782_141_440)}),
        ("memory/cuda_memory_snapshot.pickle", {("PyTorch", 1_373_919_236, 14_180_941_824)}),
    ],
)
def test_real_traces_tell_their_allocators(
    file: str, expected: set[tuple[str, int, int | None]], tmp_path: Path
) -> None:
    """In use and reserved at their ends, each figure that is missing with a reason, and no other."""
    path = tmp_path / Path(file).name
    path.symlink_to(SHARED / file)
    with read(path) as connection:
        found = allocator_memory(connection)
    levels = {(row.allocator, row.in_use_bytes, row.reserved_bytes) for row in found}
    assert expected <= levels
    for row in found:
        missing = {name for name in (*FIGURES, "device_bytes", "unexplained_bytes") if getattr(row, name) is None}
        assert set(row.reasons) == missing


def test_live_arrays_stand_in_where_jax_tells_nothing(tmp_path: Path) -> None:
    """On a CPU JAX's allocator is silent: the arrays' sum is what is in use, and is named as such."""
    reason = {"pass_name": "time", "source": "jax", "device": "cpu", "metric": "allocator", "reason": "is None"}
    (row,) = rows_of(tmp_path, counters=counters("jax", "cpu", live_arrays=3), unavailable=[reason], gpus=[])
    assert (row.in_use_bytes, row.told_by) == (3 * MIB, {"in_use_bytes": "live_arrays"})
    assert row.reasons["reserved_bytes"] == "is None"
