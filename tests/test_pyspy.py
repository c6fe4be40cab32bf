"""The importers of py-spy's two formats: exact times and sums, nothing lost in silence, one error on damage."""

import gzip
import json
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pyspy_traces import DOCUMENT, EVENTS, event, nested, refused, rows, write
from tests.stores import read, warned
from toolkit.analyses import runner
from toolkit.errors import HwprofError
from toolkit.ingest import formats, kineto, pyspy, speedscope
from toolkit.ingest.limits import OPEN_FRAMES

BUSY = """
def leaf(n):
    return sum(i * i for i in range(n))

def again(n):
    return leaf(20_000) + (again(n - 1) if n else 0)

for _ in range(300):
    again(3)
"""


def test_frames_become_rows(tmp_path: Path) -> None:
    """Each frame has its start, duration, own time, depth, and whether it is inside itself."""
    connection = read(write(tmp_path, EVENTS))
    assert rows(connection, "ts_ns, dur_ns, self_ns, thread, depth, frame, recursive, samples") == [
        (100_000, 90_000, 45_000, "7/5", 0, "main (a.py:1)", False, None),
        (110_000, 40_000, 20_000, "7/5", 1, "work (a.py:1)", False, None),
        (120_000, 20_000, 20_000, "7/5", 2, "work (a.py:1)", True, None),
        (160_000, 5_000, 5_000, "7/5", 1, "rest (a.py:1)", False, None),
    ]
    assert warned(connection) == {"no_epoch": (8, False)}
    assert connection.execute("SELECT trace, pass_name, format, events FROM traces").fetchall() == [
        (2, "profile", "pyspy_chrometrace", 8)
    ]


def test_self_and_total_time_by_frame(tmp_path: Path) -> None:
    """Own times sum to the thread's time, and a frame that calls itself counts once in its total."""
    with read(write(tmp_path, EVENTS)) as connection:
        found = runner.run(connection, "stacks")
    assert [(row["frame"], row["self_ns"], row["total_ns"]) for row in found] == [
        ("main (a.py:1)", 45_000, 90_000),
        ("work (a.py:1)", 40_000, 40_000),
        ("rest (a.py:1)", 5_000, 5_000),
    ]


def test_threads_are_apart(tmp_path: Path) -> None:
    """A frame ends on the thread that it began on, whatever the others do in between."""
    ours, theirs = nested(("main", 0, 20)), nested(("main", 5, 30), tid=6)
    connection = read(write(tmp_path, [ours[0], theirs[0], ours[1], theirs[1]]))
    assert rows(connection, "thread, ts_ns, dur_ns") == [("7/5", 0, 20_000), ("7/6", 5_000, 25_000)]


def test_fractions_of_microseconds_are_exact(tmp_path: Path) -> None:
    """No time passes through a binary float."""
    text = json.dumps([event("B", "f", 1), event("E", "f", 2)])
    text = text.replace('"ts": 1', '"ts": 1776479641085368.001').replace('"ts": 2', '"ts": 1776479641085368.002')
    assert rows(read(write(tmp_path, text.encode())), "ts_ns, dur_ns") == [(1_776_479_641_085_368_001, 1)]


def test_frames_are_named_by_what_is_known_of_them(tmp_path: Path) -> None:
    """Names are data: without a file or a line they stand alone, and markup and control characters stay."""
    events = [
        event("B", "thread (7): main", 0, place=("", 0)),
        event("B", "<b>\x1b[2J\u202e\x00", 1, place=("a\nb.py", None)),
    ]
    ends = [event("E", frame["name"], 2) | {"args": frame["args"]} for frame in reversed(events)]
    connection = read(write(tmp_path, events + ends))
    assert rows(connection, "frame", "depth") == [("thread (7): main",), ("<b>\x1b[2J\u202e\x00 (a\nb.py)",)]


@pytest.mark.parametrize(
    ("events", "kept", "expected"),
    [
        ([event("B", "f", 1)], [("f", 1000, None, None)], {"unclosed_frames": (1, True)}),
        ([event("E", "f", 1)], [], {"unopened_frames": (1, True)}),
        (
            [event("B", "f", 1), event("B", "g", 2), event("E", "f", 4)],
            [("f", 1000, 3000, None), ("g", 2000, None, None)],
            {"unclosed_frames": (1, True)},
        ),
        (
            [event("B", "f", 5), event("B", "g", 4), event("E", "f", 6)],
            [("f", 5000, 1000, 1000)],
            {"out_of_order": (1, True)},
        ),
        (
            [event("B", "f", float("nan")), event("B", "g", 1), event("E", "g", 1)],
            [("g", 1000, 0, 0)],
            {"unusable_start": (1, True)},
        ),
    ],
    ids=["begin alone", "end alone", "end of the outer alone", "backwards", "NaN"],
)
def test_what_does_not_match_is_counted(
    events: Sequence[Any], kept: Sequence[Any], expected: dict[str, tuple[int, bool]], tmp_path: Path
) -> None:
    """An unknown duration is NULL, and so is what follows from it; what is left out is told."""
    connection = read(write(tmp_path, events))
    assert rows(connection, "regexp_extract(frame, '^.'), ts_ns, dur_ns, self_ns", "ts_ns") == kept
    assert warned(connection) == expected | {"no_epoch": (len(events), False)}


def test_a_trace_without_events_is_in_doubt(tmp_path: Path) -> None:
    """py-spy writes an empty list where it saw nothing."""
    assert warned(read(write(tmp_path, []))) == {"no_events": (1, True)}


