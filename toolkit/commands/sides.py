"""The sides of a comparison from what was given: names of runs with commas between repeats, patterns, sweeps."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from string import ascii_uppercase
from typing import NamedTuple

from toolkit.analyses import matched, processes
from toolkit.analyses.comparable import Pair, Side
from toolkit.analyses.processes import Process
from toolkit.analyses.summary import Summary
from toolkit.capture import runs, sweeps
from toolkit.capture.sweeps import Sweep
from toolkit.commands.digest import digest
from toolkit.errors import HwprofError
from toolkit.reports import summary_json

WILD = frozenset("*?[")
LEAST_SIDES = 2
Key = frozenset[tuple[str, str]]


class Given(NamedTuple):
    """What is compared, in pairs, and notes on what was left out."""

    pairs: list[Pair]
    notes: list[str]


def given(runs_folder: Path, names: Sequence[str]) -> Given:
    """The pairs that the names on the command line mean. Raises HwprofError where they mean none.

    Runs: every side beside the first. One sweep: its points along each axis, beside the first value there. Two sweeps:
    point by point.
    """
    found = [sweeps.folder_of(runs_folder, name) for name in names]
    match [sweeps.read(folder) for folder in found if folder]:
        case []:
            return _of_runs([folders_of(runs_folder, name) for name in names], names)
        case [sweep] if len(names) == 1:
            return _along_axes(sweep)
        case [a, b] if len(names) == len((a, b)):
            return _by_points(a, b)
        case _:
            raise HwprofError(
                "Sweeps are compared with themselves or one other.", remedy="Give one sweep, two sweeps, or runs alone."
            )


def folders_of(runs_folder: Path, name: str) -> list[Path]:
    """The run folders of one side: `RUN`, `RUN,RUN,…` or a pattern. Raises HwprofError where there is none."""
    return [folder for each in name.split(",") for folder in _folders(runs_folder, each.strip())]


def _of_runs(folders: Sequence[Sequence[Path]], names: Sequence[str]) -> Given:
    """Sides called A, B, C, … in their order."""
    if len(folders) < LEAST_SIDES:
        raise HwprofError(f"{names[0]} alone is nothing to compare.", remedy="Give two sides, a space between.")
    labels = (letter * times for times in count(1) for letter in ascii_uppercase)
    first, *others = (Side(label, read(mine)) for label, mine in zip(labels, folders, strict=False))
    return Given([Pair(first, other) for other in others], [])


def read(folders: Iterable[Path]) -> list[Process]:
    """The processes of run folders. Raises HwprofError for one that is not complete."""
    return [_process(folder) for folder in folders]


def summary_of(folder: Path) -> Summary:
    """summary.json, made where it is missing or of another version."""
    path = folder / "summary.json"
    if summary_json.read(path) is None:
        digest(folder)
    summary = summary_json.read(path)
    if summary is None:
        raise HwprofError(f"{path} cannot be read.", remedy="Delete it: `hwprof show` makes a new one.")
    return summary


def _along_axes(sweep: Sweep) -> Given:
    points, notes = _points(sweep, "")
    pairs = []
    for axis in sweep.axes:
        if axis == "mode":
            notes.append(f"along mode nothing is held to each other: {matched.BOTH_MODES.lower()}")
            continue
        groups: dict[Key, list[Side]] = {}
        for key, side in points.items():
            groups.setdefault(key - {part for part in key if part[0] == axis}, []).append(side)
        pairs += [Pair(first, other, [axis]) for first, *others in groups.values() for other in others]
    if not pairs:
        raise HwprofError(
            f"{sweep.name} has no two points that were measured.", remedy="`hwprof show` says of each why."
        )
    return Given(pairs, notes)


def _by_points(a: Sweep, b: Sweep) -> Given:
    (mine, notes), (its, more) = _points(a, "A "), _points(b, "B ")
    pairs = [Pair(mine[key], its[key]) for key in mine if key in its]
    if not pairs:
        raise HwprofError(
            f"{a.name} and {b.name} have no point in common.", remedy="`hwprof show` lists those of each."
        )
    alone = [side.label for key, side in [*mine.items(), *its.items()] if not (key in mine and key in its)]
    return Given(pairs, [*notes, *more, *(f"{label}: left out, for the other sweep has none" for label in alone)])


def _points(sweep: Sweep, prefix: str) -> tuple[dict[Key, Side], list[str]]:
    """Every point that has complete runs, and why the others are left out."""
    ended: dict[int, list[sweeps.Entry]] = {}
    for entry in sweeps.entries(sweep):
        ended.setdefault(entry.point, []).append(entry)
    points, notes = {}, []
    for point in sweep.points:
        label = prefix + " ".join(f"{name}={value}" for name, value in point.settings.items())
        mine = ended.get(point.number, [])
        names = [entry.run for entry in mine if entry.status == sweeps.COMPLETE and entry.run]
        if names:
            points[frozenset(point.settings.items())] = Side(label, read(sweep.folder.parent / name for name in names))
        else:
            notes.append(f"{label}: left out: {mine[-1].status if mine else point.refused or 'not run yet'}")
    return points, notes


def _folders(runs_folder: Path, name: str) -> list[Path]:
    if not WILD.intersection(name):
        return [runs.find(runs_folder, name)]
    if "/" in name:
        found = sorted(path for path in Path(name).parent.glob(Path(name).name) if (path / runs.SPEC).exists())
    else:
        found = [folder for folder in runs.folders(runs_folder) if fnmatchcase(folder.name, name)]
    if not found:
        raise HwprofError(f"{name!r} fits no run.", remedy="`hwprof list` shows those there are.")
    return found


def _process(folder: Path) -> Process:
    status = runs.status_of(folder)
    if status["status"] != sweeps.COMPLETE:
        raise HwprofError(
            f"{folder.name} is {status['status']}: its figures are not those of a whole run.",
            remedy="Leave it out, or run it again.",
        )
    return processes.read(folder, summary_of(folder))
