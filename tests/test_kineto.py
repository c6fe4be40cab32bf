"""The Kineto importer: exact on every form of trace, one clear error on every damaged one."""

import gzip
import json
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from tests.test_device_time import EXPECTED, SHARED, imported, needs_traces
from toolkit.analyses.device_time import device_time
from toolkit.analyses.step_parts import step_parts
from toolkit.errors import HwprofError
from toolkit.ingest import inflate, json_chunks, kineto
from toolkit.ingest.columns import LATEST_NS, LONGEST_NS, ns_of_us, strings
from toolkit.ingest.json_chunks import EventArray
from toolkit.ingest.store import StoreWriter, connect

IDS = {"correlation": 1, "External id": 4}
LAUNCH = {
    "ph": "X",
    "cat": "cuda_runtime",
    "name": "cudaLaunchKernel",
    "pid": 7,
    "tid": 8,
    "ts": 10.5,
    "dur": 2,
    "args": IDS,
}
KERNEL = {
    "ph": "X", "cat": "kernel", "name": "volta_sgemm_64x64_nt", "pid": 0, "tid": 7, "ts": 11.125, "dur": 3.001,
    "args": IDS | {"device": 0, "stream": 7},
}  # fmt: skip
OP = {
    "ph": "X",
    "cat": "cpu_op",
    "name": "aten::mm",
    "pid": 7,
    "tid": 8,
    "ts": 10,
    "dur": 3,
    "args": {"External id": 4},
}
COPY = {
    "ph": "X", "cat": "gpu_memcpy", "name": "Memcpy HtoD", "pid": 1, "tid": 7, "ts": 20, "dur": 1,
    "args": {"bytes": 9, "stream": 20, "correlation": 2},
}  # fmt: skip
COPIES = LAUNCH | {"name": "cudaMemcpyAsync", "args": {"correlation": 2}}
MEMORY = {
    "ph": "i", "s": "t", "name": "[memory]", "pid": 7, "tid": 8, "ts": 10.25,
    "args": {"Device Type": 1, "Device Id": 0, "Addr": 4096, "Bytes": -512, "Total Allocated": 1, "Total Reserved": 2},
}  # fmt: skip
FLOW = {"ph": "s", "id": 1, "pid": 7, "tid": 8, "ts": 10.5, "cat": "ac2g", "name": "ac2g"}
PROCESS = {"name": "process_name", "ph": "M", "ts": 1, "pid": "Spans", "tid": 0, "args": {"name": "python"}}
EVENTS = [OP, LAUNCH, FLOW, KERNEL, COPIES, COPY, PROCESS, MEMORY]
MEMBERS = {"schemaVersion": 1, "deviceProperties": [{"id": 0}], "traceName": 'a"}], "traceEvents": [{'}
PASSES = ("time", "profile")
BASE = {"baseTimeNanoseconds": 1_000}


def write(folder: Path, content: Any, name: str = "worker.pt.trace.json") -> Path:
    """A trace file of this text, or of this document."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def read(path: Path) -> duckdb.DuckDBPyConnection:
    """The store of this trace, beside it."""
    folder = path.parent / "store"
    folder.mkdir()
    with StoreWriter(folder) as store:
        kineto.read(path, trace=3, pass_name=PASSES[1], store=store)
    return connect(folder)


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query."""
    return connection.execute(query).fetchall()


def warned(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, bool]]:
    """Count and doubt of each warning."""
    return {
        code: (count, doubt) for code, count, doubt in rows(connection, "SELECT code, count, untrusted FROM warnings")
    }


