"""Damaged and hostile XPlane files: one clear error, or a store that says what is wrong; never another exception."""

import contextlib
import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores import rows
from tests.xplane_traces import REJECTED, RICH, SHARED, WHOLE, event, plane, read, refused, space, start
from toolkit.errors import HwprofError
from toolkit.ingest import xplane
from toolkit.ingest.limits import XPLANE_BYTES
from toolkit.ingest.store import StoreWriter, connect


@pytest.mark.parametrize("file", REJECTED)
def test_a_trace_mangled_by_a_text_tool_is_rejected(file: str, tmp_path: Path) -> None:
    """A file whose bytes went through a text decoder gives one line that names it, and no store."""
    refused((SHARED / file).read_bytes(), tmp_path)


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
    monkeypatch.setenv(XPLANE_BYTES.variable, "10")
    with pytest.raises(HwprofError, match=r"vm\.xplane\.pb has \d+ bytes, and hwprof reads up to 10 "):
        read(WHOLE, tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The system's own reason is in the error."""
    with StoreWriter(tmp_path) as store, pytest.raises(HwprofError, match=r"gone\.xplane\.pb cannot be read: No such"):
        xplane.read(tmp_path / "gone.xplane.pb", trace=0, pass_name=None, store=store)


@settings(max_examples=200)
@pytest.mark.e2e
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


def test_events_at_impossible_times_are_left_out_and_counted(tmp_path: Path) -> None:
    """A negative duration or an offset of months is damage, not work."""
    events = [event("a", 0, -1), event("b", 2**62, 0), event("c", 1_000, 1_000)]
    connection = read(space(plane("/host:CPU", {"1:main": events}), start()), tmp_path)
    assert rows(connection, "SELECT code, count, untrusted FROM warnings") == [("unusable_time", 2, True)]
    assert rows(connection, "SELECT name FROM slices") == [("c",)]
    assert rows(connection, "SELECT events, sum_ps FROM lines") == [(3, 1_000)]
