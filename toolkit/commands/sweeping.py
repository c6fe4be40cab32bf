"""Drives a sweep: plans its points, repeats them in random rounds as ordinary runs, and reads what they came to."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import psutil

from toolkit.analyses import matched, processes
from toolkit.analyses.processes import Process
from toolkit.analyses.sweep_results import (
    UNFINISHED,
    Figures,
    Ran,
    SweepResults,
    Withheld,
    figures_of,
    results,
    status_of,
)
from toolkit.capture import launch, runs, sweeps
from toolkit.capture.matrix import Point
from toolkit.capture.sweeps import ABANDONED, BEGUN, COMPLETE, INTERRUPTED, UNSUPPORTED, Entry, Log, Sweep
from toolkit.commands.digest import finish
from toolkit.commands.sides import summary_of
from toolkit.errors import BAD_INPUT, FAILED, HwprofError

# What a supervisor whose launcher was killed takes at most to end worker and samplers.
ENDING_S = 60
LOOK_EVERY_S = 0.2
OURS = "toolkit.capture."

Say = Callable[[str], None]
Plans = dict[int, launch.Plan]


def process_of(folder: Path) -> Process | None:
    """A run's, from its store, made anew where it is gone; None where the run is gone, or cannot be read."""
    try:
        return processes.read(folder, summary_of(folder))
    except (HwprofError, OSError, duckdb.Error):
        return None


class History:
    """What happened to a sweep so far, and the figures of its runs, each got once by `read` from the run's folder.

    Of processes nothing else is kept: those of a long sweep are large together.
    """

    def __init__(self, sweep: Sweep, *, read: Callable[[Path], Process | None] = process_of) -> None:
        self.sweep = sweep
        self._read = read
        self._entries: dict[int, list[Entry]] = {point.number: [] for point in sweep.points}
        for entry in sweeps.entries(sweep):
            self.add(entry)
        self._figures: dict[str, Figures | None] = {}

    def add(self, entry: Entry) -> None:
        """Takes what happened now."""
        self._entries[entry.point].append(entry)

    def of(self, point: Point) -> list[Entry]:
        """What happened to a point."""
        return self._entries[point.number]

    def ran(self, point: Point) -> list[Ran]:
        """The complete runs of a point."""
        return [self._ran(entry.run) for entry in self.of(point) if entry.status == COMPLETE and entry.run]

    def status(self, point: Point) -> tuple[str, str | None]:
        """How a point stands, and why."""
        return status_of(point, self.of(point), self.ran(point), self.sweep.limits)

    def open(self) -> dict[int, int]:
        """Number of each point that needs more repeats, and how many it has."""
        points = [point for point in self.sweep.points if self.status(point)[0] == UNFINISHED]
        return {point.number: len(self.ran(point)) for point in points}

    def _ran(self, run: str) -> Ran:
        if run not in self._figures:
            process = self._read(self.sweep.folder.parent / run)
            self._figures[run] = figures_of(process) if process else None
        return Ran(run, self._figures[run])


def plan_all(points: Sequence[Point], *, runs_folder: Path, say: Say) -> tuple[Plans, dict[int, tuple[str, str]]]:
    """Settles every point that can run, environments and images made ready; of the others (status, reason).

    Each choice is said once, however many points it holds for.
    """
    said: set[str] = set()

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    plans: Plans = {}
    refused: dict[int, tuple[str, str]] = {}
    for point in points:
        if point.spec is None:
            refused[point.number] = (UNSUPPORTED, str(point.refused))
            continue
        try:
            plans[point.number] = launch.plan(point.spec, runs=runs_folder, say=once)
        except HwprofError as error:
            refused[point.number] = (UNSUPPORTED if error.exit_code == BAD_INPUT else "failed", str(error))
    return plans, refused


def settle_interrupted(history: History, log: Log, *, say: Say) -> None:
    """Says of each repeat that a crash of this program cut short how it ended; waits while it still does."""
    for entry in [entry for point in history.sweep.points for entry in sweeps.unfinished(history.of(point))]:
        folder = history.sweep.folder.parent / str(entry.run)
        _wait_for_the_end(folder, say=say)
        if (folder / runs.STATUS).exists():
            told = runs.status_of(folder)
            status, reason = told["status"], told["reason"]
        else:
            status, reason = ABANDONED, "the sweep ended while it ran"
        history.add(
            log.append(Entry(point=entry.point, repeat=entry.repeat, status=status, run=entry.run, reason=reason))
        )


