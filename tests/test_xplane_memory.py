"""The allocator's events of XPlane traces: every field that they tell, by hand and on real traces."""

from pathlib import Path

from tests.stores import needs_traces, rows
from tests.xplane_traces import START_NS, event, imported, plane, read, space, start

ACCOUNT = "ts_ns, device, allocator, action, bytes, address, in_use_bytes, reserved_bytes, op, fragmentation"
MORE = "thread, requested_bytes, available_bytes, peak_in_use_bytes, region, shape"


def test_allocations_are_the_allocator_s_own_account(tmp_path: Path) -> None:
    """Device by the allocator's name; a reservation of 0 beside memory in use is not told; no slice is made of them."""
    told = {"allocation_bytes": 512, "addr": 140_113_245_896_704, "bytes_allocated": 2_048, "bytes_reserved": 0}
    more = {"fragmentation": 0.25, "tf_op": "&dense/MatMul"}
    events = [
        event("MemoryAllocation", 1_000, allocator_name="&GPU_3_bfc", **told, **more),
        event(
            "MemoryDeallocation", 2_000, allocator_name="mklcpu", **(told | {"bytes_reserved": 4_096}), tf_op="(null)"
        ),
        event("MemoryDeallocation", 3_000, allocator_name="somebody's", fragmentation=0),
    ]
    connection = read(space(plane("/host:CPU", {"1:main": events}), start()), tmp_path)
    assert rows(connection, f"SELECT {ACCOUNT} FROM allocations ORDER BY ts_ns") == [  # noqa: S608 - the text is ours
        (START_NS + 1, "3", "GPU_3_bfc", "alloc", 512, told["addr"], 2_048, None, "dense/MatMul", 0.25),
        (START_NS + 2, "cpu", "mklcpu", "free", 512, told["addr"], 2_048, 4_096, None, None),
        (START_NS + 3, None, "somebody's", "free", None, None, None, None, None, 0.0),
    ]
    assert rows(connection, "SELECT count(*) FROM slices") == [(0,)]


def test_allocations_tell_what_was_asked_for_and_by_which_thread(tmp_path: Path) -> None:
    """What was asked for beside the block that was given, what is left, the most ever in use, and of what tensor."""
    told = {"requested_bytes": 500, "bytes_available": 9_000, "peak_bytes_in_use": 4_096, "shape": "[4,384]"}
    events = [
        event("MemoryAllocation", 1_000, **told, region_type="&dynamic"),
        event("MemoryAllocation", 2_000, region_type="(null)", shape=""),
    ]
    connection = read(space(plane("/host:CPU", {"7:tf_Compute/7": events}), start()), tmp_path)
    assert rows(connection, f"SELECT {MORE} FROM allocations ORDER BY ts_ns") == [  # noqa: S608 - the text is ours
        ("7:tf_Compute/7", 500, 9_000, 4_096, "dynamic", "[4,384]"),
        ("7:tf_Compute/7", None, None, None, None, None),
    ]


@needs_traces
def test_a_real_allocator_s_account_agrees_with_itself(tmp_path: Path) -> None:
    """TensorFlow's BFC allocators: no block smaller than asked for, never more in use than their own peak."""
    connection = imported("xplane/gpu_cc70_tf_bert.xplane.pb", tmp_path)
    query = """
        SELECT count(*), count(*) FILTER (bytes < requested_bytes OR in_use_bytes > peak_in_use_bytes),
            count(*) FILTER (allocator LIKE 'GPU_%' AND (available_bytes IS NULL OR address IS NULL))
        FROM allocations
    """
    assert rows(connection, query) == [(2493, 0, 0)]
