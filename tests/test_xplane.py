"""The XPlane importer: exact on real traces, one clear error on every damaged one, on the clock of what it traced."""

import contextlib
import gzip
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.capture import venvs
from toolkit.clock import ps_to_ns
from toolkit.errors import HwprofError
from toolkit.ingest import xplane, xplane_names
from toolkit.ingest.store import StoreWriter, connect
from toolkit.ingest.xplane_clock import place_ns
from toolkit.ingest.xplane_events import MOST_PS
from toolkit.ingest.xplane_intake import span_figures
from toolkit.ingest.xplane_schema import message_class, tags_of
from toolkit.ingest.xplane_wire import Messages

REPO = Path(__file__).parents[1]
SHARED = REPO.parent / "shared" / "traces"
FIGURES = json.loads((SHARED / "expected.json").read_text()) if (SHARED / "expected.json").exists() else {}
EXPECTED: dict[str, dict[str, Any]] = FIGURES.get("xplane", {})
REJECTED: list[str] = [name for name in FIGURES.get("must_be_rejected", []) if name.endswith(".xplane.pb")]
needs_traces = pytest.mark.skipif(not EXPECTED, reason="the shared traces are not beside the repository")

PASS = "profile"
START_NS = 1_757_516_928_109_201_518
Trained = tuple[duckdb.DuckDBPyConnection, list[tuple[int, int]]]


def stat(names: dict[str, int], name: str, value: Any) -> Any:
    """An XStat of this value, whose name is entered into `names`; a text starting with & is one that is referred to."""
    made = message_class("XStat")(metadata_id=names.setdefault(name, len(names) + 1))
    if isinstance(value, str) and value.startswith("&"):
        made.ref_value = names.setdefault(value[1:], len(names) + 1)
    else:
        field = {str: "str_value", int: "int64_value", float: "double_value"}[type(value)]
        setattr(made, field, value)
    return made


def event(name: str, offset_ps: int = 0, duration_ps: int = 0, **stats: Any) -> dict[str, Any]:
    """An event to come, for `plane`."""
    return {"name": name, "offset_ps": offset_ps, "duration_ps": duration_ps, "stats": stats}


def plane(name: str, lines: Mapping[str, Iterable[dict[str, Any]]], timestamp_ns: int = 0, **stats: Any) -> bytes:
    """An XPlane whose lines `id:name` hold these events."""
    stat_ids: dict[str, int] = {}
    event_ids: dict[str, int] = {}
    made = message_class("XPlane")(name=name, stats=[stat(stat_ids, key, value) for key, value in stats.items()])
    for key, events in lines.items():
        line_id, line_name = key.split(":", 1)
        line = message_class("XLine")(id=int(line_id), name=line_name, timestamp_ns=timestamp_ns)
        for entry in events:
            told = [stat(stat_ids, key, value) for key, value in entry["stats"].items()]
            number = event_ids.setdefault(entry["name"], len(event_ids) + 1)
            times = {key: entry[key] for key in ("offset_ps", "duration_ps")}
            line.events.append(message_class("XEvent")(metadata_id=number, stats=told, **times).SerializeToString())
        made.lines.append(line.SerializeToString())
    for text, number in event_ids.items():
        made.event_metadata.add(key=number).value.name = text
    for text, number in stat_ids.items():
        made.stat_metadata.add(key=number).value.name = text
    content: bytes = made.SerializeToString()
    return content


def start(ns: int = START_NS) -> bytes:
    """The plane that tells when the profile started."""
    return plane("Task Environment", {}, profile_start_time=ns)


def space(*planes: bytes, **more: Any) -> bytes:
    """An XSpace."""
    content: bytes = message_class("XSpace")(planes=planes, **more).SerializeToString()
    return content


