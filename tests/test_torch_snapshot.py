"""The importer of CUDA allocator snapshots: exact sums, a history never taken for more, data and nothing else."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.snapshot_traces import (
    HISTORY,
    MIB,
    REAL,
    SEGMENTS,
    SNAPSHOT,
    event,
    refused,
    segment,
    write,
)
from tests.stores import PASS, SHARED, TRACE, needs_traces, read, warned
from toolkit.analyses import runner
from toolkit.errors import HwprofError
from toolkit.ingest import plain_pickle, torch_snapshot
from toolkit.ingest.limits import PICKLE_BYTES, PICKLE_MEMORY_BYTES, SNAPSHOT_ROWS


@needs_traces
def test_a_real_snapshot_gives_the_expected_sums(tmp_path: Path) -> None:
    """Segments, reserved, allocated, active and inactive bytes and blocks are those counted independently."""
    path = tmp_path / REAL.name
    path.symlink_to(REAL)
    with read(path) as connection:
        (row,) = runner.run(connection, "segments")
        (allocations,) = runner.run(connection, "allocations")
        assert warned(connection) == {"history_truncated": (229, False)}
    expected = json.loads((SHARED / "expected.json").read_text())["memory"]["memory/cuda_memory_snapshot.pickle"]
    assert {name: row[name] for name in expected} == expected
    assert (allocations["allocations"], allocations["frees"]) == (1721, 1721)
    assert allocations["peak_in_use_bytes"] is None


@needs_traces
def test_a_real_snapshot_is_unpickled_as_by_the_standard_library() -> None:
    """Refusing everything but data changes nothing of the data."""
    assert plain_pickle.read(REAL) == pickle.loads(REAL.read_bytes())  # noqa: S301 - a file known to be harmless


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_segments_arrive_whole(protocol: int, tmp_path: Path) -> None:
    """Each segment is a row with its largest free block, by any protocol that Python has used for snapshots."""
    with read(write(tmp_path, SNAPSHOT, protocol)) as connection:
        rows = connection.execute("FROM segments").fetchall()
        traces = connection.execute("SELECT trace, pass_name, format, events, gpus FROM traces").fetchall()
    ours = (TRACE, PASS)
    assert rows == [
        (*ours, "0", 4096, "0", "large", 6 * MIB, 2 * MIB, 2 * MIB, 1, False, 3, 3 * MIB),
        (*ours, "0", 100 * MIB, "0", "large", 20 * MIB, 0, 0, 0, False, 1, 20 * MIB),
        (*ours, "1", 200 * MIB, "7", "large", 2 * MIB, 0, MIB, 1, True, 2, MIB),
    ]
    assert traces == [(*ours, "torch_memory_snapshot", 7, 2)]


def test_only_split_segments_that_do_not_expand_are_fragmented(tmp_path: Path) -> None:
    """Inactive bytes of whole segments and of expandable ones can be given back, so they are no fragmentation."""
    with read(write(tmp_path, SNAPSHOT)) as connection:
        rows = runner.run(connection, "segments")
    assert [(row["inactive_bytes"], row["inactive_split_bytes"], row["inactive_split_share"]) for row in rows] == [
        (24 * MIB, 4 * MIB, pytest.approx(4 / 26)),
        (MIB, 0, 0),
    ]


def test_an_old_snapshot_tells_no_requested_bytes(tmp_path: Path) -> None:
    """What a version did not write is NULL, not 0, in the table and in the sum."""
    old = [{name: value for name, value in item.items() if name != "requested_size"} for item in SEGMENTS[:1]]
    timeless = {name: value for name, value in HISTORY[1].items() if name != "time_us"}
    with read(write(tmp_path, {"segments": old + SEGMENTS[1:2], "device_traces": [[timeless]]})) as connection:
        (row,) = runner.run(connection, "segments")
        assert connection.execute("SELECT ts_ns, address FROM allocations").fetchall() == [(None, 4096)]
    assert (row["requested_bytes"], row["reserved_bytes"]) == (None, 26 * MIB)


def test_growth_and_failed_requests_are_kept_beside_allocations(tmp_path: Path) -> None:
    """Segments got and given back and out-of-memory are actions of their own; a free counts when it is completed."""
    with read(write(tmp_path, SNAPSHOT)) as connection:
        rows = connection.execute("SELECT action, bytes, address, in_use_bytes, reserved_bytes FROM allocations")
        assert rows.fetchall() == [
            ("segment_alloc", 6 * MIB, 4096, None, None),
            ("alloc", 2 * MIB - 5, 4096, None, None),
            ("free", 20 * MIB, 100 * MIB, None, None),
            ("oom", 70, None, None, None),
            ("segment_free", 2 * MIB, 300 * MIB, None, None),
        ]
        assert connection.execute("SELECT DISTINCT ts_ns FROM allocations ORDER BY ALL").fetchall() == [
            (1_700_000_000_000_001_000,),
            (1_700_000_000_000_009_000,),
        ]
        (row,) = runner.run(connection, "allocations")
    assert (row["allocations"], row["frees"], row["allocated_bytes"]) == (1, 1, 2 * MIB - 5)


def test_what_the_history_does_not_show_is_said(tmp_path: Path) -> None:
    """Blocks freed or held that were allocated before the history begins are counted, as is running out of memory."""
    with read(write(tmp_path, SNAPSHOT)) as connection:
        assert warned(connection) == {"history_truncated": (2, False), "out_of_memory": (1, False)}
        messages = dict(connection.execute("SELECT code, message FROM warnings").fetchall())
    assert "1 that it frees, 1 still in use" in messages["history_truncated"]
    assert "70 bytes were asked for and 9 bytes free" in messages["out_of_memory"]


def test_a_whole_history_is_not_called_truncated(tmp_path: Path) -> None:
    """Where every block freed or held was seen allocated, there is nothing to warn of."""
    history = [event("alloc", 4096, 1), event("alloc", 9, 1), event("free_completed", 9, 1)]
    with read(write(tmp_path, {"segments": SEGMENTS[:2], "device_traces": [history]})) as connection:
        assert warned(connection) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"device_traces": [[], []]}, {"no_history": (1, False)}),
        ({"segments": [SEGMENTS[0] | {"active_size": 1}]}, {"segment_sums": (1, True)}),
        ({"device_traces": [[event("\x1b[2J<b>", 1, 1)] * 3]}, {"unknown_actions": (3, True)}),
    ],
)
def test_doubts_are_warnings(change: Mapping[str, Any], expected: dict[str, tuple[int, bool]], tmp_path: Path) -> None:
    """A missing history is told; sums that contradict the blocks and actions of no known kind are grounds for doubt."""
    with read(write(tmp_path, SNAPSHOT | change)) as connection:
        found = warned(connection)
        messages = connection.execute("SELECT string_agg(message) FROM warnings").fetchall()[0][0]
    assert {code: found.get(code) for code in expected} == expected
    assert "\x1b" not in messages


class Payload:
    """Pickled, an order to run something."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(SNAPSHOT | {"x": Payload()}),
        pickle.dumps(SNAPSHOT | {"x": Payload()}, protocol=2),
        b"c__builtin__\nprint\n(Vrun\ntR.",
        b"\x80\x02(Vrun\ni__builtin__\nprint\n.",
    ],
    ids=["protocol 4", "protocol 2", "protocol 0", "INST"],
)
def test_no_global_is_looked_up(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle that asks for anything but data is refused, and what it asks for is named where it gets that far."""
    message = refused(tmp_path, content)
    assert "print" in message or "instruction 0x56" in message
    assert capsys.readouterr().out == ""


def test_a_refused_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Control characters in the name of a global come out escaped."""
    assert "os.\\x1b[2J" in refused(tmp_path, b"cos\n\x1b[2J\n.")


def nested_pairs(depth: int) -> bytes:
    """A tuple of two references to a tuple of two …, whose hash takes 2**depth steps, as the key of a dict."""
    pairs = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(depth))
    return b"\x80\x04)\x94" + pairs + b"}h" + bytes([depth]) + b"Ns."


