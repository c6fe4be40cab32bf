"""A sweep's record: what it keeps, in which order points are repeated, and that a crash loses no repeat."""

import dataclasses
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from toolkit.capture import matrix, sweeps
from toolkit.capture.matrix import Point
from toolkit.capture.sweeps import BEGUN, COMPLETE, INTERRUPTED, Entry, Limits, Log, Sweep
from toolkit.commands import sweeping
from toolkit.commands.sweeping import History
from toolkit.errors import HwprofError

PROFILES = Path(__file__).parents[1] / "profiles"
LIMITS = Limits(least=2, most=2, width=0.05)


def sweep(folder: Path, *settings: str, limits: Limits = LIMITS, seed: int = 7) -> Sweep:
    """A sweep of these settings; by default four points, the last of which no run can be of."""
    asked = matrix.of_settings(settings or ("framework=torch,tf", "compile=eager,inductor", "model=cifar_cnn"))
    points = matrix.points(asked, profiles=PROFILES)
    return sweeps.create(folder, points=points, seed=seed, limits=limits)


def test_a_sweep_comes_back_from_its_file(tmp_path: Path) -> None:
    """Axes, points with their whole specs, refusals, seed and limits are read back equal."""
    made = sweep(tmp_path)
    assert sweeps.read(made.folder) == made
    assert made.points[3].spec is None
    assert sweeps.find(tmp_path, "last") == made.folder
    assert sweeps.find(tmp_path, made.name) == made.folder


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"created": "now"}'])
def test_a_damaged_record_is_one_line(text: str, tmp_path: Path) -> None:
    """Neither a traceback nor a guess."""
    made = sweep(tmp_path)
    (made.folder / sweeps.FILE).write_text(text)
    with pytest.raises(HwprofError, match=r"sweep\.json is damaged"):
        sweeps.read(made.folder)


def test_an_entry_that_a_crash_cut_off_is_no_entry(tmp_path: Path) -> None:
    """What was written whole before it counts, and what comes after it is read again."""
    made = sweep(tmp_path)
    with Log(made) as log:
        kept = [log.append(Entry(point=1, repeat=number, status=COMPLETE, run=f"run{number}")) for number in (1, 2)]
    path = made.folder / sweeps.LOG
    path.write_bytes(path.read_bytes() + b'{"point": 1, "rep')
    assert sweeps.entries(made) == kept
    with Log(made) as log:
        kept.append(log.append(Entry(point=2, repeat=1, status=COMPLETE, run="run3")))
    assert sweeps.entries(made) == kept
    assert all(entry.at for entry in kept)