def read(content: bytes, folder: Path) -> duckdb.DuckDBPyConnection:
    """The store of a trace of this content."""
    path = folder / "vm.xplane.pb"
    path.write_bytes(content)
    (folder / "store").mkdir()
    with StoreWriter(folder / "store") as store:
        xplane.read(path, trace=2, pass_name=PASS, store=store)
    return connect(folder / "store")


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query."""
    return connection.execute(query).fetchall()


def imported(file: str, folder: Path) -> duckdb.DuckDBPyConnection:
    """The store of one shared trace."""
    with StoreWriter(folder) as store:
        xplane.read(SHARED / file, trace=0, pass_name=None, store=store)
    return connect(folder)


@pytest.mark.parametrize("file", EXPECTED)
def test_lines_are_those_of_the_frameworks_own_reader(file: str, tmp_path: Path) -> None:
    """Every line of a real trace has its events, sum, union, first start and last end to the picosecond."""
    connection = imported(file, tmp_path)
    query = "SELECT plane, line, events, sum_ps, busy_ps, first_ps, last_ps FROM lines WHERE events > 0"
    names = ("events", "sum_ps", "busy_ps", "first_ps", "last_ps")
    found = {(plane, line): dict(zip(names, figures, strict=True)) for plane, line, *figures in rows(connection, query)}
    assert found == {
        (plane, line): figures for plane, told in EXPECTED[file].items() for line, figures in told["lines"].items()
    }


@pytest.mark.parametrize("file", EXPECTED)
def test_each_stream_is_counted_once(file: str, tmp_path: Path) -> None:
    """Slices of a GPU are its streams' events and durations, not those of lines derived from them."""
    connection = imported(file, tmp_path)
    streams = """
        SELECT regexp_extract(plane, '\\d+$') AS device, sum(events)::BIGINT, sum(sum_ps)::BIGINT FROM lines
        WHERE plane LIKE '/device:GPU:%' AND NOT derived GROUP BY device ORDER BY device
    """
    slices = (
        "SELECT device, count(*), sum(dur_ns)::BIGINT * 1000 FROM slices WHERE device IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    assert rows(connection, slices) == rows(connection, streams)


@needs_traces
def test_a_real_gpu_trace_of_tensorflow(tmp_path: Path) -> None:
    """BERT on V100s: kernels with categories, copies with bytes, each launched before it starts, memory by GPU."""
    connection = imported("xplane/gpu_cc70_tf_bert.xplane.pb", tmp_path)
    kinds = "SELECT device, kind, count(*), count(bytes) FROM slices WHERE device IS NOT NULL GROUP BY ALL ORDER BY ALL"
    assert rows(connection, kinds) == [
        ("1", "memcpy", 19, 19), ("4", "kernel", 665, 0), ("4", "memcpy", 94, 94),
        ("6", "kernel", 665, 0), ("6", "memcpy", 113, 113),
    ]  # fmt: skip
    assert rows(connection, "SELECT count(*) FROM slices WHERE device IS NOT NULL AND category IS NULL") == [(0,)]
    assert rows(connection, "SELECT code FROM warnings") == [("no_epoch",)]
    assert rows(connection, "SELECT DISTINCT device FROM allocations ORDER BY 1") == [("1",), ("4",), ("6",), ("cpu",)]
    assert rows(connection, "SELECT gpus, events FROM traces") == [(8, 15354 + 19 + 759 + 778)]
    derived = "SELECT DISTINCT line FROM lines WHERE derived ORDER BY line"
    names = ["TensorFlow Ops", "TensorFlow Name Scope", "Steps"]
    assert [line.split(":", 1)[1] for (line,) in rows(connection, derived)] == names


@needs_traces
def test_a_real_gpu_trace_of_jax(tmp_path: Path) -> None:
    """A ROCm trace lies at its wall-clock time, and a launch named after its kernel is a launch."""
    connection = imported("xplane/mi300_jax_conv.xplane.pb", tmp_path)
    assert rows(connection, "SELECT min(ts_ns) FROM slices WHERE device = '7'") == [(START_NS + 1_635_859_993,)]
    joined = "slices AS call JOIN slices AS work USING (correlation) WHERE call.kind = 'launch' AND work.device = '7'"
    assert rows(connection, f"SELECT count(*) FROM {joined}") == [(25,)]  # noqa: S608 - the text is ours
    assert rows(connection, "SELECT count(*) FROM warnings") == [(0,)]


@pytest.mark.parametrize("file", REJECTED)
def test_a_trace_mangled_by_a_text_tool_is_rejected(file: str, tmp_path: Path) -> None:
    """A file whose bytes went through a text decoder gives one line that names it, and no store."""
    refused((SHARED / file).read_bytes(), tmp_path)


WHOLE = space(plane("/host:CPU", {"7:python": [event("train", 5, 10, step_num=1)]}), start())


@pytest.mark.parametrize(
    "content",
    [
        b"", WHOLE[:-3], b"\x93\x07\xff" * 50, gzip.compress(WHOLE), b'{"traceEvents": []}', space(),
        space(plane("", {})), space(start(2**63 - 1)), space(plane("/host:CPU", {"1:t": []}, timestamp_ns=-(2**62))),
    ],
    ids=["empty", "cut", "noise", "gzip", "json", "no_plane", "no_name", "late_start", "early_line"],
)  # fmt: skip
def test_what_is_no_xplane_is_rejected(content: bytes, tmp_path: Path) -> None:
    """Anything else gives one line that names the file, and no store."""
    refused(content, tmp_path)


def refused(content: bytes, folder: Path) -> None:
    """Asserts that this content is refused in one line that names the file, with nothing written."""
    with pytest.raises(HwprofError) as caught:
        read(content, folder)
    assert str(folder / "vm.xplane.pb") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((folder / "store").iterdir()) == []


def test_nothing_reaches_the_store_from_a_file_broken_at_its_end(tmp_path: Path) -> None:
    """A reader that goes on with the next file after the error finds nothing of this one."""
    broken = plane("/host:CPU", {"1:python": [event("a")]})[:-1]
    path = tmp_path / "vm.xplane.pb"
    path.write_bytes(space(plane("/host:CPU", {"1:python": [event("a")] * 3}), broken))
    with StoreWriter(tmp_path) as store, pytest.raises(HwprofError):
        xplane.read(path, trace=0, pass_name=None, store=store)
    assert rows(connect(tmp_path), "SELECT count(*) FROM slices") == [(0,)]


def test_a_file_above_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is stated in the error."""
    monkeypatch.setattr(xplane, "MAX_FILE_BYTES", 10)
    with pytest.raises(HwprofError, match=r"vm\.xplane\.pb has \d+ bytes\. hwprof reads up to 10 bytes"):
        read(WHOLE, tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The system's own reason is in the error."""
    with StoreWriter(tmp_path) as store, pytest.raises(HwprofError, match=r"gone\.xplane\.pb cannot be read: No such"):
        xplane.read(tmp_path / "gone.xplane.pb", trace=0, pass_name=None, store=store)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("vm.xplane.pb", b"", True), ("renamed", WHOLE, True), ("other.pb", b"\x0a\x03abc", False),
        ("vm.pt.trace.json", b"{}", False),
    ],
)  # fmt: skip
def test_matches_by_name_or_first_bytes(name: str, content: bytes, expected: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case's expected answer
    """A name that says XPlane is enough; without it the first plane's name decides."""
    (tmp_path / name).write_bytes(content)
    assert xplane.matches(tmp_path / name) is expected


@pytest.mark.parametrize(
    ("planes", "timestamp_ns", "expected"),
    [
        ([start()], 1_000, START_NS + 1_000 + 2),
        ([start()], START_NS + 7, START_NS + 7 + 2),
        ([], START_NS + 7, START_NS + 7 + 2),
        ([], 1_000, 1_002),
    ],
    ids=["relative", "epoch", "epoch_without_start", "own_clock"],
)
def test_lines_count_from_the_profile_s_start_or_the_epoch(
    planes: list[bytes], timestamp_ns: int, expected: int, tmp_path: Path
) -> None:
    """A line's `timestamp_ns` is either, told apart by size; without any epoch the trace's own clock remains."""
    host = plane("/host:CPU", {"1:python": [event("a", 1_600, 10_000)]}, timestamp_ns=timestamp_ns)
    connection = read(space(host, *planes), tmp_path)
    assert rows(connection, "SELECT ts_ns FROM slices") == [(expected,)]
    assert rows(connection, "SELECT code FROM warnings") == ([] if expected > START_NS else [("no_epoch",)])


def test_a_line_s_first_and_last_count_from_the_profile_s_start(tmp_path: Path) -> None:
    """Also where the line itself counts from the epoch."""
    host = plane("/host:CPU", {"1:python": [event("a", 1_500, 10_000)]}, timestamp_ns=START_NS + 7)
    connection = read(space(host, start()), tmp_path)
    assert rows(connection, "SELECT first_ps, last_ps FROM lines") == [(8_500, 18_500)]


@given(st.lists(st.integers(-MOST_PS, MOST_PS), max_size=20), st.integers(-(2**60), 2**62))
def test_placing_is_exact_half_to_even(ps: list[int], origin_ns: int) -> None:
    """A whole column is placed as each moment is, in exact integers of picoseconds since the epoch."""
    column = np.array(ps, np.int64)
    assert ps_to_ns(column).tolist() == [ps_to_ns(value) for value in ps]
    assert place_ns(origin_ns, column).tolist() == [ps_to_ns(origin_ns * 1000 + value) for value in ps]


SPANS = st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 30)), min_size=1, max_size=12)


