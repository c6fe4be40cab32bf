"""Idle streams, queues of launches and kernels by what asked for them: by hand, by brute force, and on real traces."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.analyses.device_time import device_time
from toolkit.analyses.kernel_attribution import KernelAttribution, KernelPart, kernel_attribution
from toolkit.analyses.streams import Launches, StreamIdle, launches, stream_idle
from toolkit.ingest import kineto, xplane
from toolkit.ingest.store import StoreWriter, connect

SHARED = Path(__file__).parents[2] / "shared" / "traces"
KINETO = SHARED / "kineto"

Row = dict[str, Any]


def connected(folder: Path, slices: Sequence[Row], traces: Sequence[Row] = ()) -> duckdb.DuckDBPyConnection:
    """A store of these slices, of trace 0 unless they tell another."""
    with StoreWriter(folder) as store:
        store.append_rows("slices", [{"trace": 0, "name": "f"} | row for row in slices])
        store.append_rows("traces", traces)
    return connect(folder)


def span(kind: str, name: str, start: int, end: int, **more: Any) -> Row:
    """A slice of the host's main thread, unless told otherwise."""
    return {"kind": kind, "name": name, "ts_ns": start, "dur_ns": end - start, "thread": "1/1"} | more


def launch(correlation: int, start: int, **more: Any) -> Row:
    """A call that launches a kernel, 2 ns long."""
    return span("launch", "cudaLaunchKernel", start, start + 2, correlation=correlation, **more)


def kernel(correlation: int | None, start: int, end: int, **more: Any) -> Row:
    """A kernel of stream 7 of device 0, unless told otherwise."""
    place = {"thread": None, "device": "0", "stream": "7", "correlation": correlation}
    return span("kernel", "k", start, end) | place | more


def only(connection: duckdb.DuckDBPyConnection) -> KernelAttribution:
    """The attribution of a store with one device."""
    (found,) = kernel_attribution(connection)
    return found


def times(parts: Sequence[KernelPart]) -> dict[str | None, int]:
    """Kernel time by name."""
    return {part.name: part.kernel_ns for part in parts}


# Idle streams


def idle_of(folder: Path, *slices: Row) -> StreamIdle:
    """The one stream of these slices."""
    (found,) = stream_idle(connected(folder, slices))
    return found


@pytest.mark.parametrize(
    ("launched", "started", "parts"),
    [
        (101, 160, (60, 0, 0)),
        (100, 160, (0, 0, 60)),
        (50, 129, (0, 29, 0)),
        (50, 130, (0, 0, 30)),
        (101, 110, (10, 0, 0)),
        (None, 110, (0, 0, 10)),
    ],
    ids=["launched late", "launched in time", "under 30 ns", "30 ns", "launched late, under 30 ns", "no launch"],
)
def test_a_gap_has_one_cause(tmp_path: Path, launched: int | None, started: int, parts: tuple[int, int, int]) -> None:
    """After work that ended at 100, a gap is the host's, the device's own, or other."""
    calls = [launch(1, 0)] + ([launch(2, launched)] if launched is not None else [])
    found = idle_of(tmp_path, *calls, kernel(1, 10, 100), kernel(2, started, 200))
    assert (found.host_wait_ns, found.kernel_wait_ns, found.other_ns) == parts
    assert (found.gaps, found.idle_ns, found.span_ns) == (1, started - 100, 190)


def test_a_gap_begins_where_the_last_of_all_before_ended(tmp_path: Path) -> None:
    """Work that overlaps on one stream is no idle time, and a short slice inside a long one ends nothing."""
    found = idle_of(tmp_path, kernel(1, 0, 100), kernel(2, 10, 20), kernel(3, 50, 110), kernel(4, 150, 160))
    assert (found.gaps, found.idle_ns, found.other_ns) == (1, 40, 40)


def test_streams_idle_apart(tmp_path: Path) -> None:
    """Each stream of each device has its own idle time, the nameless stream too."""
    slices = [
        kernel(None, 0, 10),
        kernel(None, 50, 60),
        kernel(None, 10, 50, stream="8"),
        kernel(None, 0, 5, stream=None),
    ]
    found = stream_idle(connected(tmp_path, slices))
    assert {stream.stream: stream.idle_ns for stream in found} == {"7": 40, "8": 0, None: 0}


CALLS = st.integers(1, 6)
DEVICE_WORK = st.builds(
    lambda correlation, start, length, stream, kind: kernel(
        correlation, start, start + length, stream=stream, kind=kind
    ),
    st.none() | CALLS, st.integers(0, 200), st.integers(0, 40), st.sampled_from(["7", "8"]),
    st.sampled_from(["kernel", "memcpy", "memset"]),
)  # fmt: skip
LAUNCHED = st.dictionaries(CALLS, st.integers(0, 200))


