"""py-spy's stacks on the run's clock by the worker's markers, and what Python did in each part of a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.jax_memory_profiles import profile
from tests.pyspy_traces import event, nested, write
from tests.snapshot_traces import SNAPSHOT
from tests.snapshot_traces import write as write_snapshot
from toolkit.analyses import runner
from toolkit.analyses.stack_windows import StackWindow, stack_windows
from toolkit.clock import ClockPair
from toolkit.ingest.place_stacks import Place, joined, launched
from toolkit.ingest.run import ingest, native_traces
from toolkit.ingest.store import connect
from toolkit.reports.stacks import SPEEDSCOPE, stack_tables, write_speedscope

MS = 1_000_000
NOW = 1_790_000_000_000_000_000
LAUNCH = 1_000 * MS


@pytest.mark.parametrize(
    ("frames", "marks", "place"),
    [
        ([(10, 70)], [(1_000, 1_060)], Place(990, 1, 0)),
        ([(13, 75), (209, 265)], [(1_000, 1_060), (1_200, 1_260)], Place(989, 2, 10)),
        ([(209, 265)], [(1_000, 1_060), (1_200, 1_260)], Place(993, 1, 4)),
        ([(10, 70), (500, 560)], [(1_000, 1_060), (1_200, 1_260)], None),
        ([(1, 2), (3, 4)], [(1_000, 1_060)], None),
        ([], [(1_000, 1_060)], None),
    ],
    ids=["exact", "late samples", "attached late", "contradiction", "more than marks", "none"],
)
def test_the_launch_is_what_makes_frames_fit_their_marks(
    frames: list[tuple[int, int]], marks: list[tuple[int, int]], place: Place | None
) -> None:
    """The mean of what each end says, so that frames are late and early alike; what does not fit places nothing."""
    assert launched(frames, marks) == place


def test_a_marker_seen_at_two_of_its_lines_is_one() -> None:
    """What begins where another ends is its continuation; what begins later is the next."""
    assert joined([(10, 20), (20, 25), (25, 70), (100, 160)]) == [(10, 70), (100, 160)]


def record(folder: Path, *marks: tuple[str, str, int, int, int | None]) -> None:
    """What a worker writes of marks (kind, name, start, end, epoch) in ms, all inside one run."""
    lines: list[list[Any]] = [
        ["clock", *ClockPair(NOW, 0)],
        ["mark", 0, None, "run", "profile", None, None, 0, 2_000 * MS],
    ]
    lines += [
        ["mark", number, 0, kind, name, epoch, 1 if kind == "step" else None, start * MS, end * MS]
        for number, (kind, name, start, end, epoch) in enumerate(marks, start=1)
    ]
    (folder / "worker.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def run_folder(folder: Path, stacks: Any) -> Path:
    """A run of one pass whose py-spy was launched 1 s after the clock's zero."""
    raw = folder / "raw" / "profile"
    raw.mkdir(parents=True, exist_ok=True)
    write(raw, stacks)
    record(
        raw, ("sync", "pyspy", 1_000, 1_060, None), ("stage", "train", 1_100, 1_700, None),
        ("step", "train", 1_100, 1_200, 1), ("phase", "compute", 1_100, 1_200, 1),
        ("phase", "validation", 1_250, 1_400, 1), ("step", "train", 1_400, 1_500, 2),
    )  # fmt: skip
    ingest(folder)
    return folder


# Microseconds after the launch: an outer frame around all, and inside it the marker, a step, the validation.
FRAMES = [
    ("main", 0, 700_000),
    ("hwprof_pyspy_marker", 0, 60_000),
    ("step", 100_000, 200_000),
    ("mm", 120_000, 180_000),
]
FRAMES += [("evaluate", 260_000, 400_000)]


