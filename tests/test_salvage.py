"""`hwprof analyze --salvage`: of a damaged file what comes before the damage, never more, never unsaid."""

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kineto_traces import KERNEL, LAUNCH
from tests.pyspy_traces import DOCUMENT, EVENTS
from tests.snapshot_traces import SEGMENTS, SNAPSHOT, event
from tests.xplane_traces import event as xevent
from tests.xplane_traces import plane, space, start
from toolkit.errors import HwprofError
from toolkit.ingest import cache
from toolkit.ingest.store import connect

NS_PER_US = 1_000


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of each test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def kineto(kernels: int, **members: Any) -> bytes:
    """A trace of launches and kernels, a kernel each 10 µs."""
    pairs = [
        event | {"ts": 10 * number + after, "dur": 2, "args": event["args"] | {"correlation": number + 1}}
        for number in range(kernels)
        for event, after in ((LAUNCH, 0), (KERNEL, 3))
    ]
    return json.dumps(members | {"traceEvents": pairs, "baseTimeNanoseconds": 5}).encode()


def write(folder: Path, content: bytes, name: str) -> Path:
    """A file."""
    path = folder / name
    path.write_bytes(content)
    return path


def refused(path: Path, *, salvages: bool = False) -> str:
    """What the error says."""
    with pytest.raises(HwprofError) as caught:
        cache.stored(path, salvages=salvages)
    return str(caught.value)


def salvaged(path: Path, count: str) -> tuple[int, str]:
    """A figure of the part's store, and its warning, which must say that it is not to be trusted."""
    with connect(cache.stored(path, salvages=True)) as connection:
        [(message, untrusted)] = connection.execute(
            "SELECT message, untrusted FROM warnings WHERE code = 'salvaged'"
        ).fetchall()
        assert untrusted
        return connection.execute(count).fetchall()[0][0], message


KERNELS = "SELECT count(*) FROM slices WHERE kind = 'kernel'"


def test_a_json_trace_that_is_cut_off_keeps_its_whole_events(tmp_path: Path) -> None:
    """Without the option the error names the byte and the option; with it, whole events before that byte are kept."""
    whole = kineto(100)
    cut = whole[: whole.rindex(b"volta") + 3]
    path = write(tmp_path, cut, "cut.pt.trace.json")
    byte = cut.rindex(b", {") + 1  # behind the comma before the event that is cut off
    said = refused(path)
    assert f"from byte {byte} on" in said
    assert said.endswith("--salvage keeps what came before.")
    found, message = salvaged(path, KERNELS)
    assert found == 99
    assert f"events are kept up to byte {byte:,} of the JSON text" in message
    assert "reach 0.000992 s from the first to the last" in message  # the last launch ends at 992 µs


def test_kernels_behind_a_cut_are_not_the_profilers_loss(tmp_path: Path) -> None:
    """Where all that is left are launches, nothing says that the device was not recorded."""
    whole = kineto(1)
    path = write(tmp_path, whole[: whole.index(b"volta")], "cut.pt.trace.json")
    assert salvaged(path, KERNELS)[0] == 0
    with connect(cache.stored(path, salvages=True)) as connection:
        codes = {code for (code,) in connection.execute("SELECT code FROM warnings").fetchall()}
    assert codes == {"salvaged", "unmatched_launch"}


