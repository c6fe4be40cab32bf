"""What puts an XPlane trace in doubt, and what is said of it."""

from pathlib import Path
from typing import Any

from tests.stores import rows
from tests.xplane_traces import event, plane, read, space, start


def doubts(*planes: bytes, folder: Path, **more: Any) -> list[tuple[Any, ...]]:
    """Code, count and whether it makes the trace untrusted, of each warning."""
    return rows(read(space(*planes, start(), **more), folder), "SELECT code, count, untrusted FROM warnings")


def test_what_the_profiler_says_it_lost_is_kept(tmp_path: Path) -> None:
    """Errors and lost events make a trace untrusted; other remarks do not."""
    warnings = ["1234 events dropped, out of 3 buffers", "No device was profiled"]
    found = doubts(plane("/host:CPU", {}), folder=tmp_path, errors=["CUPTI is busy"], warnings=warnings)
    assert found == [("profiler_error", 1, True), ("dropped_events", 1234, True), ("profiler_warning", 1, False)]


def test_gpus_without_a_kernel_are_in_doubt(tmp_path: Path) -> None:
    """A trace that lists GPUs and holds no kernel did not record them."""
    stream = [event("MemcpyH2D", 1, 2, memcpy_details="size:4")]
    planes = [plane("/device:GPU:0", {"1:Stream #1(MemcpyH2D)": stream}), plane("/device:GPU:1", {})]
    assert doubts(*planes, folder=tmp_path) == [("no_kernels", 2, True)]


def test_causality_is_checked(tmp_path: Path) -> None:
    """Work before its launch, launches of kernels that never ran, work that nobody launched; copies may run nothing."""
    launches = [
        event("cuLaunchKernel", 5_000, 10, correlation_id=1), event("cuLaunchKernel", 6_000, 10, correlation_id=2),
        event("cuMemcpyHtoDAsync_v2", 7_000, 10, correlation_id=3), event("sgemm", 8_000, 10, correlation_id=4),
    ]  # fmt: skip
    work = [event("sgemm", 4_000, 10, correlation_id=1), event("sgemm", 9_000, 10, correlation_id=9)]
    planes = [plane("/host:CPU", {"1:main": launches}), plane("/device:GPU:0", {"1:Stream #1(Compute)": work})]
    assert doubts(*planes, folder=tmp_path) == [
        ("clock_violation", 1, True), ("unmatched_launch", 2, True), ("unlaunched_work", 1, False),
    ]  # fmt: skip


def test_lines_that_are_not_analysed_are_said(tmp_path: Path) -> None:
    """A plane of another accelerator is listed by line, and its events are counted as not read."""
    content = plane("/device:CUSTOM:NPU", {"1:queue": [event("a", 1, 2), event("b", 3, 4)]})
    connection = read(space(content, start()), tmp_path)
    assert rows(connection, "SELECT code, count, untrusted FROM warnings") == [("other_lines", 2, False)]
    assert rows(connection, "SELECT plane, line, derived, events FROM lines") == [
        ("/device:CUSTOM:NPU", "1:queue", False, 2)
    ]