def test_a_trace_becomes_rows(tmp_path: Path) -> None:
    """Spans and memory instants arrive with every column that the trace tells, on the axis of its base."""
    members = MEMBERS | BASE | {"distributedInfo": {"rank": 1, "world_size": 2}}
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
    allocations = "SELECT ts_ns, device, action, bytes, address, in_use_bytes, reserved_bytes FROM allocations"
    assert rows(connection, allocations) == [(11_250, "0", "free", 512, 4096, 1, 2)]
    assert rows(connection, "FROM traces") == [
        (3, "profile", str(tmp_path / "worker.pt.trace.json"), "kineto", 1, 2, 8, 1)
    ]
    placed = rows(connection, "SELECT DISTINCT trace, pass_name, epoch, step, phase FROM slices")
    assert placed == [(3, "profile", None, None, None)]
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


NASTY = ['}, {"ph": "X"', '"', "\\", '\\"]}', "\n", "é日😀", "\x00", "", "traceEvents", '"traceEvents": [', "]" * 9]


def test_any_text_is_a_name(tmp_path: Path) -> None:
    """Names with braces, quotes, escapes and borders of events in them arrive as they are."""
    connection = read(write(tmp_path, [OP | {"name": name} for name in NASTY]))
    assert sorted(name for (name,) in rows(connection, "SELECT name FROM slices")) == sorted(NASTY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=6) | st.sampled_from(NASTY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
LAYOUTS = st.sampled_from([None, 0, 1, 2])


@given(elements=st.lists(JSON, max_size=8), member=JSON, layout=LAYOUTS, size=st.integers(1, 40), first=st.booleans())
def test_pieces_are_the_array(*, elements: list[Any], member: Any, layout: int | None, size: int, first: bool) -> None:
    """Whatever the elements, the members around them and the blocks' borders: the pieces joined are the array."""
    array, members = {"traceEvents": elements}, {"member": member}
    text = json.dumps(array | members if first else members | array, indent=layout, ensure_ascii=False).encode()
    blocks = iter([text[at : at + size] for at in range(0, len(text), size)])
    reader = EventArray(Path("trace.json"), blocks, msgspec.json.decode)
    assert [element for piece in reader for element in piece] == elements
    assert reader.metadata == members


@given(elements=st.lists(JSON, max_size=4), layout=LAYOUTS, cut=st.integers(1, 30), size=st.integers(1, 40))
def test_an_array_cut_short_is_an_error(elements: list[Any], layout: int | None, cut: int, size: int) -> None:
    """No text that lacks its end passes for a whole one."""
    text = json.dumps({"traceEvents": elements}, indent=layout).encode()[:-cut]
    blocks = iter([text[at : at + size] for at in range(0, len(text), size)])
    with pytest.raises(HwprofError, match=r"trace\.json"):
        list(EventArray(Path("trace.json"), blocks, msgspec.json.decode))


DECIMALS = st.one_of(
    st.integers(-(10**17), 10**17).map(str),
    st.decimals(-(10**13), 10**13, places=3).map(str),
    st.decimals(-(10**16), 10**16, places=6).map(lambda us: f"{us:f}"),
    st.sampled_from(
        ["0.0005", "0.0015", "-0.0005", "1e3", "25E-4", "1712195495505543.2", "4611686018427387.903", "-0"]
    ),
)


@given(texts=st.lists(DECIMALS, max_size=6))
def test_microseconds_become_exact_nanoseconds(texts: list[str]) -> None:
    """Every decimal is rounded half to even at 1 ns, at today's epoch too, and what the axis cannot hold is no time."""
    ns, known = ns_of_us([Raw(text.encode()) for text in texts])
    exact = [round(Fraction(Decimal(text)) * 1000) for text in texts]
    assert known.tolist() == [abs(time) < LATEST_NS for time in exact]
    assert ns.tolist() == [time if abs(time) < LATEST_NS else 0 for time in exact]


@pytest.mark.parametrize("text", ["", "null", '"1"', "[1]", "{}", "true", "1e30", "-1e30", "1e999999999", "9" * 99])
def test_what_is_no_time_is_known_as_none(text: str) -> None:
    """No text is taken for a time that is none, and the times beside it stay what they are."""
    ns, known = ns_of_us([Raw(b"1.5"), Raw(text.encode()), Raw(b"2")])
    assert (ns.tolist(), known.tolist()) == ([1_500, 0, 2_000], [True, False, True])


@given(texts=st.lists(st.text()))
def test_texts_become_a_column(texts: list[str]) -> None:
    """Joining and cutting loses no text, whatever is in it."""
    assert strings(texts).to_pylist() == texts


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
    assert warned(imported(file, tmp_path_factory)) == found.get(file, {})
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


WHOLE = json.dumps({"traceEvents": EVENTS}).encode()
DAMAGED = {
    "empty": b"",
    "blank": b" \n",
    "not JSON": b"hello",
    "binary": bytes(range(256)),
    "another document": b'{"a": 1}',
    "events are no list": b'{"traceEvents": {}}',
    "events are no objects": b'{"traceEvents": [1, 2]}',
    "a number": b"5",
    "cut in an event": WHOLE[:300],
    "cut in a string": WHOLE[: WHOLE.index(b"volta") + 3],
    "cut before the end": WHOLE[:-1],
    "cut in the head": b'{"schemaVersion": 1, "traceEv',
    "two documents": WHOLE + WHOLE,
    "events twice": b'{"traceEvents": [], "traceEvents": [{}]}',
    "comma too many": b'[{"ph": "X", "cat": "kernel", "ts": 1},]',
    "comma at the start": b'[,{"ph": "X", "cat": "kernel", "ts": 1}]',
    "two commas": b'[{"ph": "X", "ts": 1},,{"ph": "X", "ts": 1}]',
    "comma missing": b'[{"ph": "X", "ts": 1} {"ph": "X", "ts": 1}]',
    "not UTF-8": b'[{"ph": "X", "cat": "cpu_op", "name": "\xff\xfe", "ts": 1}]',
    "raw line break in a string": b'[{"ph": "X", "cat": "cpu_op", "name": "a\nb", "ts": 1}]',
    "nested in an event": b'[{"ph": "X", "args": {"a": ' + b"[" * 10**6 + b"]" * 10**6 + b"}}]",
    "nested in a member": b'{"a": ' + b"[" * 10**6 + b"]" * 10**6 + b', "traceEvents": []}',
    "nested behind the events": b'{"traceEvents": [], "a": ' + b'{"a":' * 10**6 + b"1" + b"}" * 10**6 + b"}",
    "nested without end": b"[" * 10**6,
    "another tool's trace": b'[{"ph": "X", "cat": "py-spy", "name": "f", "ts": 1, "dur": 2, "pid": 1, "tid": 1}]',
    "base as text": b'{"baseTimeNanoseconds": "5", "traceEvents": []}',
    "base with a fraction": b'{"baseTimeNanoseconds": 5.5, "traceEvents": []}',
    "two bases": b'{"baseTimeNanoseconds": 5, "traceEvents": [], "a": {"baseTimeNanoseconds": 6}}',
    "base beyond the axis": b'{"baseTimeNanoseconds": 9223372036854775807, "traceEvents": []}',
    "base and epoch": b'{"traceEvents": [{"ph": "X", "ts": 1606910596288053}], "baseTimeNanoseconds": 5}',
    "gzip cut short": gzip.compress(WHOLE)[:-20],
    "gzip without its end": gzip.compress(WHOLE)[:-8],
    "gzip of a wrong checksum": gzip.compress(WHOLE)[:-8] + b"\0" * 8,
    "gzip head only": b"\x1f\x8b",
    "gzip and then text": gzip.compress(WHOLE) + b"text",
    "gzip of nothing": gzip.compress(b""),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_one_clear_error(damage: str, tmp_path: Path) -> None:
    """The error names the file and what to do, and the store holds nothing, not even in part."""
    path = write(tmp_path, DAMAGED[damage])
    with pytest.raises(HwprofError, match=r"worker\.pt\.trace\.json") as caught:
        read(path)
    assert caught.value.remedy
    assert list((tmp_path / "store").iterdir()) == []


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    """A missing file and a folder are named, not traced back."""
    for path in (tmp_path, tmp_path / "no.pt.trace.json"):
        with StoreWriter(tmp_path) as store, pytest.raises(HwprofError, match="cannot be read"):
            kineto.read(path, trace=0, pass_name=None, store=store)


def test_a_decompression_bomb_meets_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that inflates beyond the limit stops there, and the error says how to raise it."""
    path = write(tmp_path, gzip.compress(b'{"a": "' + b" " * (4 << 20)), "bomb.pt.trace.json.gz")
    monkeypatch.setenv(inflate.LIMIT_VARIABLE, str(1 << 20))
    with pytest.raises(HwprofError, match=f"more than {1 << 20} bytes.*{inflate.LIMIT_VARIABLE}"):
        read(path)


@pytest.mark.parametrize("text", ["", "16 GiB", "-1", "٣"])
def test_a_limit_that_is_no_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped limit is an error rather than no limit."""
    monkeypatch.setenv(inflate.LIMIT_VARIABLE, text)
    with pytest.raises(HwprofError, match=inflate.LIMIT_VARIABLE):
        inflate.limit_bytes()


@pytest.mark.parametrize("head", [b'[{"ph": "X", "name": "', b'{"a": "', b'{"traceEvents": [], "a": "'])
def test_no_part_of_a_document_fills_the_memory(head: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event or member larger than the stated bound is an error, wherever it stands."""
    monkeypatch.setattr(json_chunks, "LARGEST_BYTES", 1 << 20)
    monkeypatch.setattr(inflate, "BLOCK_BYTES", 1 << 16)
    with pytest.raises(HwprofError, match=f"larger than {1 << 20} bytes"):
        read(write(tmp_path, head + b"x" * (3 << 20) + b'"}]'))


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


TOKENS = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"-", b"null", b"NaN", b"-Infinity", b"1e30", b"1e999", b"0.0005",
    b"9" * 30, b'"X"', b'"i"', b'"kernel"', b'"[memory]"', b'"ph"', b'"args"', b'"traceEvents": [', b'"ProfilerStep#4"',
    b'"baseTimeNanoseconds": 7,', b"\x00", b"\xff", b"\xef\xbb\xbf", b"\n  },\n  {", b"[" * 600,
]  # fmt: skip
STEP = OP | {"name": "ProfilerStep#3", "dur": 9}
SEEDS = [
    json.dumps({**MEMBERS, "traceEvents": [*EVENTS, STEP], **BASE}, indent=2).encode(),
    json.dumps([*EVENTS, STEP]).encode(),
]
EDITS = st.lists(
    st.tuples(st.integers(0, 2_000), st.integers(0, 40), st.sampled_from(TOKENS) | st.binary(max_size=6)), max_size=5
)


@settings(max_examples=300)
@given(seed=st.sampled_from(SEEDS), edits=EDITS, packed=st.sampled_from(["no", "before", "after"]))
def test_no_damage_makes_anything_but_an_error(
    seed: bytes, edits: list[tuple[int, int, bytes]], packed: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However a trace is edited, packed or both, it is analysed or refused with HwprofError, and never half stored."""
    content = gzip.compress(seed) if packed == "before" else seed
    for at, removed, put in edits:
        content = content[:at] + put + content[at + removed :]
    folder = tmp_path_factory.mktemp("fuzz")
    path = write(folder, gzip.compress(content) if packed == "after" else content)
    kineto.matches(path)
    try:
        connection = read(path)
    except HwprofError:
        assert list((folder / "store").iterdir()) == []
    else:
        device_time(connection)
        step_parts(connection)
        assert rows(connection, "SELECT count(*) FROM traces") == [(1,)]
