"""What asked for each allocation: by hand, and on real traces."""

from pathlib import Path
from typing import Any

import pytest

from tests.device_slices import span
from tests.stores import needs_traces, shared
from toolkit.analyses import runner
from toolkit.analyses.allocated_by import AllocatedBy, allocated_by
from toolkit.ingest.store import StoreWriter, connect

SLICES = [
    span("op", "aten::mm", 0, 100), span("op", "aten::empty", 10, 20), span("op", "aten::empty", 110, 120),
    span("op", "autograd::engine::evaluate_function: MmBackward0", 200, 300), span("op", "aten::mm", 210, 290),
    span("annotation", "Optimizer.step#SGD.step", 400, 500), span("op", "aten::add_", 410, 450),
]  # fmt: skip


def asked(folder: Path, *allocations: dict[str, Any], form: str = "kineto") -> list[AllocatedBy]:
    """What asked for these, of 8 bytes each on device 0 unless told otherwise."""
    usual = {"trace": 0, "action": "alloc", "bytes": 8, "device": "0", "thread": "1/1"}
    with StoreWriter(folder) as store:
        store.append_rows("slices", [{"trace": 0} | row for row in SLICES])
        store.append_rows("allocations", [usual | row for row in allocations])
        store.append_rows("traces", [{"trace": 0, "path": "t", "format": form, "events": 1}])
    with connect(folder) as connection:
        return allocated_by(connection)


def test_memory_events_belong_to_the_operator_that_does_more_than_allocate(tmp_path: Path) -> None:
    """The innermost around the moment on its thread, in its direction; what no operator asked for is not told."""
    moments = [15, 50, 115, 220, 420, 600]
    found = asked(tmp_path, *({"ts_ns": at} for at in moments), {"ts_ns": 15, "thread": "1/2"})
    assert {(one.asked_by, one.direction): (one.allocations, one.bytes) for one in found} == {
        ("aten::mm", "forward"): (2, 16), ("aten::mm", "backward"): (1, 8), ("aten::add_", "optimizer"): (1, 8),
        (None, None): (3, 24),
    }  # fmt: skip


def test_what_an_allocation_says_itself_counts(tmp_path: Path) -> None:
    """TensorFlow tells the operator, whose layers' numbers stand as *, a snapshot the program's line."""
    told = [{"op": "layer_1/MatMul"}, {"op": "layer_2/MatMul"}, {"frame": "f (a.py:1)"}]
    found = asked(tmp_path, *({"ts_ns": 15} | row for row in told), form="xplane")
    names = {one.asked_by: one.allocations for one in found}
    assert names == {"layer_*/MatMul": 2, "f (a.py:1)": 1}


def test_allocators_frees_and_unknown_sizes_are_told_apart(tmp_path: Path) -> None:
    """Each allocator has its own, frees ask for nothing, and no size is no bytes."""
    rows = [{"device": "1"}, {"device": None, "allocator": "bfc"}, {"action": "free"}, {"bytes": None}]
    found = asked(tmp_path, *({"ts_ns": 15} | row for row in rows))
    assert {(one.device, one.allocator): (one.allocations, one.bytes) for one in found} == {
        ("1", None): (1, 8), (None, "bfc"): (1, 8), ("0", None): (1, 0),
    }  # fmt: skip


@needs_traces
@pytest.mark.parametrize(
    ("file", "not_told"),
    [
        ("kineto/v100_nccl_memory_large.pt.trace.json.gz", 0.000001),
        ("kineto/mi300_owlv2.pt.trace.json.gz", 0.001),
        ("kineto/v100_resnet50_steps_memory.pt.trace.json.gz", 0.001),
        ("xplane/gpu_cc70_tf_bert.xplane.pb", 0.02),
    ],
)
def test_real_allocations_find_what_asked_for_them(
    file: str, not_told: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All together they are what the allocators allocated, and hardly any is of nobody."""
    connection = shared(file, tmp_path_factory)
    found = allocated_by(connection)
    whole = {(row["device"], row["allocator"]): row["allocated_bytes"] for row in runner.run(connection, "allocations")}
    for (device, allocator), size in whole.items():
        assert sum(one.bytes for one in found if (one.device, one.allocator) == (device, allocator)) == size
    unknown = sum(one.bytes for one in found if one.asked_by is None)
    assert unknown <= not_told * sum(whole.values())