def test_a_gzip_that_is_cut_off_says_how_much_of_it_could_be_read(tmp_path: Path) -> None:
    """Bytes of the file, bytes once inflated, and the byte of the text up to which events are whole."""
    packed = gzip.compress(kineto(20_000), mtime=0)
    cut = packed[: len(packed) // 2]
    path = write(tmp_path, cut, "cut.pt.trace.json.gz")
    assert f"damaged behind byte {len(cut)} of {len(cut)}" in refused(path)
    found, message = salvaged(path, KERNELS)
    assert 5_000 < found < 20_000
    assert f"{len(cut):,} of {len(cut):,} compressed bytes could be read" in message
    assert "bytes once inflated" in message


@pytest.mark.e2e
def test_a_gzip_that_is_damaged_within_keeps_what_comes_before(tmp_path: Path) -> None:
    """Of compressed data, what was inflated before the damage is kept but for a few kilobytes."""
    packed = bytearray(gzip.compress(kineto(50_000), mtime=0))
    place = len(packed) // 2
    packed[place : place + 64] = b"\xff" * 64
    path = write(tmp_path, bytes(packed), "bent.pt.trace.json.gz")
    assert "--salvage" in refused(path)
    found, _ = salvaged(path, KERNELS)
    assert found > 15_000


DAMAGES = {
    "broken JSON": b'{"ph": "X", "cat": nul}',
    "not UTF-8": b'{"ph": "X", "name": "\xff\xfe"}',
    "nested deep": b'{"ph": "X", "args": ' + b"[" * 5000,
    "comma missing": b"{} {}",
    "no comma, but a bracket": b"{}]]",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_json_that_is_broken_in_its_middle_keeps_what_comes_before(damage: str, tmp_path: Path) -> None:
    """From the broken event on nothing is read, however well what follows it looks."""
    whole = kineto(100)
    events = whole.split(b", {")
    path = write(tmp_path, b", {".join(events[:151]) + b", " + DAMAGES[damage] + whole[2000:], "bent.pt.trace.json")
    assert "on: " in refused(path)
    found, _ = salvaged(path, KERNELS)
    assert found in {74, 75}


def test_damage_behind_the_events_keeps_them_all(tmp_path: Path) -> None:
    """Only the members behind the events are lost, and the date with them."""
    path = write(tmp_path, kineto(10)[:-1], "cut.pt.trace.json")
    found, message = salvaged(path, KERNELS)
    assert found == 10
    assert "of the JSON text" in message


@given(cut=st.integers(1, 3_000))
@pytest.mark.e2e
def test_a_cut_keeps_a_beginning_and_never_more(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever a trace is cut, what is kept are its first events, each whole and unchanged; or it is refused."""
    whole = kineto(20)
    content = whole[: -min(cut, len(whole) - 1)]
    folder = tmp_path_factory.mktemp("cut")
    path = write(folder, content, "cut.pt.trace.json")
    try:
        store = cache.stored(path, salvages=True)
    except HwprofError:
        assert content.count(b"}}") == 0 or b"kernel" not in content
        return
    with connect(store) as connection:
        kept = connection.execute("SELECT kind, correlation FROM slices ORDER BY ts_ns").fetchall()
    every = [(kind, number + 1) for number in range(20) for kind in ("launch", "kernel")]
    assert kept == every[: len(kept)]
    assert len(kept) >= content.count(b"}}") - 1


def test_a_salvaged_store_never_stands_for_a_whole_one(tmp_path: Path) -> None:
    """After a salvage the file without the option is refused as before, and a whole one is not called salvaged."""
    path = write(tmp_path, kineto(3)[:-1], "cut.pt.trace.json")
    part = cache.stored(path, salvages=True)
    assert "--salvage" in refused(path)
    assert cache.stored(path, salvages=True) == part
    whole = write(tmp_path, kineto(3), "whole.pt.trace.json")
    assert cache.stored(whole, salvages=True) == cache.stored(whole)
    with connect(cache.stored(whole)) as connection:
        assert connection.execute("SELECT count(*) FROM warnings WHERE code = 'salvaged'").fetchall() == [(0,)]


def test_py_spy_traces_keep_their_beginning(tmp_path: Path) -> None:
    """Frames that ended before the damage have their times, those that were open have none."""
    path = write(tmp_path, json.dumps(EVENTS).encode()[:-40], "pyspy.json")
    found, _ = salvaged(path, "SELECT count(*) FROM stacks")
    assert found > 0


def test_xplanes_keep_their_whole_planes(tmp_path: Path) -> None:
    """A plane's names stand at its end: the plane that is cut off is lost, those before it are kept."""
    first = plane("/host:CPU", {"1:python": [xevent("step", 0, 1_000_000)]})
    second = plane("/host:other", {"1:python": [xevent("b", 0, 1)] * 50})
    content = space(start(), first, second)
    path = write(tmp_path, content[:-20], "vm.xplane.pb")
    begins = len(space(start(), first))
    said = refused(path)
    assert f"in the plane that begins at byte {begins} of {len(content) - 20}" in said
    found, message = salvaged(path, "SELECT count(*) FROM slices")
    assert found == 1
    assert f"2 planes, {begins:,} of {len(content) - 20:,} bytes, are kept" in message


def test_snapshots_keep_their_whole_records(tmp_path: Path) -> None:
    """Segments and events before the damage are kept; a record that is cut off is none."""
    history = [event("alloc", 4096 * number, 512) for number in range(5_000)]
    content = pickle.dumps(SNAPSHOT | {"device_traces": [history]}, protocol=4)
    path = write(tmp_path, content[: len(content) // 2], "memory_snapshot.pickle")
    assert f"of {len(content) // 2} on: it is cut off or damaged" in refused(path)
    found, _ = salvaged(path, "SELECT count(*) FROM allocations")
    assert 1_000 < found < 5_000
    assert salvaged(path, "SELECT count(*) FROM segments")[0] == len(SEGMENTS)


@given(cut=st.integers(1, 2_000), protocol=st.sampled_from([2, 4]))
@pytest.mark.e2e
def test_a_cut_snapshot_keeps_a_beginning_or_nothing(
    cut: int, protocol: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever a snapshot is cut, what is kept are its first records, unchanged; or the error says that none are."""
    history = [event("alloc", number, 512 + number) for number in range(9)]
    content = pickle.dumps(SNAPSHOT | {"device_traces": [history]}, protocol=protocol)
    path = write(tmp_path_factory.mktemp("cut"), content[: -min(cut, len(content))], "memory_snapshot.pickle")
    try:
        store = cache.stored(path, salvages=True)
    except HwprofError as error:
        assert "nothing of it can be kept" in str(error) or "cannot be unpickled" in str(error) or "empty" in str(error)  # noqa: PT017
        return
    with connect(store) as connection:
        kept = connection.execute("SELECT address, bytes FROM allocations").fetchall()
        segments = connection.execute("SELECT address FROM segments").fetchall()
    assert kept == [(number, 512 + number) for number in range(len(kept))]
    assert segments == [(segment["address"],) for segment in SEGMENTS[: len(segments)]]


NOTHING = {
    "x.speedscope.json": json.dumps(DOCUMENT).encode()[:-30],
    "x.speedscope.json.gz": gzip.compress(json.dumps(DOCUMENT).encode())[:-12],
    "cut.pt.trace.json": b'{"schemaVersion": 1, "traceEv',
    "head.pt.trace.json": b'{"schemaVersion": 1, "traceEvents": [{"ph": "X", "cat": "ker',
    "memory_snapshot.pickle": pickle.dumps(SNAPSHOT)[:30],
    "vm.xplane.pb": space(plane("/host:CPU", {"1:python": [xevent("a")] * 9}))[:-5],
}


@pytest.mark.parametrize("name", NOTHING)
def test_where_nothing_can_be_kept_the_option_is_no_help(name: str, tmp_path: Path) -> None:
    """The option gives an error too, which does not advise the option, and no store."""
    said = refused(write(tmp_path, NOTHING[name], name), salvages=True)
    assert name in said
    assert "--salvage" not in said
    assert not list(cache.cache_folder().glob("*"))
