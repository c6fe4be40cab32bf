"""The sides of a comparison from what was given: names of runs with commas between repeats, patterns, sweeps."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from string import ascii_uppercase

from toolkit.analyses import processes
from toolkit.analyses.comparable import Side
from toolkit.analyses.processes import Process
from toolkit.analyses.summary import Summary
from toolkit.capture import runs
from toolkit.commands.digest import digest
from toolkit.errors import HwprofError
from toolkit.reports import summary_json

WILD = frozenset("*?[")
COMPLETE = "complete"


def folders_of(runs_folder: Path, given: str) -> list[Path]:
    """The run folders of one side: `RUN`, `RUN,RUN,…` or a pattern. Raises HwprofError where there is none."""
    return [folder for name in given.split(",") for folder in _folders(runs_folder, name.strip())]


def labelled(sides: Sequence[Sequence[Path]]) -> list[Side]:
    """Sides called A, B, C, … in their order."""
    labels = (letter * times for times in count(1) for letter in ascii_uppercase)
    return [Side(label, read(folders)) for label, folders in zip(labels, sides, strict=False)]


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


def _folders(runs_folder: Path, name: str) -> list[Path]:
    if not WILD.intersection(name):
        return [runs.find(runs_folder, name)]
    found = [folder for folder in runs.folders(runs_folder) if fnmatchcase(folder.name, name)]
    if not found:
        raise HwprofError(f"No run in {runs_folder} is called {name!r}.", remedy="`hwprof list` shows them all.")
    return found


def _process(folder: Path) -> Process:
    status = runs.status_of(folder)
    if status["status"] != COMPLETE:
        raise HwprofError(
            f"{folder.name} is {status['status']}: its figures are not those of a whole run.",
            remedy="Leave it out, or run it again.",
        )
    return processes.read(folder, summary_of(folder))