@given(SPANS)
def test_busy_is_the_union(spans: list[tuple[int, int]]) -> None:
    """Equal to counting the picoseconds that any span covers."""
    offset_ps, duration_ps = (np.array(column, np.int64) for column in zip(*spans, strict=True))
    covered = {moment for offset, duration in spans for moment in range(offset, offset + duration)}
    assert span_figures(offset_ps, duration_ps, 7) == {
        "sum_ps": sum(duration for _, duration in spans),
        "busy_ps": len(covered),
        "first_ps": 7 + min(offset for offset, _ in spans),
        "last_ps": 7 + max(offset + duration for offset, duration in spans),
    }


INT64 = st.integers(-(2**63), 2**63 - 1)
STATS = st.builds(message_class("XStat"), metadata_id=INT64, double_value=st.floats(allow_nan=False)) | st.builds(
    message_class("XStat"), metadata_id=INT64, uint64_value=st.integers(0, 2**64 - 1)
)
EVENTS = st.builds(
    message_class("XEvent"), metadata_id=INT64, offset_ps=INT64, duration_ps=INT64, stats=st.lists(STATS, max_size=3)
)


@given(st.lists(EVENTS, max_size=6))
def test_columns_cut_from_bytes_are_what_the_protobuf_library_reads(events: list[Any]) -> None:
    """Every field of every event and stat, over the whole range of each type."""
    content = Messages([event.SerializeToString() for event in events])
    fields = tags_of("XEvent")
    found = [dict.fromkeys(("metadata_id", "offset_ps", "duration_ps"), 0) | {"stats": []} for _ in events]
    for rows_, tags, values, ends in content.fields(content.starts, content.ends):
        for row, tag, value, end in zip(rows_, tags, values.view(np.int64), ends, strict=True):
            name = next(name for name, number in fields.items() if number == tag)
            if name == "stats":
                found[row]["stats"].append(message_class("XStat").FromString(content.bytes[end - value : end]))
            else:
                found[row][name] = value
    assert found == [{name: getattr(event, name) for name in found[0]} for event in events]


