"""The marks of a person's own loop, with a framework that only counts what it was asked; and what its spec tells."""

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from toolkit import own_spec
from toolkit.analyses import runner
from toolkit.capture.fit_marks import FitMarks
from toolkit.capture.own_loop import OwnLoop
from toolkit.capture.own_window import OwnWindow
from toolkit.capture.record import Recorder
from toolkit.errors import HwprofError
from toolkit.ingest import records
from toolkit.ingest.store import StoreWriter, connect
from toolkit.own_spec import LOOP, OwnSpec
from toolkit.spec import RunSpec


class Spy:
    """Fulfils `Framework` and `NativeProfiler` without a framework; says in what order it was asked."""

    def __init__(self, *, broken: str = "") -> None:
        self.said: list[str] = []
        self._broken = broken
        self._left = 0

    def facts(self) -> dict[str, Any]:
        """None."""
        return {}

    def compiled(self) -> bool:
        """Never."""
        return False

    def sync(self) -> None:
        """Said."""
        self.said.append("sync")

    def report_memory(self, record: Recorder) -> None:
        """It has none."""

    def annotate(self, name: str) -> AbstractContextManager[Any]:
        """Nothing: there is no trace."""
        return contextlib.nullcontext()

    def window(self, options: Any, folder: Path, *, steps: int) -> "Spy":
        """Itself."""
        self._left = steps
        self.said.append(f"window of {steps}")
        return self

    def start(self) -> None:
        """Said, or refused."""
        self._act("start")

    def begin_step(self, name: str) -> None:
        """Nothing."""

    def end_step(self) -> bool:
        """Counted down."""
        self._left -= 1
        return self._left > 0

    def stop(self) -> None:
        """Said, or refused."""
        self._act("stop")

    def _act(self, what: str) -> None:
        if what == self._broken:
            raise RuntimeError(f"it cannot {what}")
        self.said.append(what)


class Looped:
    """One loop that records into `folder`."""

    def __init__(self, folder: Path, *, broken: str = "", **settings: Any) -> None:
        spec = OwnSpec(framework="torch", model="m", device="cpu", **settings)
        self.folder, self.spy = folder, Spy(broken=broken)
        self.record = Recorder(folder / "worker.jsonl", failed=lambda: None)
        self.window = OwnWindow(spec, self.spy, self.record, folder / "trace")
        self.loop = OwnLoop(self.record, self.spy, self.window)

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """What the store of the record answers."""
        with connect(self._store()) as connection:
            return connection.execute(question).fetchall()

    def ledger(self) -> dict[int, dict[str, int]]:
        """Parts by epoch; asserts that they sum to the epoch's wall time."""
        with connect(self._store()) as connection:
            found = runner.run(connection, "epoch_ledger")
        epochs: dict[int, dict[str, int]] = {}
        for row in found:
            epochs.setdefault(row["epoch"], {})[row["part"]] = row["ns"]
        walls = {row["epoch"]: row["wall_ns"] for row in found}
        assert {epoch: sum(parts.values()) for epoch, parts in epochs.items()} == walls
        return epochs

    def analysis(self, name: str) -> list[dict[str, Any]]:
        """Rows of an analysis."""
        with connect(self._store()) as connection:
            return runner.run(connection, name)

    def _store(self) -> Path:
        if not (self.folder / "marks.parquet").exists():
            self.record.close()
            with StoreWriter(self.folder) as store:
                records.read(self.folder / "worker.jsonl", pass_name=LOOP, store=store)
        return self.folder


def endless(count: int) -> Iterator[int]:
    """As many batches, of which nobody knows how many."""
    yield from range(count)


@pytest.mark.parametrize("batches", [range(3), endless(3)], ids=["sized", "of unknown length"])
def test_a_loop_s_marks_nest_and_its_ledger_is_exact(batches: Iterable[int], tmp_path: Path) -> None:
    """Three batches are three steps however they come; what comes after the last is none, and no time is lost."""
    looped = Looped(tmp_path, profile_steps=0)
    for epoch in looped.loop.epochs(1):
        assert epoch == 1
        for batch in looped.loop.steps(batches):
            if batch == 1:
                with looped.loop.phase("host_to_device"):
                    pass
        with looped.loop.phase("validation"):
            pass
    assert looped.rows("SELECT step FROM marks WHERE kind = 'step' AND complete ORDER BY ts_ns") == [(1,), (2,), (3,)]
    assert looped.rows("SELECT count(*) FROM marks WHERE NOT complete") == [(0,)]
    phases = "SELECT name, step FROM marks WHERE kind = 'phase' ORDER BY ts_ns, id"
    step = [("data_wait",), ("compute",)]
    wanted = [("data_wait", None), *[(name, 1) for (name,) in step], ("data_wait", 2), ("compute", 2)]
    wanted += [("host_to_device", 2), ("compute", 2), *[(name, 3) for (name,) in step], ("data_wait", None)]
    wanted += [("compute", None), ("data_wait", None), ("validation", None), ("callbacks", None)]
    assert looped.rows(phases) == wanted
    assert set(looped.ledger()[1]) == {"data_wait", "compute", "host_to_device", "validation", "callbacks", "other"}
    assert looped.spy.said == ["sync", "sync", "sync"]  # after the steps, after the validation, at the epoch's end