BOMBS = {
    "hash that takes for ever": nested_pairs(100),
    "integer keys that collide": b"\x80\x04}(" + b"J\x00\x00\x00\x04NJ\x00\x00\x00\x08Nu.",
    "memo index that fills memory": b"\x80\x04}r\xff\xff\xff\x7f.",
    "text longer than the file": b"\x80\x04X\xff\xff\xff\xffx.",
    "frame longer than the file": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.",
    "integer of two gigabytes": b"\x80\x04\x8b\xff\xff\xff\x7f1.",
    "bytearray of exabytes": b"\x80\x05\x96" + b"\xff" * 7 + b"\x0f.",
    "nesting": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "list within itself": b"\x80\x04}(\x8c\x08segments]\x94h\x00a\x8c\x0ddevice_traces]u.",
    "extension code": b"\x80\x04\x82\x01.",
    "persistent object": b"\x80\x04Nq\x00Q.",
    "no end": pickle.dumps(SNAPSHOT)[:-1],
    "half": pickle.dumps(SNAPSHOT)[:400],
    "nothing": b"",
    "text": b"segments",
    "future protocol": b"\x80\xc8}.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_pickles_are_errors(name: str, tmp_path: Path) -> None:
    """What exhausts or breaks an unpickler is refused in one line."""
    assert "\n" not in refused(tmp_path, BOMBS[name])


def test_a_list_that_stands_in_it_many_times_is_counted_as_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """References that make few bytes many rows are refused before the rows are made."""
    monkeypatch.setenv(SNAPSHOT_ROWS.variable, "20000")
    events, many = [event("alloc", 1, 1)] * 3000, segment(*[(1, "inactive")] * 3000)
    for content in SNAPSHOT | {"device_traces": [events] * 9}, SNAPSHOT | {"segments": [many] * 9}:
        assert "more than 20000 blocks and events" in refused(tmp_path, content)
        (tmp_path / "store").rmdir()


def test_sizes_whose_sum_is_beyond_64_bits_are_summed(tmp_path: Path) -> None:
    """No figure overflows, whatever a file states."""
    most = 2**63 - 1
    contents = {
        "segments": [segment((most, "inactive"), (0, "inactive")), segment((most, "active_allocated"), address=most)],
        "device_traces": [[event("alloc", 1, most), event("alloc", 2, most)]],
    }
    with read(write(tmp_path, contents)) as connection:
        (segments,) = runner.run(connection, "segments")
        (allocations,) = runner.run(connection, "allocations")
    assert (segments["reserved_bytes"], segments["inactive_bytes"]) == (2 * most, most)
    assert allocations["allocated_bytes"] == 2 * most


def test_more_memory_than_stated_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instructions of single bytes that make objects end where these take more memory than allowed."""
    monkeypatch.setenv(PICKLE_MEMORY_BYTES.variable, str(MIB))
    said = refused(tmp_path, b"\x80\x04" + b"]" * (1 << 20) + b".")
    assert f"takes more than {MIB} bytes of memory" in said
    assert PICKLE_MEMORY_BYTES.variable in said


def test_a_larger_file_than_stated_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on the file's size is named with the size."""
    monkeypatch.setenv(PICKLE_BYTES.variable, "100")
    assert "reads up to 100 of a pickle" in refused(tmp_path, SNAPSHOT)


WRONG = {
    "a list": [],
    "a dict without segments": {"device_traces": []},
    "segments of none": SNAPSHOT | {"segments": None},
    "history of text": SNAPSHOT | {"device_traces": ["alloc"]},
    "segment of text": SNAPSHOT | {"segments": ["x"]},
    "negative size": SNAPSHOT | {"segments": [segment((-1, "inactive"))]},
    "size of a float": SNAPSHOT | {"segments": [SEGMENTS[0] | {"total_size": float("nan")}]},
    "size beyond 64 bits": SNAPSHOT | {"device_traces": [[event("alloc", 1, 2**200)]]},
    "moment beyond the axis": SNAPSHOT | {"device_traces": [[event("alloc", 1, 1, time_us=2**62)]]},
    "unknown state": SNAPSHOT | {"segments": [segment((1, "\x1b[2J"))]},
    "event of none": SNAPSHOT | {"device_traces": [[None]]},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_snapshot_is_an_error(name: str, tmp_path: Path) -> None:
    """Missing members, wrong types and values that none can have are refused, without control characters."""
    message = refused(tmp_path, WRONG[name])
    assert message.isprintable()


@pytest.mark.parametrize(
    ("name", "content", "ours"),
    [
        ("x", pickle.dumps(SNAPSHOT), True),
        ("x", pickle.dumps(SNAPSHOT, protocol=2), True),
        ("my_snapshot.pickle", b"", True),
        ("data_batch_1.pkl", pickle.dumps({"data": b""}), False),
        ("x", b"{}", False),
    ],
)
def test_snapshots_are_known_by_name_or_first_bytes(*, name: str, content: bytes, ours: bool, tmp_path: Path) -> None:
    """Other pickles are none of ours."""
    path = tmp_path / name
    path.write_bytes(content)
    assert torch_snapshot.matches(path) is ours


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """It does not match by content, and reading it names it."""
    assert not torch_snapshot.matches(tmp_path / "x")
    with pytest.raises(HwprofError, match=r"snapshot\.pickle cannot be read: No such file"):
        read(tmp_path / "snapshot.pickle")


EDITS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 4), st.binary(max_size=6)), min_size=1, max_size=4)


@settings(max_examples=300)
@given(protocol=st.sampled_from([2, 4]), edits=EDITS)
@pytest.mark.e2e
def test_no_damage_makes_anything_but_an_error(
    protocol: int, edits: list[tuple[int, int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However a snapshot is edited, it is analysed or refused with HwprofError, and never half stored."""
    content = pickle.dumps(SNAPSHOT, protocol=protocol)
    for at, removed, put in edits:
        place = at % len(content)
        content = content[:place] + put + content[place + removed :]
    path = write(tmp_path_factory.mktemp("fuzz"), content)
    try:
        connection = read(path)
    except HwprofError:
        assert list((path.parent / "store").iterdir()) == []
    else:
        with connection:
            for name in ("segments", "allocations", "warnings"):
                runner.run(connection, name)