@settings(max_examples=200)
@given(st.data())
def test_damage_gives_an_error_of_ours_or_a_store(data: st.DataObject) -> None:
    """Flipped bytes and cuts anywhere: HwprofError or a store whose times fit, never another exception."""
    content = bytearray(RICH)
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4), label="flipped"):
        content[at] = data.draw(st.integers(0, 255), label="to")
    cut = data.draw(st.none() | st.integers(0, len(content)), label="cut")
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(HwprofError):
        connection = read(bytes(content[:cut]), Path(folder))
        assert rows(connection, "SELECT count(*) FROM slices WHERE dur_ns < 0") == [(0,)]
        connection.close()


LAUNCHED = [
    event("cuLaunchKernel", 1_000, 2_000, correlation_id=11),
    event("hipMemcpyHtoDAsync", 4_000, 1_000, device_id=3, correlation_id=12),
    event("hipMemcpyHtoDAsync", 5_000, 1_000, correlation_id=13),
    event("ampere_sgemm_128x64_nn", 6_000, 1_000, correlation_id=14),
    event("cuLaunchHostFunc", 8_000, 1_000, correlation_id=15),
    event("cuStreamSynchronize", 9_000, 1_000),
]
STREAM = [
    event("ampere_sgemm_128x64_nn", 5_000, 3_000, correlation_id=11),
    event(
        "CopyHostToDevice", 9_000, 1_000, correlation_id=12, memcpy_details="&kind:Unknown size:655360 dest:2 async:1"
    ),
    event("MemcpyD2H", 11_000, 1_000, correlation_id=13, memcpy_details="size:0 dest:0 async:0"),
    event("Memset", 12_000, 1_000, Memset_details="kind:Device size:64 async:1"),
    event("loop_add_fusion", 20_000, 1_000, correlation_id=14, hlo_category="convolution fusion"),
    event("MemoryResidency", 30_000, 0, MemoryResidency_details="size:5"),
]
RICH = space(
    plane(
        "/host:CPU", {"7:python": [event("$a.py:1 f", 0, 9), *LAUNCHED, event("MemoryAllocation", allocator_name="x")]}
    ),
    plane("/device:GPU:5", {"14:Stream #14(Compute,MemcpyH2D)": STREAM, "9:XLA Ops": [event("add", 5, 6)]}, 100),
    start(),
    errors=["out of buffers"],
)


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
    assert rows(connection, "SELECT kind, category, correlation, thread FROM slices ORDER BY ts_ns") == [
        ("launch", None, 4, "-3:main"), ("op", None, None, "-3:main"),
        ("annotation", "step", None, "-3:main"), ("annotation", None, None, "-3:main"),
    ]  # fmt: skip