def test_what_python_did_in_each_part_of_a_run(tmp_path: Path) -> None:
    """Own times of one thread, which sum to the time in which it was seen there. Other threads do not count."""
    other = nested(("wait", 0, 700_000), tid=9)
    with connect(run_folder(tmp_path, nested(*FRAMES) + other)) as connection:
        windows = stack_windows(connection)
        warnings = connection.execute("SELECT code, count, untrusted FROM warnings").fetchall()
        starts = connection.execute("SELECT ts_ns FROM stacks WHERE frame LIKE 'mm (%'").fetchall()
    found = {
        (one.kind, one.name): {frame.frame.partition(" ")[0]: frame.self_ns // MS for frame in one.frames}
        for one in windows
    }
    assert found == {
        ("phase", "compute"): {"step": 40, "mm": 60},
        ("phase", "validation"): {"evaluate": 140, "main": 10},
        ("gap", "between epochs"): {"evaluate": 140, "main": 60},
        ("stage", "train"): {"evaluate": 140, "step": 40, "mm": 60, "main": 360},
    }
    assert {one.name: one.sampled_ns for one in windows}["between epochs"] == 200 * MS
    assert warnings == [("stacks_placed", 1, False)]
    assert starts == [(NOW + LAUNCH + 120 * MS,)]
    console = Console(width=80, record=True)
    console.print(*stack_tables(windows))
    assert "phase validation" in console.export_text()


def test_stacks_without_a_marker_stay_where_they_are(tmp_path: Path) -> None:
    """py-spy came too late for both: its times are its own, nothing is said of phases, and the file says why."""
    with connect(run_folder(tmp_path, nested(*FRAMES[:1]))) as connection:
        assert stack_windows(connection) == []
        assert connection.execute("SELECT code FROM warnings").fetchall() == [("no_epoch",)]
        write_speedscope(connection, tmp_path)
    assert not (tmp_path / SPEEDSCOPE).exists()


def test_a_damaged_trace_of_py_spy_s_ends_no_run(tmp_path: Path) -> None:
    """It is said, and everything else is there."""
    with connect(run_folder(tmp_path, b'[{"cat": "py-spy", "ph": "B"')) as connection:
        ((code, message, untrusted),) = connection.execute("SELECT code, message, untrusted FROM warnings").fetchall()
        assert (code, untrusted) == ("unreadable_file", False)
        assert "pyspy.json" in message
        assert connection.execute("SELECT count(*) FROM marks").fetchone() == (7,)
        assert connection.execute("SELECT count(*) FROM stacks").fetchone() == (0,)


def test_memory_s_files_lie_beside_the_native_trace(tmp_path: Path) -> None:
    """A snapshot and a memory profile of the profiled window are traces of the run, and never its native one."""
    trace = tmp_path / "raw" / "profile" / "trace"
    trace.mkdir(parents=True)
    (trace / "memory.prof").write_bytes(profile(("cpu:0", 1, 8, [("f", "/me/a.py", 1)])))
    write_snapshot(trace, SNAPSHOT)
    with connect(run_folder(tmp_path, nested(*FRAMES))) as connection:
        formats = connection.execute("SELECT format FROM traces ORDER BY trace").fetchall()
        assert [row["code"] for row in runner.run(connection, "unfinished")] == ["no_trace"]
        assert runner.run(connection, "alignment") == []
    assert formats == [("torch_memory_snapshot",), ("jax_memory_profile",), ("pyspy_chrometrace",)]
    assert native_traces(tmp_path / "raw" / "profile") == []


def test_speedscope_gets_each_thread_with_every_frame_closed(tmp_path: Path) -> None:
    """Openings and closings nest, in the order of time, each where the trace has it."""
    unclosed = [event("B", "never", 690_000)]
    with connect(run_folder(tmp_path, nested(*FRAMES) + unclosed)) as connection:
        write_speedscope(connection, tmp_path)
    document = json.loads((tmp_path / SPEEDSCOPE).read_text())
    names = [frame["name"].partition(" ")[0] for frame in document["shared"]["frames"]]
    (profile,) = document["profiles"]
    moments = [each["at"] for each in profile["events"]]
    assert moments == sorted(moments)
    assert (profile["startValue"], profile["endValue"]) == (0, 700 * MS)
    stack, spans = [], {}
    for each in profile["events"]:
        if each["type"] == "O":
            stack.append((each["frame"], each["at"]))
        else:
            frame, start = stack.pop()
            assert frame == each["frame"]
            spans[names[frame]] = (start // MS, each["at"] // MS)
    assert stack == []
    assert spans == {name: (start // 1_000, end // 1_000) for name, start, end in FRAMES}


def test_the_report_is_empty_where_nothing_was_seen() -> None:
    """No table of nothing."""
    nothing: list[StackWindow] = []
    assert list(stack_tables(nothing)) == []
