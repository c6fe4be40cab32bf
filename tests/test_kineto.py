"""The Kineto importer: exact on every form of trace, and every doubt counted."""

import gzip
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kineto_traces import (
    BASE,
    COPIES,
    COPY,
    EVENTS,
    IDS,
    KERNEL,
    LAUNCH,
    MEMBERS,
    MEMORY,
    NASTY,
    OP,
    WHOLE,
    write,
)
from tests.stores import PASS, SHARED, TRACE, needs_traces, read, rows, shared, warned
from tests.test_device_time import EXPECTED
from toolkit.analyses.device_time import device_time
from toolkit.ingest import inflate, json_chunks, kineto, kineto_groups
from toolkit.ingest.columns import LATEST_NS, LONGEST_NS


def test_a_trace_becomes_rows(tmp_path: Path) -> None:
    """Spans and memory instants arrive with every column that the trace tells, on the axis of its base."""
    members = MEMBERS | BASE | {"distributedInfo": {"rank": 1, "world_size": 2}, "deviceProperties": [{"name": "V100"}]}
    connection = read(write(tmp_path, {"traceEvents": EVENTS, **members}))
    slices = """SELECT ts_ns, dur_ns, kind, name, category, device, stream, thread, correlation, external_id, bytes
        FROM slices ORDER BY ts_ns, correlation"""
    assert rows(connection, slices) == [
        (11_000, 3_000, "op", "aten::mm", None, None, None, "7/8", None, 4, None),
        (11_500, 2_000, "launch", "cudaLaunchKernel", None, None, None, "7/8", 1, 4, None),
        (11_500, 2_000, "launch", "cudaMemcpyAsync", None, None, None, "7/8", 2, None, None),
        (12_125, 3_001, "kernel", "volta_sgemm_64x64_nt", "gemm", "0", "7", None, 1, 4, None),
        (21_000, 1_000, "memcpy", "Memcpy HtoD", "memcpy", "1", "20", None, 2, None, 9),
    ]
    allocations = "SELECT ts_ns, device, action, bytes, address, in_use_bytes, reserved_bytes, thread FROM allocations"
    assert rows(connection, allocations) == [(11_250, "0", "free", 512, 4096, 1, 2, "7/8")]
    assert rows(connection, "FROM traces") == [
        (TRACE, PASS, str(tmp_path / "worker.pt.trace.json"), "kineto", 1, 2, 8, 1, "V100")
    ]
    placed = rows(connection, "SELECT DISTINCT trace, pass_name, epoch, step, phase FROM slices")
    assert placed == [(TRACE, PASS, None, None, None)]
    assert warned(connection) == {}


def test_a_trace_of_2020_becomes_the_same_rows(tmp_path: Path) -> None:
    """A bare list, capitalised categories, text thread ids and lower-case ids are read like today's; ts is epoch µs."""
    ids = {"correlation": 1, "external id": 4}
    launch = LAUNCH | {"cat": "Runtime", "tid": "8", "args": ids, "ts": 1_606_910_596_288_053}
    kernel = KERNEL | {"cat": "Kernel", "tid": "stream 7", "args": ids, "ts": 1_606_910_596_288_054}
    memory = MEMORY | {"args": {"Device Type": 0, "Device Id": -1, "Bytes": 4}}
    connection = read(write(tmp_path, [launch, kernel, memory]))
    assert rows(connection, "SELECT ts_ns, kind, device, stream, thread, external_id FROM slices ORDER BY ts_ns") == [
        (1_606_910_596_288_053_000, "launch", None, None, "7/8", 4),
        (1_606_910_596_288_054_000, "kernel", "0", "7", None, 4),
    ]
    assert rows(connection, "SELECT device, action, bytes, in_use_bytes FROM allocations") == [
        ("cpu", "alloc", 4, None)
    ]