def test_more_open_frames_than_stated_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that never end do not fill the memory."""
    monkeypatch.setenv(OPEN_FRAMES.variable, "10")
    assert "more than 10 threads and frames open at once" in refused(
        write(tmp_path, [event("B", "f", i) for i in range(10)])
    )


CUT = json.dumps(EVENTS).encode()[:-40]
DAMAGED = {
    "nothing": b"",
    "half": CUT,
    "half of a gzip": gzip.compress(json.dumps(EVENTS).encode())[:-20],
    "not JSON": b"[" + b"{" * 100,
    "nesting": b"[" * 100_000,
    "a number": b"[1]",
    "text for a line": json.dumps([event("B", "f", 1) | {"args": {"line": "x"}}]).encode(),
    "number beyond 64 bits": json.dumps([event("B", "f", 1, tid=10**100)]).encode(),
    "lone surrogate": json.dumps([event("B", "\ud800", 1)]).encode(),
    "other events": json.dumps([{"ph": "X", "cat": "Kernel", "name": "k", "ts": 1, "dur": 2}]).encode(),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_chrome_traces_are_errors(name: str, tmp_path: Path) -> None:
    """What is cut off, of wrong types or no trace of py-spy is refused in one line that names the file."""
    assert "\n" not in refused(write(tmp_path, DAMAGED[name]))


OLD_KINETO = [{"ph": "X", "cat": "Operator", "name": '"cat":"py-spy"', "pid": 1, "tid": "2", "ts": 5, "dur": 1}]


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        (json.dumps(EVENTS).encode(), pyspy),
        (json.dumps(EVENTS, separators=(",", ":")).encode(), pyspy),
        (gzip.compress(json.dumps(EVENTS).encode()), pyspy),
        (json.dumps({"traceEvents": EVENTS}).encode(), pyspy),
        (json.dumps(OLD_KINETO).encode(), kineto),
        (json.dumps({"traceEvents": OLD_KINETO}).encode(), kineto),
        (json.dumps(DOCUMENT).encode(), speedscope),
        (gzip.compress(json.dumps(DOCUMENT).encode()), speedscope),
    ],
)
def test_each_file_finds_its_importer(content: bytes, ours: formats.Importer, tmp_path: Path) -> None:
    """Bare lists, objects and gzip are told apart by what only that profiler writes."""
    assert formats.importer_of(write(tmp_path, content, "trace.json")) is ours


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\x1f\x8b", json.dumps([{"ph": "B", "cat": "x"}]).encode()])
def test_what_is_no_trace_is_nobody_s(content: bytes, tmp_path: Path) -> None:
    """Beginnings and ends of other tools are not taken for py-spy's."""
    with pytest.raises(HwprofError, match=r"no trace that hwprof knows|is empty"):
        formats.importer_of(write(tmp_path, content, "trace.json"))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """It does not match by content, and reading it names it."""
    assert not pyspy.matches(tmp_path / "x")
    assert not speedscope.matches(tmp_path / "x")
    for name in ("pyspy.json", "x.speedscope.json"):
        assert "No such file" in refused(tmp_path / name)
        (tmp_path / "store").rmdir()


@pytest.mark.e2e
@pytest.mark.parametrize("form", ["chrometrace", "speedscope"])
def test_a_program_is_recorded_and_read(form: str, tmp_path: Path) -> None:
    """What py-spy writes today is read without doubt, and each thread's own times sum to its whole."""
    program, path = tmp_path / "busy.py", tmp_path / f"busy.{form}.json"
    program.write_text(BUSY)
    options = ["--format", form, "--rate", "200", "--threads", "--output", path]
    command = [Path(sysconfig.get_path("scripts")) / "py-spy", "record", *options, "--", sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not path.exists():
        pytest.skip(f"py-spy may not record here: {done.stderr.strip()[-200:]}")
    with read(path) as connection:
        found = {row["frame"].split(" (")[0]: row for row in runner.run(connection, "stacks")}
        own, whole = rows(connection, "sum(self_ns), sum(dur_ns) FILTER (depth = 0)")[0]
        assert warned(connection).keys() == {"no_epoch" if form == "chrometrace" else "no_timeline"}
    assert own == whole > 0
    assert found["again"]["total_ns"] >= found["leaf"]["total_ns"] >= found["leaf"]["self_ns"] > 0


EDITS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 4), st.binary(max_size=6)), min_size=1, max_size=4)
TEXTS = st.sampled_from([b"null", b"-1", b"1e9", b"NaN", b"[", b"}", b'"', b",", b"0", b'"E"', b"\\ud800"])


@settings(max_examples=300)
@given(document=st.sampled_from([EVENTS, {"traceEvents": EVENTS}, DOCUMENT]), edits=EDITS, text=TEXTS, packed=...)
@pytest.mark.e2e
def test_no_damage_makes_anything_but_an_error(
    *,
    document: Any,
    edits: list[tuple[int, int, bytes]],
    text: bytes,
    packed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """However a file is edited, and packed before that, it is analysed or refused, and never half stored."""
    content = json.dumps(document).encode()
    content = gzip.compress(content) if packed else content
    for at, removed, put in [*edits, (edits[0][0] * 7, 1, text)]:
        place = at % len(content)
        content = content[:place] + put + content[place + removed :]
    name = "x.speedscope.json" if document is DOCUMENT else "pyspy.json"
    path = write(tmp_path_factory.mktemp("fuzz"), content, name)
    try:
        connection = read(path)
    except HwprofError:
        assert list((path.parent / "store").iterdir()) == []
    else:
        with connection:
            runner.run(connection, "stacks")