def test_leaving_a_loop_early_ends_what_was_open(tmp_path: Path) -> None:
    """After break, continue and an exception that the loop survives, each epoch is whole and its parts sum to it."""
    looped = Looped(tmp_path, profile_steps=0)
    for epoch in looped.loop.epochs(5):
        with contextlib.suppress(ValueError):
            for batch in looped.loop.steps(range(4)):
                if batch == 0:
                    continue
                if epoch == 1:
                    break
                with looped.loop.phase("callbacks"):
                    raise ValueError("one bad batch")
        if epoch == 2:
            break
    looped.loop.finish()
    steps = looped.rows("SELECT epoch, count(*) FROM marks WHERE kind = 'step' AND complete GROUP BY ALL ORDER BY ALL")
    assert steps == [(1, 2), (2, 2)]
    assert looped.rows("SELECT count(*) FROM marks WHERE NOT complete") == [(0,)]
    assert len(looped.ledger()) == 2


def failing(count: int) -> Iterator[int]:
    """As many batches, and an error in place of the next."""
    yield from range(count)
    raise ValueError("one unreadable file")


def test_an_error_in_place_of_a_batch_is_no_step(tmp_path: Path) -> None:
    """A loop that survives it, and goes on with others, has whole epochs, and a window no longer than those batches."""
    looped = Looped(tmp_path, profile_from=2)
    for _ in looped.loop.epochs(2):
        with pytest.raises(ValueError, match="unreadable"):
            list(looped.loop.steps(failing(2)))
        assert "stop" in looped.spy.said
        list(looped.loop.steps(range(1)))
    steps = looped.rows("SELECT epoch, step FROM marks WHERE kind = 'step' AND complete ORDER BY ts_ns")
    assert steps == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert looped.rows("SELECT count(*) FROM marks WHERE NOT complete") == [(0,)]
    assert set(looped.ledger()[2]) == {"data_wait", "compute", "callbacks", "other"}


def test_epochs_go_on_from_those_before(tmp_path: Path) -> None:
    """A second loop in one run has numbers of its own, so that no two epochs are taken for one."""
    looped = Looped(tmp_path, profile_steps=0)
    assert [*looped.loop.epochs(2), *looped.loop.epochs(1)] == [1, 2, 3]
    assert len(looped.ledger()) == 3


def raising_fit(looped: Looped) -> None:
    """What a `fit` marks that raises in its second step, and hears no more of."""
    marks = FitMarks(looped.record, looped.spy, looped.window)
    looped.loop.begin()
    marks.begin_epoch(looped.loop.next_epoch())
    marks.begin_step(1)
    marks.end_step()
    marks.begin_step(2)


def test_training_may_begin_anew_after_a_fit_that_raised(tmp_path: Path) -> None:
    """What that left open ends, with the profiler's window, when the next begins or the run does end."""
    looped = Looped(tmp_path, profile_from=2)
    raising_fit(looped)
    raising_fit(looped)
    assert looped.spy.said.count("stop") == 1
    assert [*looped.loop.epochs(1)] == [3]
    raising_fit(looped)
    looped.loop.finish()
    assert looped.rows("SELECT count(*) FROM marks WHERE NOT complete") == [(0,)]
    steps = looped.rows("SELECT epoch, count(*) FROM marks WHERE kind = 'step' GROUP BY ALL ORDER BY ALL")
    assert steps == [(1, 2), (2, 2), (4, 2)]
    assert len(looped.ledger()) == 4


def test_the_window_lies_in_one_epoch_and_its_steps_apart(tmp_path: Path) -> None:
    """It begins with the step that was asked for, ends with its epoch, and its steps are in no figure of the others."""
    looped = Looped(tmp_path, profile_from=3, profile_steps=9)
    for _ in looped.loop.epochs(3):
        for _ in looped.loop.steps(range(4)):
            pass
    looped.window.finish()
    assert looped.spy.said[:4] == ["sync", "window of 2", "start", "sync"]
    assert looped.spy.said.count("stop") == 1
    (whole, *epochs) = looped.analysis("step_times")
    assert (whole["steps"], whole["profiled_steps"]) == (10, 2)
    assert [row["profiled_steps"] for row in epochs] == [2, 0, 0]
    assert [row["profiled_steps"] for row in looped.analysis("training")] == [2, 0, 0]
    assert [row["step"] for row in looped.analysis("step_series") if row["profiled"]] == [3, 4]
    (cost,) = looped.analysis("profiler_cost")
    assert cost["ratio"] == pytest.approx(cost["profile_median_ns"] / cost["time_median_ns"])
    assert not looped.rows("SELECT * FROM unavailable")