@pytest.mark.parametrize(
    "line", ["[]", '{"point": 1}', '{"point": "one", "repeat": 1, "status": "x", "run": null}', "x", "\x00"]
)
def test_a_damaged_line_is_one_line(line: str, tmp_path: Path) -> None:
    """What is no entry in the middle of the record is said, not skipped; so is a run outside of the folder of runs."""
    made = sweep(tmp_path)
    for damage in (line, json.dumps(dataclasses.asdict(Entry(point=1, repeat=1, status=COMPLETE, run="../x")))):
        (made.folder / sweeps.LOG).write_text(f"{damage}\n")
        with pytest.raises(HwprofError, match=r"points\.jsonl is damaged"):
            sweeps.entries(made)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second one that would run the same sweep is refused."""
    made = sweep(tmp_path)
    with Log(made), pytest.raises(HwprofError, match="Another process is running"):
        Log(made)
    with Log(made):
        pass


def order(made: Sweep, rounds: int) -> list[list[int]]:
    """The points of each round, where every point is repeated in each."""
    repeats = {point.number: 0 for point in made.points}
    found = []
    for _ in range(rounds * len(repeats)):
        point = sweeps.upcoming(made, repeats)
        assert point
        repeats[point.number] += 1
        found.append(point.number)
    return [found[start : start + len(repeats)] for start in range(0, len(found), len(repeats))]


def test_each_round_has_every_point_in_an_order_of_its_own(tmp_path: Path) -> None:
    """Rounds are permutations that differ; the seed alone decides them, and another seed gives others."""
    settings = ("batch=" + ",".join(map(str, range(1, 21))), "model=cifar_cnn")
    made = sweep(tmp_path, *settings)
    rounds = order(made, 5)
    assert all(sorted(each) == list(range(1, 21)) for each in rounds)
    assert len({tuple(each) for each in rounds}) == 5
    assert order(sweeps.read(made.folder), 5) == rounds
    assert order(dataclasses.replace(made, seed=8), 5) != rounds


def test_no_point_is_favoured(tmp_path: Path) -> None:
    """Over many rounds each point comes first, and last, about as often: under half its share would be no chance."""
    made = sweep(tmp_path, "batch=1,2,3,4", "model=cifar_cnn")
    rounds = order(made, 400)
    for place in (0, -1):
        counts = [sum(each[place] == number for each in rounds) for number in range(1, 5)]
        assert min(counts) > 50, counts


class Fake:
    """Stands where runs are made: each is complete, but for those that are told to end otherwise."""

    def __init__(self, otherwise: dict[tuple[int, int], str] | None = None) -> None:
        self.otherwise = otherwise or {}
        self.ran: list[tuple[int, int]] = []

    def repeat(self, point: Point, number: int) -> Iterator[Entry]:
        """Begins and ends one."""
        self.ran.append((point.number, number))
        run = f"{point.number}-{number}-{len(self.ran)}"
        status = self.otherwise.pop((point.number, number), COMPLETE)
        yield Entry(point=point.number, repeat=number, status=BEGUN, run=run)
        if status == "crash":
            raise SystemExit
        reason = None if status == COMPLETE else f"it {status}"
        yield Entry(point=point.number, repeat=number, status=status, run=run, reason=reason, seconds=2.0)


def drive(made: Sweep, fake: Fake, *, most_runs: int = 100) -> bool:
    """Drives a sweep, as the command does; whether it came to its end."""
    with Log(made) as log:
        history = History(made)
        sweeping.settle_interrupted(history, log, say=lambda _: None)
        left = iter(range(most_runs))
        return sweeping.drive(
            history, log, fake.repeat, watch=lambda *_: None, over=lambda: next(left, None) is None
        )  # fmt: skip


def statuses(made: Sweep) -> list[str]:
    """How each point stands."""
    history = History(made)
    return [history.status(point)[0] for point in made.points]


def test_a_sweep_repeats_every_point_that_can_run(tmp_path: Path) -> None:
    """As often as asked, in whole rounds; the one that cannot is unsupported from the start."""
    made, fake = sweep(tmp_path), Fake()
    assert drive(made, fake)
    assert sorted(fake.ran) == [(number, repeat) for number in (1, 2, 3) for repeat in (1, 2)]
    assert [repeat for _, repeat in fake.ran] == [1, 1, 1, 2, 2, 2]
    assert statuses(made) == [COMPLETE, COMPLETE, COMPLETE, "unsupported"]


@pytest.mark.parametrize("status", ["failed", "killed", "out_of_memory", "timed_out"])
def test_a_failure_is_its_point_s_result(status: str, tmp_path: Path) -> None:
    """It ends the repeats of that point alone, and stays with its reason."""
    made, fake = sweep(tmp_path), Fake({(2, 1): status})
    assert drive(made, fake)
    assert sorted(fake.ran) == [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2)]
    assert History(made).status(made.points[1]) == (status, f"it {status}")


def test_ctrl_c_and_resume_repeat_only_what_was_stopped(tmp_path: Path) -> None:
    """The repeat that was interrupted is run again, the finished ones are not, in the order there would have been."""
    undisturbed = Fake()
    drive(sweep(tmp_path / "one"), undisturbed)
    made, fake = sweep(tmp_path / "two"), Fake({(3, 2): INTERRUPTED})
    with pytest.raises(KeyboardInterrupt):
        drive(made, fake)
    assert drive(made, fake)
    place = undisturbed.ran.index((3, 2))
    assert fake.ran == undisturbed.ran[: place + 1] + undisturbed.ran[place:]


def test_a_crash_loses_one_repeat_at_most(tmp_path: Path) -> None:
    """What had begun is told as abandoned and run again; if it had come to its end, that counts."""
    made, fake = sweep(tmp_path), Fake({(1, 1): "crash", (2, 2): "crash"})
    with pytest.raises(SystemExit):
        drive(made, fake)
    with pytest.raises(SystemExit):
        drive(made, fake)
    ended = sweeps.entries(made)[-1]
    assert (ended.point, ended.repeat, ended.status) == (2, 2, BEGUN)
    run = tmp_path / str(ended.run)
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"status": COMPLETE, "reason": None, "exit_code": 0}))
    assert drive(made, fake)
    assert fake.ran.count((1, 1)) == 2
    assert fake.ran.count((2, 2)) == 1
    assert [entry.status for entry in sweeps.entries(made) if (entry.point, entry.repeat) == (1, 1)] == [
        BEGUN, "abandoned", BEGUN, COMPLETE,
    ]  # fmt: skip


def test_when_its_time_is_over_it_can_go_on(tmp_path: Path) -> None:
    """No run begins after that; what is there is unfinished, and resuming finishes it."""
    made, fake = sweep(tmp_path), Fake()
    assert not drive(made, fake, most_runs=4)
    assert len(fake.ran) == 4
    assert statuses(made).count("unfinished") == 2
    assert drive(made, fake)
    assert len(fake.ran) == 6


def test_what_is_left_is_told_by_what_the_same_point_took(tmp_path: Path) -> None:
    """Nothing before the first run; then each point by its own runs, one without any by all; at least the least."""
    made, fake = sweep(tmp_path), Fake()
    assert sweeping.seconds_left(History(made)) is None
    drive(made, fake, most_runs=1)
    assert sweeping.seconds_left(History(made)) == 2.0 * 5
    done = fake.ran[0][0]
    with Log(made) as log:
        other = next(number for number in (1, 2, 3) if number != done)
        log.append(Entry(point=other, repeat=1, status=COMPLETE, run="slow", seconds=8.0))
    assert sweeping.seconds_left(History(made)) == 2.0 + 8.0 + 2 * 5.0


def test_an_entry_of_no_point_is_ignored(tmp_path: Path) -> None:
    """A record that was meddled with adds no point."""
    made = sweep(tmp_path)
    with Log(made) as log:
        log.append(Entry(point=5, repeat=1, status=COMPLETE, run="x"))
        log.append(Entry(point=1, repeat=1, status=COMPLETE, run="y"))
    assert [entry.point for entry in islice(sweeps.entries(made), 2)] == [1]