def drive(
    history: History,
    log: Log,
    repeat: Callable[[Point, int], Iterator[Entry]],
    *,
    watch: Callable[[History, Entry], None],
    over: Callable[[], bool],
) -> bool:
    """Repeats points until all are finished, or `over`; whether they are. KeyboardInterrupt where a run was stopped.

    `repeat` yields what happens to a repeat of a point, and `watch` is told after each.
    """
    while point := sweeps.upcoming(history.sweep, history.open()):
        if over():
            return False
        for entry in repeat(point, len(history.ran(point)) + 1):
            history.add(log.append(entry))
            watch(history, entry)
            if entry.status == INTERRUPTED:
                raise KeyboardInterrupt
    return True


def reseeded(plan: launch.Plan, number: int) -> launch.Plan:
    """The plan with the seed of its repeat `number`: the settings' own for the first, each later one higher by 1."""
    spec = dataclasses.replace(plan.spec, seed=plan.spec.seed + number - 1)
    return plan._replace(wish=plan.wish._replace(spec=spec))


def run_repeat(plan: launch.Plan, runs_folder: Path, point: Point, number: int) -> Iterator[Entry]:
    """A fresh run of a point, from launch to summary."""
    began = time.monotonic()
    folder = launch.create_folder(runs_folder, plan)
    yield Entry(point=point.number, repeat=number, status=BEGUN, run=folder.name)
    outcome = finish(folder, launch.run_passes(folder, plan, say=_nothing))
    yield Entry(
        point=point.number, repeat=number, status=outcome.status, run=folder.name, reason=outcome.reason,
        seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip


def results_of(history: History, *, force: bool) -> SweepResults:
    """What there is; figures of matched runs of several frameworks only where they are verified, or by `force`."""
    ran = {point.number: history.ran(point) for point in history.sweep.points}
    folders = {history.sweep.folder.parent / each.run: number for number, mine in ran.items() for each in mine}
    unshown = matched.doubtful(matched.compared(folder for folder in folders if (folder / runs.SPEC).exists()))
    why = (
        ("Shown by --force. " if force else "Figures left blank. ") + matched.not_the_same(unshown) if unshown else None
    )
    blank = frozenset() if force else frozenset(folders[each.folder] for each in unshown)
    statuses = {point.number: history.status(point) for point in history.sweep.points}
    return results(history.sweep, statuses, ran, Withheld(blank, why))


def _wait_for_the_end(folder: Path, *, say: Say) -> None:
    """A worker outlives a launcher that was killed by some seconds, and would disturb the next."""
    latest = time.monotonic() + ENDING_S
    if _still_runs(folder.name):
        say(f"Waiting for what is left of {folder.name} to end")
    while _still_runs(folder.name):
        if time.monotonic() > latest:
            raise HwprofError(
                f"Processes of {folder.name} have not ended.", remedy="End them, then resume.", exit_code=FAILED
            )
        time.sleep(LOOK_EVERY_S)


def _still_runs(name: str) -> bool:
    """Whether there is a process of ours that was started for the run of this name."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if any(word.startswith(OURS) for word in words) and any(name in word for word in words):
                return True
    return False


def _nothing(line: str) -> None:
    """A sweep says what is common to its runs once, before the first."""


def seconds_left(history: History) -> float | None:
    """What the repeats that are needed at least will take, by those of the same point, else of all; None: unknown."""
    took: Mapping[int, list[float]] = {
        point.number: [entry.seconds for entry in history.of(point) if entry.status == COMPLETE and entry.seconds]
        for point in history.sweep.points
    }
    every = [seconds for mine in took.values() for seconds in mine]
    if not every:
        return None
    usual = sum(every) / len(every)
    left = 0.0
    for number, done in history.open().items():
        mine = took[number]
        each = sum(mine) / len(mine) if mine else usual
        left += each * max(history.sweep.limits.least - done, 1)
    return left
