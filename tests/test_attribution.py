"""Kernels by what asked for them: by hand and by brute force."""

from collections import Counter
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.device_slices import CALLS, DEVICE_WORK, Row, connected, kernel, launch, span, times
from toolkit.analyses.device_time import device_time
from toolkit.analyses.kernel_attribution import KernelAttribution, KernelPart, kernel_attribution
from toolkit.analyses.streams import launches, stream_idle


def only(connection: duckdb.DuckDBPyConnection) -> KernelAttribution:
    """The attribution of a store with one device."""
    (found,) = kernel_attribution(connection)
    return found


def test_kernels_belong_to_the_innermost_operator_around_their_launch(tmp_path: Path) -> None:
    """The innermost operator has the time, the outermost likewise, a call counts once however much it launches."""
    slices = [
        span("op", "aten::linear", 0, 100), span("op", "aten::addmm", 10, 50), span("op", "aten::t", 12, 20),
        launch(1, 30), launch(2, 40), launch(3, 60), kernel(1, 200, 210), kernel(2, 210, 240), kernel(3, 240, 245),
    ]  # fmt: skip
    found = only(connected(tmp_path, slices))
    addmm, linear = found.operators
    assert addmm == KernelPart(name="aten::addmm", calls=1, kernels=2, kernel_ns=40, share=40 / 45)
    assert (linear.name, linear.calls, linear.kernel_ns) == ("aten::linear", 1, 5)
    assert [(part.name, part.calls, part.kernel_ns) for part in found.outermost] == [("aten::linear", 1, 45)]


@pytest.mark.parametrize(
    ("external_id", "operator"),
    [(1, "outer"), (2, "inner"), (3, "inner"), (9, "inner"), (None, "inner"), (4, "inner")],
    ids=["names one around", "names the innermost", "repeats the correlation", "names none", "none", "one long over"],
)
def test_the_trace_names_the_operator_where_it_can_be_so(
    tmp_path: Path, external_id: int | None, operator: str
) -> None:
    """An external id wins over nesting, unless it only repeats the correlation or its operator was not running."""
    slices = [
        span("op", "over", 0, 5, external_id=4), span("op", "outer", 10, 100, external_id=1),
        span("op", "wrong", 15, 90, external_id=3), span("op", "inner", 20, 50, external_id=2),
        launch(3, 30, external_id=external_id), kernel(3, 200, 210),
    ]  # fmt: skip
    assert times(only(connected(tmp_path, slices)).operators) == {operator: 10}


def test_what_nothing_asked_for_is_told(tmp_path: Path) -> None:
    """Kernels without a launch, or launched outside operators or on another thread, stand under NULL."""
    slices = [
        span("op", "aten::add", 0, 10), launch(1, 10), launch(2, 5, thread="1/2"), launch(3, 4),
        kernel(1, 20, 21), kernel(2, 21, 23), kernel(3, 23, 27), kernel(None, 27, 35), kernel(77, 35, 51),
    ]  # fmt: skip
    found = only(connected(tmp_path, slices))
    assert found.operators[0] == KernelPart(name=None, calls=None, kernels=4, kernel_ns=27, share=27 / 31)
    assert times(found.operators) == times(found.outermost) == {None: 27, "aten::add": 4}
    assert times(found.directions) == {None: 27, "forward": 4}


def test_what_pytorch_only_marks_is_no_operator(tmp_path: Path) -> None:
    """Steps, optimizers and data loaders, which old traces hold as operators, launch nothing themselves."""
    marks = [
        ("ProfilerStep#3", 0, 100),
        ("Optimizer.step#SGD.step", 10, 40),
        ("enumerate(DataLoader)#f.__next__", 50, 60),
    ]
    slices = [span("op", *mark) for mark in marks] + [span("op", "aten::add_", 20, 30)]
    slices += [
        launch(1, 15),
        launch(2, 25),
        launch(3, 55),
        kernel(1, 100, 101),
        kernel(2, 101, 103),
        kernel(3, 103, 107),
    ]
    found = only(connected(tmp_path, slices))
    assert times(found.outermost) == {None: 5, "aten::add_": 2}
    assert times(found.directions) == {"optimizer": 3, None: 4}
    assert times(found.steps) == {"3": 7}


