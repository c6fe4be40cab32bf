"""The worker's record: one JSON array a line, whole at any moment."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any

import pytest

from tests.workers import REPO, wait_until
from toolkit.capture import record as record_module
from toolkit.capture.record import Recorder, annotation_name


def lines(path: Path) -> list[list[Any]]:
    """What was written."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def of_kind(path: Path, *kinds: str) -> list[list[Any]]:
    """The lines of these kinds."""
    return [line for line in lines(path) if line[0] in kinds]


def test_a_mark_names_the_one_around_it_and_has_its_epoch_and_step(tmp_path: Path) -> None:
    """Parent, epoch and step come from the innermost open mark; each mark lies inside its parent's time."""
    path = tmp_path / "worker.jsonl"
    with Recorder(path) as record, record.mark("run", "time"), record.mark("epoch", "train", epoch=2):
        with record.mark("step", "train", step=5), record.phase("compute"):
            pass
        with record.phase("validation"):
            pass
    marks = {line[4]: line for line in of_kind(path, "mark")}
    assert marks["compute"][1:7] == [4, 3, "phase", "compute", 2, 5]
    assert marks["validation"][1:7] == [5, 2, "phase", "validation", 2, None]
    assert marks["time"][1:7] == [1, None, "run", "time", None, None]
    compute, step = (line for line in of_kind(path, "mark") if line[1] in (3, 4))
    assert step[7] <= compute[7] <= compute[8] <= step[8]


def test_outer_marks_are_written_as_they_begin(tmp_path: Path) -> None:
    """A mark that holds others leaves an open line, so that a kill inside it leaves no orphans; a phase does not."""
    path = tmp_path / "worker.jsonl"
    with Recorder(path) as record, record.mark("run", "time"), record.mark("step", "train"), record.phase("compute"):
        pass
    assert [line[4] for line in of_kind(path, "open")] == ["time", "train"]


def test_a_phase_may_be_renamed_inside(tmp_path: Path) -> None:
    """What a phase was is sometimes known at its end only."""
    path = tmp_path / "worker.jsonl"
    with Recorder(path) as record, record.phase("compute") as phase:
        phase.name = "compile"
    assert [line[4] for line in of_kind(path, "mark")] == ["compile"]


def test_what_an_exception_left_open_stays_open(tmp_path: Path) -> None:
    """A mark that an exception went through never ends, and the record still closes whole."""
    path = tmp_path / "worker.jsonl"
    with pytest.raises(RuntimeError), Recorder(path) as record, record.mark("stage", "train"):
        raise RuntimeError
    assert [line[0] for line in lines(path)] == ["clock", "open", "clock"]


def test_annotations_lie_inside_their_mark(tmp_path: Path) -> None:
    """While `annotate` is set, steps and phases are annotated between their mark's two clock reads; the rest is not."""
    path = tmp_path / "worker.jsonl"
    seen: dict[str, tuple[int, int]] = {}

    @contextlib.contextmanager
    def annotate(name: str) -> Iterator[None]:
        began = monotonic_ns()
        yield
        seen[name] = (began, monotonic_ns())

    with Recorder(path) as record, record.phase("before"):
        record.annotate = annotate
        with record.mark("epoch", "train", epoch=1), record.mark("step", "train", step=1), record.phase("compute"):
            pass
        record.annotate = None
        with record.phase("after"):
            pass
    marks = {annotation_name(line[4], line[1]): line for line in of_kind(path, "mark")}
    assert sorted(seen) == ["hwprof.compute.4", "hwprof.train.3"]
    for name, (began, ended) in seen.items():
        assert marks[name][7] <= began <= ended <= marks[name][8]


def test_other_records_carry_what_they_were_given(tmp_path: Path) -> None:
    """Scalars, counters and what is unavailable come back as they went in."""
    path = tmp_path / "worker.jsonl"
    with Recorder(path) as record:
        record.scalar("train_loss", 2.5, epoch=1)
        record.counter("torch", "0", "in_use", 1024, "B")
        record.unavailable("torch", "cpu", "allocator", "no counters")
    scalar, counter, unavailable = of_kind(path, "scalar", "counter", "unavailable")
    assert scalar[2:] == [1, "train_loss", 2.5]
    assert counter[2:] == ["torch", "0", "in_use", 1024, "B"]
    assert unavailable == ["unavailable", "torch", "cpu", "allocator", "no counters"]


def test_threads_may_write_at_once(tmp_path: Path) -> None:
    """No line is lost or torn where several threads write."""
    path = tmp_path / "worker.jsonl"
    with Recorder(path) as record:
        threads = [
            threading.Thread(target=lambda: [record.scalar("x", 0.0, epoch=0) for _ in range(500)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(of_kind(path, "scalar")) == 2000


def test_writing_keeps_up_with_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed over while others' lines are put into words is written next time: no flush goes on for ever."""
    path = tmp_path / "worker.jsonl"
    into_words = record_module._line
    monkeypatch.setattr(record_module, "FLUSH_EVERY_S", 1000)
    with Recorder(path) as record:

        def meanwhile(line: tuple[Any, ...]) -> bytes:
            if line[1] != "last":
                record.write("said", "last")
            return into_words(line)

        monkeypatch.setattr(record_module, "_line", meanwhile)
        record._flush()
        assert [line[0] for line in lines(path)] == ["clock"]
    assert [line[0] for line in lines(path)] == ["clock", "said", "clock"]


def test_a_kill_loses_only_the_last_moment(tmp_path: Path) -> None:
    """Killed without warning, a process leaves whole lines whose last is at most about a second old."""
    path = tmp_path / "worker.jsonl"
    code = (
        "import sys\nfrom pathlib import Path\nfrom toolkit.capture.record import Recorder\n"
        "record = Recorder(Path(sys.argv[1]))\n"
        "while True:\n with record.phase('compute'): sum(range(100_000))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], cwd=REPO) as process:
        wait_until(lambda: path.exists() and b"mark" in path.read_bytes(), process)
        killed = monotonic_ns()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert killed - lines(path)[-1][-1] < 2_000_000_000