def test_any_number_of_names_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names keep what they are, and what they say, whatever pieces and row groups they fall into."""
    monkeypatch.setattr(json_chunks, "PIECE_BYTES", 1_000)
    monkeypatch.setattr(kineto_groups, "GROUP_ROWS", 50)
    names = [f"{word}_{number % 7}" for number in range(40) for word in ("sgemm", "max_pool", "softmax")]
    kernels = [KERNEL | {"name": name, "ts": 10 + number} for number, name in enumerate(names)]
    connection = read(write(tmp_path, {"traceEvents": kernels}))
    categories = {"sgemm": "gemm", "max_pool": "pool", "softmax": "reduce"}
    expected = [(name, categories[name[:-2]]) for name in names]
    assert rows(connection, "SELECT name, category FROM slices ORDER BY ts_ns") == expected


NO_NUMBERS = {"bandwidth": float("-inf"), "occupancy": float("nan"), "text": "NaN"}
FORMS = {
    "events first": lambda: json.dumps({"traceEvents": EVENTS, **MEMBERS, **BASE}),
    "events last": lambda: json.dumps({**MEMBERS, **BASE, "traceEvents": EVENTS}),
    "compact": lambda: json.dumps({**MEMBERS, "traceEvents": EVENTS, **BASE}, separators=(",", ":")),
    "indented": lambda: json.dumps({**MEMBERS, "traceEvents": EVENTS, **BASE}, indent=4),
    "indented by tabs": lambda: json.dumps({**MEMBERS, **BASE, "traceEvents": EVENTS}, indent="\t"),
    "byte-order mark": lambda: "\ufeff" + json.dumps({"traceEvents": EVENTS, **BASE}),
    "events backwards": lambda: json.dumps({**BASE, "traceEvents": [dict(reversed(one.items())) for one in EVENTS]}),
    "nested like events": lambda: json.dumps(
        {"x": {"traceEvents": [{}]}, **BASE, "traceEvents": EVENTS, "y": [EVENTS]}, indent=2
    ),
    "NaN and infinities": lambda: json.dumps(
        {**BASE, "traceEvents": [event | NO_NUMBERS for event in EVENTS], "x": NO_NUMBERS}
    ),
}  # fmt: skip


@pytest.mark.parametrize("block_bytes", [1, 7, 61, 1 << 20])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.e2e
@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_json_does_not_matter(
    *, form: str, compressed: bool, block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order of keys, white space, NaN, compression, and where the blocks happen to end leave the figures alone."""
    monkeypatch.setattr(inflate, "BLOCK_BYTES", block_bytes)
    content = FORMS[form]().encode()
    connection = read(write(tmp_path, gzip.compress(content) if compressed else content))
    found = rows(connection, "SELECT kind, ts_ns, dur_ns FROM slices ORDER BY ALL")
    times = [("kernel", 12_125, 3_001), ("launch", 11_500, 2_000), ("memcpy", 21_000, 1_000), ("op", 11_000, 3_000)]
    assert sorted(set(found)) == times
    assert len(found) == 5
    assert warned(connection) == {}


def test_gzip_members_are_joined_and_padding_ignored(tmp_path: Path) -> None:
    """A file of several gzip members, padded with zeros, is one text."""
    text = json.dumps(EVENTS).encode()
    content = gzip.compress(text[:99]) + b"\0" * 9 + gzip.compress(text[99:]) + b"\0" * 300_000
    assert len(rows(read(write(tmp_path, content)), "FROM slices")) == 5


def test_any_text_is_a_name(tmp_path: Path) -> None:
    """Names with braces, quotes, escapes and borders of events in them arrive as they are."""
    connection = read(write(tmp_path, [OP | {"name": name} for name in NASTY]))
    assert sorted(name for (name,) in rows(connection, "SELECT name FROM slices")) == sorted(NASTY)


MICROSECONDS = (
    st.integers(0, 10**16).map(str)
    | st.decimals(0, 10**13, places=3).map(str)
    | st.decimals(0, 10**13, places=5).map(lambda us: f"{us:f}")
)
SPANS = st.fixed_dictionaries(
    {
        "ph": st.just('"X"'),
        "cat": st.sampled_from(["cpu_op", "kernel", "Memcpy", "python_function", "cuda_sync", "ac2g"]).map(json.dumps),
        "name": (st.text(max_size=5) | st.sampled_from(NASTY)).map(json.dumps),
        "pid": st.sampled_from(["0", "7", '"Spans"']),
        "tid": st.sampled_from(["1", '"stream 7"', '"é"']),
        "ts": MICROSECONDS,
        "dur": MICROSECONDS,
    }
).flatmap(lambda span: st.permutations(list(span.items())).map(dict))
STORED = {"cpu_op": "op", "kernel": "kernel", "Memcpy": "memcpy", "python_function": "python", "cuda_sync": "sync"}