def test_the_window_opens_on_a_step_that_there_is(tmp_path: Path) -> None:
    """Where nobody knows how many batches an epoch has, it begins with the next epoch's first, not with none."""
    looped = Looped(tmp_path, profile_from=4, profile_steps=2)
    for _ in looped.loop.epochs(3):
        assert list(looped.loop.steps(endless(3))) == [0, 1, 2]
    looped.window.finish()
    assert [row["profiled_steps"] for row in looped.analysis("training")] == [0, 2, 0]
    phases = looped.rows("SELECT name FROM marks WHERE kind = 'phase' AND epoch = 2 ORDER BY ts_ns, id LIMIT 6")
    assert [name for (name,) in phases] == ["data_wait", "data_wait", "compute", "profiler", "data_wait", "compute"]
    assert not looped.rows("SELECT * FROM unavailable")
    looped.ledger()


@pytest.mark.parametrize("batches", [range(4), endless(4)], ids=["sized", "of unknown length"])
def test_a_loop_too_short_for_its_window_says_so(batches: Iterable[int], tmp_path: Path) -> None:
    """Where the window never opened, the reason is told, and there is no cost."""
    looped = Looped(tmp_path, profile_from=9)
    for _ in looped.loop.epochs(1):
        for _ in looped.loop.steps(batches):
            pass
    looped.window.finish()
    ((reason,),) = looped.rows("SELECT reason FROM unavailable WHERE metric = 'trace'")
    assert reason == "the loop had 4 steps, and the profiler begins with step 9"
    assert looped.analysis("profiler_cost") == []


def test_a_profiler_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    """Another profiler of the script's own, say: with what it said, and the remedy."""
    looped = Looped(tmp_path, broken="start", profile_from=1)
    for _ in looped.loop.epochs(1):
        with pytest.raises(HwprofError, match=r"cannot start: RuntimeError: it cannot start\. .*profile_steps=0"):
            list(looped.loop.steps(range(2)))
    looped.record.close()


def test_a_trace_that_cannot_be_written_ends_no_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The loop goes on to its end, the reason is kept for the run's status, and one line says it."""
    looped = Looped(tmp_path, broken="stop", profile_from=1, profile_steps=1)
    for _ in looped.loop.epochs(1):
        assert list(looped.loop.steps(range(3))) == [0, 1, 2]
    assert looped.window.failure == "its trace cannot be written: RuntimeError: it cannot stop"
    assert capsys.readouterr().err == f"hwprof: {looped.window.failure}. The loop goes on without.\n"
    assert len(looped.rows("SELECT * FROM marks WHERE kind = 'step' AND complete")) == 3


def fail(loop: OwnLoop) -> None:
    """Raises in the second step."""
    for _ in loop.epochs(2):
        for batch in loop.steps(range(3)):
            assert 1 / (1 - batch)


def test_what_is_cut_off_stays_open(tmp_path: Path) -> None:
    """An exception that ends the run leaves epoch and step incomplete, whenever Python lets go of the loop."""
    looped = Looped(tmp_path, profile_steps=0)
    with pytest.raises(ZeroDivisionError):
        fail(looped.loop)
    looped.loop.cut()
    cut = looped.rows("SELECT kind, step FROM marks WHERE NOT complete ORDER BY id")
    assert cut == [("stage", None), ("epoch", None), ("step", 2)]
    looped.ledger()


def test_misuse_is_one_line(tmp_path: Path) -> None:
    """Steps outside an epoch, within steps or a phase, epochs within epochs, and names that no phase may have."""
    looped = Looped(tmp_path, profile_steps=0)
    loop = looped.loop
    with pytest.raises(HwprofError, match="has no epoch around it"):
        list(loop.steps([1]))
    for name in ("profiler", "other", "a.b", "Validation", ""):
        with pytest.raises(HwprofError, match="is no name for a phase"), loop.phase(name):
            pass
    for _ in loop.epochs(1):
        with pytest.raises(HwprofError, match="Epochs are inside epochs"):
            list(loop.epochs(1))
        with loop.phase("validation"), pytest.raises(HwprofError, match="iterate over the batches themselves"):
            list(loop.steps([1]))
        for _ in loop.steps([1]):
            with pytest.raises(HwprofError, match="one after the other"):
                list(loop.steps([1]))
    looped.ledger()


def test_a_record_that_cannot_be_written_ends_no_loop(tmp_path: Path) -> None:
    """A full disk is told once, to whom it concerns; a worker is asked to end, a person's own process is not."""
    told: list[str] = []
    record = Recorder(Path("/dev/full"), failed=lambda: told.append("failed"))
    record._flusher.join()
    record.close()
    assert record.failure
    assert told == ["failed"]


def test_either_spec_is_read_back(tmp_path: Path) -> None:
    """By what it says of itself; of an own loop's settings those that hwprof does not know keep their names."""
    own = OwnSpec(framework="jax", model="m", device="cpu", settings={"depth": 3}, samplers=())
    assert own_spec.read(own.as_json()) == own
    assert own_spec.read(RunSpec(batch=7).as_json()) == RunSpec(batch=7)
    told = own_spec.told(own)
    assert (told["depth"], told["batch"]) == (3, None)
    assert "learning_rate" not in told
    assert own_spec.told(RunSpec())["batch"] == 32