@given(work=st.lists(DEVICE_WORK, min_size=1, max_size=12), launched=LAUNCHED)
def test_causes_of_idleness_sum_to_it(
    tmp_path_factory: pytest.TempPathFactory, work: list[Row], launched: dict[int, int]
) -> None:
    """Whatever overlaps or lacks its launch, idle is what nothing covers, and each gap has the cause by the rule."""
    calls = [launch(*call) for call in launched.items()]
    for stream in stream_idle(connected(tmp_path_factory.mktemp("store"), work + calls)):
        own = [row for row in work if row["stream"] == stream.stream]
        assert stream.slices == len(own)
        assert (stream.idle_ns, stream.span_ns) == idle_by_moments(own)
        parts = causes(own, launched)
        assert (stream.host_wait_ns, stream.kernel_wait_ns, stream.other_ns) == tuple(
            parts[cause] for cause in ("host", "kernel", "other")
        )


def idle_by_moments(work: list[Row]) -> tuple[int, int]:
    """Idle and span, counted."""
    start, end = min(row["ts_ns"] for row in work), max(row["ts_ns"] + row["dur_ns"] for row in work)
    busy = {moment for row in work for moment in range(row["ts_ns"], row["ts_ns"] + row["dur_ns"])}
    return end - start - len(busy), end - start


def causes(work: list[Row], launched: dict[int, int]) -> Counter[str]:
    """Nanoseconds by cause, gap by gap."""
    found: Counter[str] = Counter()
    for start in sorted({row["ts_ns"] for row in work}):
        before = [row["ts_ns"] + row["dur_ns"] for row in work if row["ts_ns"] < start]
        gap = start - max(before, default=start)
        if gap > 0:
            calls = [
                launched[row["correlation"]] for row in work if row["ts_ns"] == start and row["correlation"] in launched
            ]
            late = bool(calls) and min(calls) > start - gap
            found["host" if late else "kernel" if calls and gap < 30 else "other"] += gap
    return found


# Launches


def test_a_launch_waits_until_its_work_starts_behind_those_before_it(tmp_path: Path) -> None:
    """Delay runs from call to start; the queue counts earlier launches to the stream that had not started."""
    slices = [
        launch(1, 0), launch(2, 5), launch(3, 8), launch(4, 9),
        kernel(1, 6, 20), kernel(2, 20, 30), kernel(3, 30, 40), kernel(4, 10, 12, stream="8"), kernel(99, 50, 60),
        launch(5, 70), span("launch", "cudaMemsetAsync", 72, 73, correlation=6),
    ]  # fmt: skip
    without, with_work = sorted(launches(connected(tmp_path, slices)), key=lambda row: row.device or "")
    assert with_work == Launches(
        trace=0, device="0", launches=4, launches_without_work=0, work_without_launch=1, median_delay_ns=6,
        p90_delay_ns=22, max_delay_ns=22, early_starts=0, median_queue=0, max_queue=1,
    )  # fmt: skip
    assert (without.device, without.launches_without_work, without.median_delay_ns) == (None, 1, None)


def test_one_launch_of_many_kernels_is_one_launch(tmp_path: Path) -> None:
    """A graph's kernels share a correlation: its delay ends with the first of them."""
    slices = [launch(1, 0), kernel(1, 7, 9), kernel(1, 9, 30), kernel(1, 30, 31)]
    (found,) = launches(connected(tmp_path, slices))
    assert (found.launches, found.max_delay_ns, found.max_queue) == (1, 7, 0)


@given(work=st.lists(DEVICE_WORK, min_size=1, max_size=12), launched=LAUNCHED)
def test_queues_are_those_of_a_count_launch_by_launch(
    tmp_path_factory: pytest.TempPathFactory, work: list[Row], launched: dict[int, int]
) -> None:
    """Whatever starts before its launch, with it or after, the deepest queue is that of counting at every launch."""
    started: dict[tuple[str, int], int] = {}
    for row in work:
        if row["correlation"] in launched:
            key = (row["stream"], row["correlation"])
            started[key] = min(row["ts_ns"], started.get(key, row["ts_ns"]))
    queues = [
        sum(
            launched[other] < launched[call] < start
            for (other_stream, other), start in started.items()
            if other_stream == stream
        )
        for stream, call in started
    ]
    (found,) = launches(
        connected(tmp_path_factory.mktemp("store"), work + [launch(*call) for call in launched.items()])
    )[:1]
    assert found.max_queue == max(queues, default=None)
    assert found.launches == len({call for _, call in started})
    assert found.work_without_launch == sum(row["correlation"] not in launched for row in work)


# Kernels by what asked for them


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


