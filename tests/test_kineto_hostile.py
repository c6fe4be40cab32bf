"""Damaged and hostile Kineto traces: one clear error, stated limits, and never half a store."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kineto_traces import BASE, EVENTS, MEMBERS, OP, WHOLE, write
from tests.stores import read, rows
from toolkit.analyses.device_time import device_time
from toolkit.analyses.step_parts import step_parts
from toolkit.errors import HwprofError
from toolkit.ingest import inflate, kineto
from toolkit.ingest.limits import EVENT_BYTES, INFLATED_BYTES, MEMBER_BYTES
from toolkit.ingest.store import StoreWriter

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
    monkeypatch.setenv(INFLATED_BYTES.variable, str(1 << 20))
    with pytest.raises(HwprofError, match=f"more than {1 << 20} bytes.*{INFLATED_BYTES.variable}"):
        read(path)


@pytest.mark.parametrize("text", ["", "16 GiB", "-1", "٣"])
def test_a_limit_that_is_no_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped limit is an error rather than no limit."""
    monkeypatch.setenv(INFLATED_BYTES.variable, text)
    with pytest.raises(HwprofError, match=INFLATED_BYTES.variable):
        INFLATED_BYTES.value()


@pytest.mark.parametrize("head", [b'[{"ph": "X", "name": "', b'{"a": "', b'{"traceEvents": [], "a": "'])
def test_no_part_of_a_document_fills_the_memory(head: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event or member larger than the stated bound is an error, wherever it stands."""
    for limit in (EVENT_BYTES, MEMBER_BYTES):
        monkeypatch.setenv(limit.variable, str(1 << 20))
    monkeypatch.setattr(inflate, "BLOCK_BYTES", 1 << 16)
    with pytest.raises(HwprofError, match=f"larger than {1 << 20} bytes.* set HWPROF_MAX_"):
        read(write(tmp_path, head + b"x" * (3 << 20) + b'"}]'))


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
@pytest.mark.e2e
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