@given(spans=st.lists(SPANS, max_size=6), space=st.sampled_from(["", " ", "\n  "]), size=st.integers(1, 200))
def test_spans_are_those_of_a_plain_json_reader(
    spans: list[dict[str, str]], space: str, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the order of keys, numbers, names and white space: the slices are what json and fractions make of it."""
    objects = ["{" + f",{space}".join(f'"{key}":{space}{value}' for key, value in span.items()) + "}" for span in spans]
    text = f'{{"traceEvents":{space}[{f",{space}".join([json.dumps(LAUNCH), *objects])}{space}]}}'
    folder = tmp_path_factory.mktemp("spans")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_chunks, "PIECE_BYTES", size)
        patch.setattr(inflate, "BLOCK_BYTES", size)
        connection = read(write(folder, text.encode()))
    plain = [json.loads(each, parse_float=Fraction, parse_int=Fraction) for each in objects]
    wanted = [
        (STORED[span["cat"]], span["name"], round(span["ts"] * 1000), round(span["dur"] * 1000))
        for span in plain
        if span["cat"] in STORED and round(span["ts"] * 1000) < LATEST_NS and round(span["dur"] * 1000) < LONGEST_NS
    ]
    slices = "SELECT kind, name, ts_ns, dur_ns FROM slices WHERE kind != 'launch' AND dur_ns IS NOT NULL"
    assert sorted(rows(connection, slices)) == sorted(wanted)


@needs_traces
@pytest.mark.parametrize("file", EXPECTED)
def test_real_traces_warn_of_what_is_wrong_with_them(file: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The trace of counters without kernels is in doubt, one that begins in mid-work says so, the rest are sound."""
    found = {
        "kineto/a100_cupti_ranges_no_kernels.pt.trace.json.gz": {
            "no_kernels": (1862, True),
            "unmatched_launch": (77, True),
            "other_categories": (77, False),
        },
        "kineto/old_resnet50_toplevel_list.pt.trace.json.gz": {"unlaunched_work": (765, False)},
    }
    assert warned(shared(file, tmp_path_factory)) == found.get(file, {})
    assert kineto.matches(SHARED / file)


DROPPED = "WARNING:2024-05-22 17:15:22 1:1 CuptiActivityApi.cpp:300] Dropped 12 activity records"
STOPPED = "INFO:2024 1:1 CuptiActivityProfiler.cpp:300] Record counts: Out-of-range = 9, CUPTI stopped early? = 1"


@pytest.mark.parametrize(
    ("events", "members", "warnings"),
    [
        ([LAUNCH, KERNEL | {"ts": 10.499}], {}, {"clock_violation": (1, True)}),
        ([LAUNCH, KERNEL | {"ts": 10.5}], {}, {}),
        ([KERNEL, LAUNCH, LAUNCH | {"args": {"correlation": 5}}], {}, {"unmatched_launch": (1, True)}),
        ([KERNEL, LAUNCH, COPIES], {}, {}),
        ([LAUNCH, KERNEL, COPY], {}, {"unlaunched_work": (1, False)}),
        ([KERNEL, COPY], {}, {}),
        ([OP, LAUNCH], {}, {"no_kernels": (1, True), "unmatched_launch": (1, True)}),
        ([OP, MEMORY], {}, {"no_kernels": (1, True)}),
        ([OP], {"deviceProperties": [{"id": 0}]}, {}),
        ([OP], {"WARNING": [DROPPED, DROPPED]}, {"dropped_events": (24, True)}),
        ([OP], {"INFO": [STOPPED, STOPPED.replace("= 1", "= 0")]}, {"stopped_early": (1, True)}),
        ([OP, OP | {"cat": "new_kind"}], {}, {"other_categories": (1, False)}),
        ([], {}, {"no_events": (1, True)}),
    ],
)
def test_doubt_is_recorded(
    events: Sequence[dict[str, Any]], members: dict[str, Any], warnings: dict[str, Any], tmp_path: Path
) -> None:
    """What puts a trace in doubt is counted, and what does not is not."""
    assert warned(read(write(tmp_path, {"traceEvents": events, **members}))) == warnings


@pytest.mark.parametrize(
    ("kernel", "warning", "kernels", "sum_ns"),
    [
        ({"dur": -1}, "unusable_duration", 2, 3_001),
        ({"dur": 1e30}, "unusable_duration", 2, 3_001),
        ({"dur": float("nan")}, "unusable_duration", 2, 3_001),
        ({"dur": "2"}, "unusable_duration", 2, 3_001),
        ({"ts": float("inf")}, "unusable_start", 1, 3_001),
        ({"ts": 1e30}, "unusable_start", 1, 3_001),
        ({"ts": None}, "unusable_start", 1, 3_001),
        ({"args": [1]}, "malformed_events", 2, 6_002),
        ({"name": 5}, "malformed_events", 2, 6_002),
        ({"pid": {}}, "malformed_events", 2, 6_002),
        ({"args": IDS | {"device": 0, "stream": 7, "bytes": 2**64}}, "malformed_events", 2, 6_002),
    ],
)
def test_a_broken_event_is_counted_and_spoils_no_other(
    kernel: dict[str, Any], warning: str, kernels: int, sum_ns: int, tmp_path: Path
) -> None:
    """An event of impossible values loses them or is left out, with a warning; every figure leaves it out too."""
    connection = read(write(tmp_path, [LAUNCH, KERNEL, KERNEL | kernel, OP]))
    assert warned(connection)[warning] == (1, True)
    (device,) = device_time(connection)
    assert (device.kernels, device.kernel_sum_ns) == (kernels, sum_ns)
    assert len(rows(connection, "FROM slices WHERE kind = 'op'")) == 1


def test_missing_members_are_unknown(tmp_path: Path) -> None:
    """An event that tells only what it must leaves the rest NULL; one without a phase or a size is counted."""
    bare = [
        {"ph": "X", "cat": "kernel", "ts": 1, "dur": 2},
        {"name": "x"},
        MEMORY | {"args": {}},
        {"ph": "i", "name": "[memory]"},
    ]
    connection = read(write(tmp_path, bare))
    slices = "SELECT name, category, device, stream, correlation FROM slices"
    assert rows(connection, slices) == [("", "other", None, None, None)]
    assert warned(connection) == {"malformed_events": (1, True), "unusable_allocation": (2, True)}
    assert device_time(connection) == []


def test_the_last_of_two_equal_keys_counts(tmp_path: Path) -> None:
    """A repeated key of an event is read as every JSON reader does."""
    text = b'[{"ph": "i", "ph": "X", "cat": "kernel", "pid": 0, "ts": 1, "ts": 2, "dur": 3, "dur": 4, "name": "f"}]'
    assert rows(read(write(tmp_path, text)), "SELECT ts_ns, dur_ns FROM slices") == [(2_000, 4_000)]


@pytest.mark.parametrize(
    ("name", "content", "is_kineto"),
    [
        ("a.pt.trace.json", b"anything", True),
        ("a.pt.trace.json.gz", b"anything", True),
        ("a.json", WHOLE, True),
        ("a.json", json.dumps(EVENTS, indent=2).encode(), True),
        ("a.json.gz", gzip.compress(WHOLE), True),
        ("a.json", b'{"schemaVersion": 1, "deviceProperties": [', True),
        ("a.json", b'[{"args": {}, "cat": "py-spy", "name": "process_name", "ph": "M"}]', False),
        ("a.json", b'{"$schema": "https://www.speedscope.app/file-format-schema.json"}', False),
        ("a.xplane.pb", bytes(range(256)), False),
        ("a.json.gz", b"\x1f\x8b damaged", False),
        ("empty", b"", False),
    ],
)
def test_files_are_told_apart(*, name: str, content: bytes, is_kineto: bool, tmp_path: Path) -> None:
    """A file is recognised by PyTorch's own suffix or by what only Kineto writes near the start."""
    assert kineto.matches(write(tmp_path, content, name)) == is_kineto


def test_what_is_no_file_is_no_trace(tmp_path: Path) -> None:
    """A folder or a missing file is not recognised by content, and raises nothing."""
    assert not kineto.matches(tmp_path)
    assert not kineto.matches(tmp_path / "missing.json")