def test_an_event_without_a_name_has_none(tmp_path: Path) -> None:
    """A number that the plane does not name is no name."""
    made = message_class("XPlane").FromString(plane("/host:CPU", {"1:main": [event("a"), event("b", 1_000)]}))
    del made.event_metadata[0]
    connection = read(space(made.SerializeToString(), start()), tmp_path)
    assert rows(connection, "SELECT name FROM slices ORDER BY ts_ns") == [(None,), ("b",)]


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
    assert rows(connection, "SELECT * EXCLUDE (trace, pass_name) FROM allocations ORDER BY ts_ns") == [
        (START_NS + 1, "3", "GPU_3_bfc", "alloc", 512, told["addr"], 2_048, None, "dense/MatMul", 0.25),
        (START_NS + 2, "cpu", "mklcpu", "free", 512, told["addr"], 2_048, 4_096, None, None),
        (START_NS + 3, None, "somebody's", "free", None, None, None, None, None, 0.0),
    ]
    assert rows(connection, "SELECT count(*) FROM slices") == [(0,)]


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


def test_events_at_impossible_times_are_left_out_and_counted(tmp_path: Path) -> None:
    """A negative duration or an offset of months is damage, not work."""
    events = [event("a", 0, -1), event("b", 2**62, 0), event("c", 1_000, 1_000)]
    connection = read(space(plane("/host:CPU", {"1:main": events}), start()), tmp_path)
    assert rows(connection, "SELECT code, count, untrusted FROM warnings") == [("unusable_time", 2, True)]
    assert rows(connection, "SELECT name FROM slices") == [("c",)]
    assert rows(connection, "SELECT events, sum_ps FROM lines") == [(3, 1_000)]


def test_lines_that_are_not_analysed_are_said(tmp_path: Path) -> None:
    """A plane of another accelerator is listed by line, and its events are counted as not read."""
    content = plane("/device:CUSTOM:NPU", {"1:queue": [event("a", 1, 2), event("b", 3, 4)]})
    connection = read(space(content, start()), tmp_path)
    assert rows(connection, "SELECT code, count, untrusted FROM warnings") == [("other_lines", 2, False)]
    assert rows(connection, "SELECT plane, line, derived, events FROM lines") == [
        ("/device:CUSTOM:NPU", "1:queue", False, 2)
    ]