def test_directions_are_those_of_training(tmp_path: Path) -> None:
    """The optimizer's annotations, then the engine's operators, wherever they run; the rest is forward."""
    slices = [
        span("annotation", "ProfilerStep#1", 0, 100), span("op", "aten::conv2d", 0, 10),
        span("op", "autograd::engine::evaluate_function: ConvolutionBackward0", 20, 40),
        span("op", "ConvolutionBackward0", 21, 39), span("op", "aten::convolution_backward", 22, 38),
        span("annotation", "Optimizer.zero_grad#SGD.zero_grad", 50, 60), span("op", "aten::zero_", 51, 59),
    ]  # fmt: skip
    slices += [
        launch(1, 5),
        launch(2, 25),
        launch(3, 55),
        kernel(1, 100, 101),
        kernel(2, 101, 103),
        kernel(3, 103, 107),
    ]
    assert times(only(connected(tmp_path, slices)).directions) == {"forward": 1, "backward": 2, "optimizer": 4}


@pytest.mark.parametrize("node", ["CudnnConvolutionBackward", "torch::autograd::AccumulateGrad"])
def test_a_thread_of_the_engine_runs_nothing_but_backward(tmp_path: Path, node: str) -> None:
    """On a thread of autograd's nodes alone, what runs between them, adding gradients up, is backward too."""
    slices = [
        span("op", node, 0, 10, thread="1/2"), span("op", "aten::add", 12, 20, thread="1/2"),
        span("op", "aten::relu", 0, 10), launch(1, 5, thread="1/2"), launch(2, 15, thread="1/2"), launch(3, 5),
        kernel(1, 100, 101), kernel(2, 101, 103), kernel(3, 103, 107),
    ]  # fmt: skip
    assert times(only(connected(tmp_path, slices)).directions) == {"backward": 3, "forward": 4}


def test_tensorflows_operators_go_by_their_type_and_without_direction(tmp_path: Path) -> None:
    """`scope/op:Type` counts under its type, and XPlane tells no direction of training."""
    slices = [span("op", "model/dense/MatMul:MatMul", 0, 10), launch(1, 5), kernel(1, 20, 30)]
    traces = [{"trace": 0, "path": "t", "format": "xplane", "events": 3}]
    found = only(connected(tmp_path, slices, traces))
    assert (times(found.operators), times(found.directions)) == ({"MatMul": 10}, {None: 10})


def test_kernels_belong_to_the_innermost_module(tmp_path: Path) -> None:
    """Of the modules that the Python stack holds, the innermost; other Python frames are none."""
    slices = [
        span("python", "nn.Module: Net_0", 0, 100), span("python", "nn.Module: Linear_1", 10, 50),
        span("python", "net.py(3): forward", 12, 90), launch(1, 20), launch(2, 60), launch(3, 110),
        kernel(1, 120, 121), kernel(2, 121, 123), kernel(3, 123, 127),
    ]  # fmt: skip
    modules = only(connected(tmp_path, slices)).modules
    assert [(part.name, part.calls, part.kernel_ns) for part in modules] == [
        (None, None, 4), ("nn.Module: Net_0", 1, 2), ("nn.Module: Linear_1", 1, 1),
    ]  # fmt: skip


def test_traces_and_devices_are_told_apart(tmp_path: Path) -> None:
    """Equal correlations, threads and external ids of two traces do not meet; a device without kernels has no row."""
    one = [
        span("op", "a", 0, 10, external_id=5),
        launch(1, 4, external_id=5),
        kernel(1, 20, 30),
        kernel(1, 20, 23, device="1"),
    ]
    two = [span("op", "b", 0, 10, external_id=5), launch(1, 4, external_id=5), kernel(1, 20, 25)]
    slices = [*one, *(row | {"trace": 1} for row in two), kernel(None, 0, 5, kind="memcpy", device="2")]
    found = kernel_attribution(connected(tmp_path, slices))
    assert [(row.trace, row.device, times(row.operators)) for row in found] == [
        (0, "0", {"a": 10}), (0, "1", {"a": 3}), (1, "0", {"b": 5}),
    ]  # fmt: skip


