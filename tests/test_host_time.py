"""Operators' time on the host by step and module: by hand, by brute force and on a real trace."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.device_slices import connected, span
from tests.stores import needs_traces, shared
from toolkit.analyses.host_time import HostPart, HostTime, host_times
from toolkit.analyses.operators import operator_times
from toolkit.reports.host_time import host_time_tables


def by_name(parts: list[HostPart]) -> dict[str | None, int]:
    """Time by name."""
    return {part.name: part.ns for part in parts}


def only(folder: Path, *slices: dict[str, object]) -> HostTime:
    """Of the only trace."""
    (found,) = host_times(connected(folder, slices, [{"trace": 0, "format": "kineto"}]))
    return found


def test_time_belongs_to_the_innermost_module_around_the_operator(tmp_path: Path) -> None:
    """Where one module ended inside another that still runs, the outer has what follows; other threads have none."""
    found = only(
        tmp_path,
        span("python", "nn.Module: Net_0", 0, 100), span("python", "nn.Module: Conv2d_0", 10, 30),
        span("op", "a", 12, 28), span("op", "inside a", 14, 20), span("op", "b", 40, 45), span("op", "c", 110, 111),
        span("op", "backward", 10, 20, thread="1/2"),
    )  # fmt: skip
    assert found.ns == 32
    assert by_name(found.modules) == {"nn.Module: Conv2d_0": 16, None: 11, "nn.Module: Net_0": 5}


def test_time_belongs_to_the_step_in_which_the_operator_began(tmp_path: Path) -> None:
    """On every thread; PyTorch's marks are no operators, in old traces neither."""
    found = only(
        tmp_path,
        span("annotation", "ProfilerStep#1", 0, 50), span("annotation", "ProfilerStep#2", 50, 100),
        span("op", "Optimizer.step#SGD.step", 0, 99), span("op", "a", 5, 10), span("op", "b", 45, 60),
        span("op", "c", 70, 71, thread="1/2"), span("op", "d", 100, 107),
    )  # fmt: skip
    assert by_name(found.steps) == {"1": 20, "2": 1, None: 7}


def test_compiled_modules_are_told_by_the_operators_themselves(tmp_path: Path) -> None:
    """XLA's operators name theirs."""
    found = only(tmp_path, span("op", "dot", 0, 8, module="jit_step"), span("op", "add", 8, 9))
    assert by_name(found.modules) == {"jit_step": 8, None: 1}


@given(
    spans=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(1, 30)), min_size=1, max_size=12)
)
def test_the_whole_is_what_operators_cover(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[str, int, int]]
) -> None:
    """However they overlap, each moment of a thread counts once."""
    slices = [span("op", "f", start, start + length, thread=thread) for thread, start, length in spans]
    moments = {(thread, moment) for thread, start, length in spans for moment in range(start, start + length)}
    assert only(tmp_path_factory.mktemp("store"), *slices).ns == len(moments)


@needs_traces
def test_a_real_trace_on_the_processor(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its five steps hold time each, and the whole is that of all operators' own times, which nest there."""
    store = shared("kineto/cpu_only_rank34.pt.trace.json.gz", tmp_path_factory)
    (found,) = host_times(store)
    assert found.ns == sum(time.self_ns for time in operator_times(store))
    assert len([part for part in found.steps if part.name]) == 5


def test_the_report_sums_modules_of_one_class() -> None:
    """Under the class's name and their number, with the whole below."""
    parts = [HostPart(name=f"nn.Module: Conv2d_{number}", ns=10**6, share=0.25) for number in range(3)]
    time = HostTime(trace=0, ns=4 * 10**6, modules=[*parts, HostPart(name=None, ns=10**6, share=0.25)], steps=[])
    console = Console(width=100, record=True)
    console.print(*host_time_tables(time, by_class=True))
    text = console.export_text()
    assert "Conv2d ×3" in text
    assert "75.0%" in text
    assert "not told" in text
