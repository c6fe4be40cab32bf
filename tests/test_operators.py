"""Host time by operator: own and total, by direction of training; by hand, by brute force and on real traces."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.device_slices import connected, span
from tests.stores import needs_traces, shared
from toolkit.analyses import operators
from toolkit.analyses.operators import OperatorTime

Spans = Sequence[tuple[str, str, int, int]]


def times(folder: Path, spans: Spans) -> dict[str, OperatorTime]:
    """Each operator of spans given as thread, name, start and end in this order."""
    slices = [span("op", name, start, end, thread=thread) for thread, name, start, end in spans]
    return {time.operator: time for time in operators.operator_times(connected(folder, slices))}


def own_times(folder: Path, spans: Spans) -> dict[str, int]:
    """Own time of each operator."""
    return {name: time.self_ns for name, time in times(folder, spans).items()}


def test_own_time_leaves_out_the_operators_inside(tmp_path: Path) -> None:
    """An operator's own time is its duration less its children's, on each thread apart."""
    spans = [
        ("a", "outer", 0, 100), ("a", "inner", 10, 40), ("a", "innermost", 20, 30), ("a", "next", 100, 110),
        ("b", "other thread", 15, 35),
    ]  # fmt: skip
    own = {"outer": 70, "inner": 20, "innermost": 10, "next": 10, "other thread": 20}
    assert own_times(tmp_path, spans) == own


@given(spans=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(0, 30)), max_size=15))
def test_own_times_of_a_nested_thread_sum_to_its_union(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[str, int, int]]
) -> None:
    """Where operators nest, in whatever order they are stored, own times sum to what any covers; none is negative."""
    nested: list[tuple[str, str, int, int]] = []
    for thread, start, length in spans:
        end = start + length
        others = [(a, b) for other, _, a, b in nested if other == thread]
        if all(end <= a or start >= b or (a <= start and end <= b) or (start <= a and b <= end) for a, b in others):
            nested.append((thread, f"{len(nested)}", start, end))
    own = own_times(tmp_path_factory.mktemp("store"), nested)
    moments = {(thread, moment) for thread, _, start, end in nested for moment in range(start, end)}
    assert sum(own.values()) == len(moments)
    assert all(ns >= 0 for ns in own.values())


@given(
    spans=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 30), st.integers(0, 30)), max_size=15
    )
)
def test_total_time_counts_a_moment_of_a_thread_once(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[str, str, int, int]]
) -> None:
    """Where an operator calls itself, as PyTorch's do through the dispatcher, its total is still no more than ran."""
    nested: list[tuple[str, str, int, int]] = []
    for thread, name, start, length in spans:
        end = start + length
        others = [(a, b) for other, _, a, b in nested if other == thread]
        if all(end <= a or start >= b or (a <= start and end <= b) or (start <= a and b <= end) for a, b in others):
            nested.append((thread, name, start, end))
    for name, found in times(tmp_path_factory.mktemp("store"), nested).items():
        own = [(thread, start, end) for thread, other, start, end in nested if other == name]
        assert found.calls == len(own)
        assert found.total_ns == len({(thread, moment) for thread, *bounds in own for moment in range(*bounds)})


def test_operators_on_the_host_have_directions(tmp_path: Path) -> None:
    """Within the optimizer's mark, within autograd's operators or on the engine's own thread, else forward."""
    slices = [
        span("annotation", "ProfilerStep#1", 0, 100), span("op", "aten::mul", 0, 10),
        span("op", "autograd::engine::evaluate_function: MulBackward0", 20, 40), span("op", "aten::mul", 22, 30),
        span("annotation", "Optimizer.step#SGD.step", 50, 60), span("op", "aten::mul", 51, 55),
        span("op", "MulBackward0", 0, 10, thread="1/2"), span("op", "aten::mul", 12, 13, thread="1/2"),
    ]  # fmt: skip
    found = {time.operator: time.directions for time in operators.operator_times(connected(tmp_path, slices))}
    assert found["aten::mul"] == {"forward": 10, "backward": 8 + 1, "optimizer": 4}
    assert found["autograd::engine::evaluate_function: MulBackward0"] == {"backward": 12}


def test_what_pytorch_only_marks_takes_no_time_of_its_own(tmp_path: Path) -> None:
    """Steps, optimizers and data loaders, which old traces hold as operators, are none."""
    spans = [("a", "ProfilerStep#7", 0, 100), ("a", "Optimizer.step#SGD.step", 10, 50), ("a", "aten::add_", 20, 30)]
    assert own_times(tmp_path, spans) == {"aten::add_": 10}


def test_xplanes_operators_tell_their_direction_themselves(tmp_path: Path) -> None:
    """The importer's category is taken as it is, and what it lacks is not told."""
    slices = [span("op", "a/MatMul:MatMul", 0, 10, category="forward"), span("op", "b/MatMul:MatMul", 10, 30)]
    traces = [{"trace": 0, "path": "t", "format": "xplane", "events": 2}]
    (found,) = operators.operator_times(connected(tmp_path, slices, traces))
    assert found.directions == {"forward": 10, None: 20}


@needs_traces
@pytest.mark.parametrize(
    ("trace", "forward", "backward"),
    [
        ("a100_nccl_rank0", "aten::cudnn_convolution", "aten::convolution_backward"),
        ("v100_resnet50_steps_memory", "aten::cudnn_convolution", "aten::cudnn_convolution_backward_weight"),
        ("old_resnet50_no_steps_5_streams", "aten::cudnn_convolution", "aten::cudnn_convolution_backward_weight"),
    ],
)
def test_real_operators_run_in_their_direction(
    trace: str, forward: str, backward: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Forward and backward operators are told apart, and own time sums to itself over the directions."""
    store = shared(f"kineto/{trace}.pt.trace.json.gz", tmp_path_factory)
    found = {time.operator: time for time in operators.operator_times(store)}
    assert all(sum(time.directions.values()) == time.self_ns for time in found.values())
    assert all(0 <= time.self_ns <= time.total_ns for time in found.values())
    assert (set(found[forward].directions), set(found[backward].directions)) == ({"forward"}, {"backward"})
    assert {"forward", "backward", "optimizer"} <= {name for time in found.values() for name in time.directions}


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("aten::conv2d", "aten::conv2d"),
        ("model/conv1/Conv2D:Conv2D", "Conv2D"),
        ("Adam.step", "Adam.step"),
        ("x:", "x:"),
        ("Iterator:: Map", "Iterator:: Map"),
    ],
)
def test_operators_are_named_by_type(name: str, operator: str) -> None:
    """XPlane's scope/op:Type counts under its type; PyTorch's double colon is part of the name."""
    assert operators.operator_name(name) == operator