def test_a_store_without_kernels_has_none_to_attribute(tmp_path: Path) -> None:
    """An empty store gives no rows rather than an error."""
    connection = connected(tmp_path, [])
    assert (kernel_attribution(connection), stream_idle(connection), launches(connection)) == ([], [], [])


def test_kernels_of_no_duration_have_no_share(tmp_path: Path) -> None:
    """A share of nothing is unknown, not 0."""
    found = only(connected(tmp_path, [kernel(None, 0, 1) | {"dur_ns": None}]))
    assert found.operators == [KernelPart(name=None, calls=None, kernels=1, kernel_ns=0, share=None)]


NAMES = ["aten::a", "MulBackward0", "Optimizer.step#A.step", "ProfilerStep#1", "nn.Module: M_0"]
HOST = st.builds(
    lambda kind, name, start, length, thread, external_id: span(
        kind, name, start, start + length, thread=thread, external_id=external_id
    ),
    st.sampled_from(["op", "op", "annotation", "python"]), st.sampled_from(NAMES), st.integers(0, 40),
    st.integers(0, 25), st.sampled_from(["1/1", "1/2"]), st.none() | st.integers(1, 6),
)  # fmt: skip
LAUNCH = st.builds(
    lambda correlation, start, thread, external_id: launch(correlation, start, thread=thread, external_id=external_id),
    CALLS, st.integers(0, 60), st.sampled_from(["1/1", "1/2"]), st.none() | st.integers(1, 6),
)  # fmt: skip


@given(host=st.lists(HOST | LAUNCH, max_size=20), work=st.lists(DEVICE_WORK, min_size=1, max_size=8))
@pytest.mark.e2e
def test_every_kernel_is_attributed_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, host: list[Row], work: list[Row]
) -> None:
    """However spans overlap and ids repeat, every list holds each kernel once and its whole time."""
    connection = connected(tmp_path_factory.mktemp("store"), host + work)
    whole = {time.device: (time.kernels, time.kernel_sum_ns) for time in device_time(connection) if time.kernels}
    for found in kernel_attribution(connection):
        for parts in (found.operators, found.outermost, found.directions, found.modules, found.steps):
            assert (sum(part.kernels for part in parts), sum(part.kernel_ns for part in parts)) == whole[found.device]
            assert len({part.name for part in parts}) == len(parts)


INTERVAL = st.tuples(st.integers(0, 40), st.integers(0, 25))


@pytest.mark.e2e
@given(
    operators=st.lists(INTERVAL, max_size=12), moments=st.lists(st.integers(0, 70), min_size=1, max_size=6, unique=True)
)
def test_the_innermost_operator_is_the_last_to_begin_of_those_that_run(
    tmp_path_factory: pytest.TempPathFactory, operators: list[tuple[int, int]], moments: list[int]
) -> None:
    """Also where operators of a thread overlap without nesting, as a scan over all of them finds it."""
    ordered = sorted((start, start + length) for start, length in operators)
    slices = [span("op", f"{start}-{end}", start, end) for start, end in ordered]
    slices += [launch(place, moment) for place, moment in enumerate(moments)]
    slices += [kernel(place, 100, 101) for place, _ in enumerate(moments)]
    wanted: Counter[str | None] = Counter()
    for moment in moments:
        running = [(start, -end) for start, end in ordered if start <= moment < end]
        start, end = max(running, default=(0, 0))
        wanted[f"{start}-{-end}" if running else None] += 1
    assert times(only(connected(tmp_path_factory.mktemp("store"), slices)).operators) == dict(wanted)