# What share of each real trace's kernel time no operator is known to have asked for, and why, at most.
UNKNOWN_SHARE = {
    "a100_nccl_rank0": 0,
    "a100_simple_add_cuda_sync": 0,
    "b200_eager_8gpu": 0.001,  # two kernels launched outside operators
    "mi210_gpu_only": 1,  # recorded without the host's operators
    "mi300_bert_small": 0,
    "mi300_ddp_resnet18": 0,
    "mi300_owlv2": 0,
    "mi300_timesformer": 0,
    "mi300_torch_compile_triton": 0,
    "old_resnet50_no_steps_5_streams": 0.016,  # launched between autograd's nodes
    "old_resnet50_toplevel_list": 0.087,  # likewise, and launches before the trace began
    "v100_nccl_memory_large": 0,
    "v100_ns_resolution_rank0": 0,
    "v100_resnet50_steps_memory": 0,
}


needs_traces = pytest.mark.skipif(not KINETO.exists(), reason="the shared traces are not beside the repository")


def imported(trace: str, folder: Path) -> duckdb.DuckDBPyConnection:
    """The store of one shared trace, whose slices can be had otherwise: `slices` is a view of `all_slices`."""
    with StoreWriter(folder) as store:
        kineto.read(KINETO / f"{trace}.pt.trace.json.gz", trace=0, pass_name=None, store=store)
    connection = connect(folder)
    connection.execute("ALTER VIEW slices RENAME TO all_slices; CREATE VIEW slices AS FROM all_slices")
    return connection


@needs_traces
@pytest.mark.parametrize("trace", UNKNOWN_SHARE)
def test_kernel_time_of_real_traces_finds_its_operator(trace: str, tmp_path: Path) -> None:
    """Every kernel is in every list once; what no operator asked for is no more than is known and explained."""
    connection = imported(trace, tmp_path)
    found = kernel_attribution(connection)
    assert [row.kernels for row in found] == [time.kernels for time in device_time(connection) if time.kernels]
    unknown = sum(part.kernel_ns for row in found for part in row.operators if part.name is None)
    assert unknown <= UNKNOWN_SHARE[trace] * sum(row.kernel_sum_ns for row in found)
    assert stream_idle(connection)
    assert launches(connection)


@needs_traces
@pytest.mark.parametrize("trace", ["b200_eager_8gpu", "mi300_ddp_resnet18", "v100_resnet50_steps_memory"])
def test_nesting_finds_the_operators_that_the_trace_names(trace: str, tmp_path: Path) -> None:
    """Without external ids, real traces are attributed just as with them: the two ways confirm each other."""
    connection = imported(trace, tmp_path)
    told = kernel_attribution(connection)
    connection.execute(
        "CREATE OR REPLACE VIEW slices AS SELECT * REPLACE (NULL::BIGINT AS external_id) FROM all_slices"
    )
    assert kernel_attribution(connection) == told


@needs_traces
@pytest.mark.parametrize("trace", ["a100_nccl_rank0", "v100_ns_resolution_rank0"])
@pytest.mark.parametrize(
    ("section", "directions"),
    # the loss and its first gradient are computed by the main thread's own operators
    [("forward", {"forward"}), ("backward", {"forward", "backward"}), ("optimizer", {"optimizer"})],
)
def test_directions_are_those_that_the_user_annotated(
    trace: str, section: str, directions: set[str], tmp_path: Path
) -> None:
    """What was launched in sections that a training script itself annotated has the direction that names them."""
    connection = imported(trace, tmp_path)
    sections = "CREATE TABLE sections AS FROM all_slices WHERE kind = 'annotation' AND name = $1"
    connection.execute(sections, [f"## {section} ##"])
    connection.execute("""
        CREATE OR REPLACE VIEW slices AS
        SELECT s.* FROM all_slices AS s WHERE kind <> 'launch' OR EXISTS (
            FROM sections WHERE s.ts_ns BETWEEN sections.ts_ns AND sections.ts_ns + sections.dur_ns
        )
    """)
    assert {part.name for part in only(connection).directions} - {None} == directions


@needs_traces
@pytest.mark.parametrize(
    ("trace", "known"), [("gpu_cc70_tf_bert", {"Cast", "RandomUniform", "GreaterEqual"}), ("mi300_jax_conv", set())]
)
def test_tensorflow_launches_under_operators_and_jax_does_not(trace: str, known: set[str], tmp_path: Path) -> None:
    """TensorFlow's executor wraps each launch in its operator; JAX's threads run compiled programs, which name none."""
    with StoreWriter(tmp_path) as store:
        xplane.read(SHARED / "xplane" / f"{trace}.xplane.pb", trace=0, pass_name=None, store=store)
    for found in kernel_attribution(connect(tmp_path)):
        names = {part.name for part in found.operators}
        assert names >= known
        assert (None in names) == (not known)