TRAIN = """
import json, os, sys, time
import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
model = tf.keras.Sequential([tf.keras.layers.Input((2048,)), tf.keras.layers.Dense(512), tf.keras.layers.Dense(4)])
model.compile("sgd", "mse")
data = tf.data.Dataset.from_tensor_slices((np.ones((64, 2048), "f"), np.ones((64, 4), "f"))).batch(16)
model.fit(data, epochs=1, verbose=0)
brackets = []
tf.profiler.experimental.start(sys.argv[1])
for step in range(5):
    before = time.time_ns()
    with tf.profiler.experimental.Trace("hwprof.bracket", step_num=step, _r=1):
        model.train_on_batch(np.ones((16, 2048), "f"), np.ones((16, 4), "f"))
    brackets.append((before, time.time_ns()))
model.fit(data, epochs=1, verbose=0)
tf.profiler.experimental.stop()
print(json.dumps(brackets))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """The store of a trace that TensorFlow makes here of a small Keras model, and clock reads around its five steps."""
    python = venvs.ensure("tf", "cpu", say=print).python
    folder = tmp_path_factory.mktemp("tf")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", TRAIN, folder], env=environment, capture_output=True, check=True)
    (path,) = folder.glob("plugins/profile/*/*.xplane.pb")
    (folder / "store").mkdir()
    with StoreWriter(folder / "store") as store:
        xplane.read(path, trace=0, pass_name=None, store=store)
    with connect(folder / "store") as connection:
        yield connection, [tuple(bracket) for bracket in json.loads(done.stdout.splitlines()[-1])]


@pytest.mark.e2e
def test_tensorflow_s_steps_lie_in_their_brackets(
    trained: Trained,
) -> None:
    """Each step annotation lies between the clock reads around it, and within a millisecond of both."""
    connection, brackets = trained
    steps = rows(
        connection,
        "SELECT ts_ns, ts_ns + dur_ns FROM slices WHERE name = 'hwprof.bracket' AND category = 'step' ORDER BY 1",
    )
    assert len(steps) == len(brackets) == 5
    for (began, ended), (before, after) in zip(steps, brackets, strict=True):
        assert before <= began <= ended <= after
        assert max(began - before, after - ended) < 1_000_000


@pytest.mark.e2e
def test_tensorflow_s_operators_and_memory_arrive(
    trained: Trained,
) -> None:
    """A dense layer's matrix products are operators, its allocations the CPU allocator's; nothing is in doubt."""
    connection, _ = trained
    products = "SELECT count(*) FROM slices WHERE kind = 'op' AND regexp_matches(name, 'MatMul[^:]*:_?\\w*MatMul')"
    assert rows(connection, products)[0][0] >= 5
    memory = (
        "SELECT device, allocator, min(bytes) > 0, count(in_use_bytes) > 0, count(op) > 0 FROM allocations GROUP BY ALL"
    )
    assert rows(connection, memory) == [("cpu", "mklcpu", True, True, True)]
    assert rows(connection, "SELECT code FROM warnings") == []
    assert rows(connection, "SELECT gpus FROM traces") == [(None,)]


@pytest.mark.e2e
def test_keras_fit_s_waits_for_data_can_be_found(
    trained: Trained,
) -> None:
    """Within fit's calls of its training function, getting the next batch is an annotation on a thread of its own."""
    connection, _ = trained
    query = """
        SELECT count(*) FROM slices AS wait JOIN slices AS call
        ON wait.ts_ns >= call.ts_ns AND wait.ts_ns + wait.dur_ns <= call.ts_ns + call.dur_ns
        WHERE wait.name = 'IteratorGetNextOp::DoCompute' AND wait.thread LIKE '%:tf_data_iterator_get_next/%'
        AND call.name = 'multi_step_on_iterator' AND call.thread LIKE '%:python'
    """
    assert rows(connection, query)[0][0] >= 4
