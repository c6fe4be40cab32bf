"""What XPlane events become: kinds, categories, launches, allocations."""

from pathlib import Path

import pytest

from tests.stores import rows
from tests.xplane_traces import RICH, event, plane, read, space, start
from toolkit.ingest import xplane_names
from toolkit.ingest.xplane_schema import message_class


def test_device_work_is_told_apart(tmp_path: Path) -> None:
    """Kernel, copy or set by what the event tells; its category by XLA's own where told; bytes where told and not 0."""
    columns = "kind, category, bytes, correlation, device, stream, thread"
    connection = read(RICH, tmp_path)
    assert rows(connection, f"SELECT {columns} FROM slices WHERE device IS NOT NULL ORDER BY ts_ns") == [  # noqa: S608 - the text is ours
        ("kernel", "gemm", None, 11, "5", "14", None),
        ("memcpy", "memcpy", 655_360, 12, "5", "14", None),
        ("memcpy", "memcpy", None, 13, "5", "14", None),
        ("memset", "memset", 64, None, "5", "14", None),
        ("kernel", "conv", None, 14, "5", "14", None),
        ("device_annotation", None, None, None, "5", "14", None),
    ]


def test_a_category_shared_by_all_events_of_a_name_counts(tmp_path: Path) -> None:
    """XLA writes `hlo_category` with the name rather than with each event."""
    content = plane(
        "/device:GPU:0", {"1:Stream #1(Compute)": [event("input_fusion_3", 1, 2, hlo_category="all-reduce")]}
    )
    made = message_class("XPlane").FromString(content)
    line = message_class("XLine").FromString(made.lines[0])
    told = message_class("XEvent").FromString(line.events[0])
    made.event_metadata[0].value.stats.append(told.stats.pop())
    line.events[0] = told.SerializeToString()
    made.lines[0] = line.SerializeToString()
    connection = read(space(made.SerializeToString()), tmp_path)
    assert rows(connection, "SELECT category FROM slices") == [("communication",)]


@pytest.mark.parametrize(
    ("hlo", "kernel", "expected"),
    [
        ("loop fusion", "loop_add_fusion", "fused"), ("convolution", "sm80_xmma", "conv"),
        ("reduce-window", "k", "pool"), ("custom-call", "ampere_sgemm", "gemm"),
        ("all-gather", "k", "communication"), ("copy", "k", "elementwise"),
        ("while", "k", "other"), (None, "ncclDevKernel_AllReduce", "communication"),
    ],
)  # fmt: skip
def test_xla_work_goes_by_its_hlo_category(hlo: str | None, kernel: str, expected: str) -> None:
    """XLA's words come before the kernel's name, which decides for what runs another library's kernels."""
    assert xplane_names.device_category(xplane_names.KERNEL, kernel, hlo) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gradient_tape/sequential/dense_1/MatMul/MatMul_1:_MklMatMul", "op"),
        ("while/body/_1/while/add_1:AddV2", "op"),
        ("EagerLocalExecute: MatMul", "op"),
        ("EagerLocalExecute: __inference_step_182", "annotation"),
        ("__inference_step_52:__inference_step_52", "annotation"),
        ("IteratorGetNextOp::DoCompute", "annotation"),
        ("hwprof.step.12", "annotation"),
        ("phase: Train", "annotation"),
        ("$builtins isinstance", "python"),
        ("$<frozen importlib._bootstrap>:1053 _handle_fromlist", "python"),
        ("cuMemcpyHtoDAsync_v2", "launch"),
        ("hipExtModuleLaunchKernel", "launch"),
        ("custom", "annotation"),
        ("ThreadpoolListener::Record", "overhead"),
        ("MemoryDeallocation", "memory"),
    ],
)
def test_host_events_are_told_apart_by_name(name: str, expected: str) -> None:
    """Operators, the driver's calls, Python frames and the profiler's own hooks have names of their own forms."""
    assert xplane_names.KINDS[xplane_names.host_kind(name)] == expected


def test_stats_tell_what_a_host_event_s_name_does_not(tmp_path: Path) -> None:
    """A correlation makes a launch, an HLO instruction an operator, a step number a step marker."""
    events = [
        event("loop_fusion", 1_000, correlation_id=4, hlo_op="&loop_fusion"),
        event("dot.3", 2_000, hlo_op="&dot.3"),
        event("train", 3_000, _r=1, step_num=0),
        event("train", 4_000),
    ]
    connection = read(space(plane("/host:CPU", {"-3:main": events}), start()), tmp_path)
    assert rows(connection, "SELECT kind, step_num, correlation, thread FROM slices ORDER BY ts_ns") == [
        ("launch", None, 4, "-3:main"), ("op", None, None, "-3:main"),
        ("annotation", 0, None, "-3:main"), ("annotation", None, None, "-3:main"),
    ]  # fmt: skip


def test_an_event_without_a_name_has_none(tmp_path: Path) -> None:
    """A number that the plane does not name is no name."""
    made = message_class("XPlane").FromString(plane("/host:CPU", {"1:main": [event("a"), event("b", 1_000)]}))
    del made.event_metadata[0]
    connection = read(space(made.SerializeToString(), start()), tmp_path)
    assert rows(connection, "SELECT name FROM slices ORDER BY ts_ns") == [(None,), ("b",)]
