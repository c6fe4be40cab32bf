"""A sweep's own record: what was asked, whole (sweep.json), and one line for each thing that happened (points.jsonl).

A repeat is an ordinary run in the same folder of runs. Its line is appended as it begins and as it ends, so that a
crash loses nothing but the run that it hit. The standard library only.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from toolkit import __version__
from toolkit.capture.files import write_whole
from toolkit.capture.matrix import Point
from toolkit.errors import FAILED, HwprofError
from toolkit.settings import known
from toolkit.spec import RunSpec, from_json

SCHEMA = 1
FILE = "sweep.json"
LOG = "points.jsonl"
# What was asked of a study, which is a sweep of its own kind.
STUDY = "asked.json"
# What happens to a repeat beside the statuses of runs, and to a point that has none.
BEGUN = "begun"
UNSUPPORTED = "unsupported"
COMPLETE = "complete"
INTERRUPTED = "interrupted"
ABANDONED = "abandoned"
# After these the same repeat is run again.
UNDECIDED = frozenset({BEGUN, INTERRUPTED, ABANDONED})
REPEATS = re.compile(r"(\d+)(?:\.\.(\d+))?")


@dataclass(frozen=True)
class Limits:
    """A point is repeated `least` to `most` times, until its interval is within ±`width` of the median, a share."""

    least: int
    most: int
    width: float


def repeats_of(text: str) -> tuple[int, int]:
    """Least and most of LEAST..MOST, or of one number; HwprofError where it is neither."""
    found = REPEATS.fullmatch(text)
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= least <= most:
        raise HwprofError(f"repeats {text!r} is no number of runs.", remedy="Write LEAST..MOST, as in 6..10.")
    return least, most


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What was asked: the axes with their values, every point, the order's seed, the limits of repeats."""

    folder: Path
    created: str
    host: str
    axes: dict[str, tuple[str, ...]]
    points: tuple[Point, ...]
    seed: int
    limits: Limits

    @property
    def name(self) -> str:
        """The folder's name, by which it is called."""
        return self.folder.name


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line: a repeat of a point (from 1; 0 where it was not run) that began or ended as `status`, and why.

    `at` is when, ISO 8601; `seconds` what the run took from launch to summary.
    """

    point: int
    repeat: int
    status: str
    run: str | None = None
    reason: str | None = None
    seconds: float | None = None
    at: str = ""


def create(
    runs: Path,
    *,
    points: Sequence[Point],
    seed: int,
    limits: Limits,
    kind: str = "sweep",
) -> Sweep:
    """A new sweep's folder in `runs`, which its name calls a `kind`, with its sweep.json."""
    now = datetime.now().astimezone()
    folder = (runs / f"{now.strftime('%Y%m%d-%H%M%S')}-{kind}-{secrets.token_hex(2)}").absolute()
    sweep = Sweep(
        folder=folder, created=now.isoformat(timespec="seconds"), host=platform.node(),
        axes=_axes(points), points=tuple(points), seed=seed, limits=limits,
    )  # fmt: skip
    try:
        folder.mkdir(parents=True)
        write_whole(folder / FILE, json.dumps(_as_json(sweep), indent=1))
    except OSError as error:
        raise HwprofError(
            f"The folder of runs {runs} cannot be written: {error.strerror}.", remedy="Give another with --runs."
        ) from error
    return sweep


def _axes(points: Sequence[Point]) -> dict[str, tuple[str, ...]]:
    """The settings in which points differ, each with its values."""
    names = dict.fromkeys(name for point in points for name in point.settings)
    return {name: tuple(dict.fromkeys(point.settings.get(name, "") for point in points)) for name in names}


def read(folder: Path) -> Sweep:
    """The sweep of a folder. Raises HwprofError where its sweep.json is damaged or of another version."""
    path = folder / FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Sweep(
            folder=folder.absolute(),
            created=str(datetime.fromisoformat(told["created"]).isoformat(timespec="seconds")),
            host=str(told["host"]),
            axes={str(name): tuple(map(str, values)) for name, values in told["axes"].items()},
            points=tuple(_point(number, point) for number, point in enumerate(told["points"], 1)),
            seed=int(told["seed"]),
            limits=Limits(
                least=int(told["limits"]["least"]),
                most=int(told["limits"]["most"]),
                width=float(told["limits"]["width"]),
            ),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise HwprofError(
            f"{path} is damaged, or of another version of hwprof.", remedy="The runs of the sweep may still be read."
        ) from error


def entries(sweep: Sweep) -> list[Entry]:
    """What happened so far, in its order. A last line that a crash cut off is left out."""
    try:
        text = (sweep.folder / LOG).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    try:
        found = [_entry(json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines()]
    except (ValueError, TypeError, KeyError) as error:
        raise HwprofError(
            f"{sweep.folder / LOG} is damaged, or of another version of hwprof.",
            remedy="The runs of the sweep may still be read.",
        ) from error
    return [entry for entry in found if 1 <= entry.point <= len(sweep.points)]


def folders(runs: Path) -> list[Path]:
    """Sweep folders by name, which begins with when they were made."""
    return sorted(path.parent for path in runs.glob(f"*/{FILE}"))


def is_study(folder: Path) -> bool:
    """Whether a sweep's folder is that of a study."""
    return (folder / STUDY).exists()


def folder_of(runs: Path, name: str) -> Path | None:
    """The sweep's folder given as a path or by its name; None where that is no sweep."""
    return next((place for place in (Path(name), runs / name) if (place / FILE).exists()), None)


def find(runs: Path, name: str) -> Path:
    """The sweep's folder given as a path, by its name, or as `last` but for studies; HwprofError naming the nearest."""
    if place := folder_of(runs, name):
        return place
    found = [folder for folder in folders(runs) if not is_study(folder)]
    if not found:
        raise HwprofError(
            f"There are no sweeps in {runs}.",
            remedy="Make one: hwprof sweep --set framework=torch,tf --set batch=8,32.",
        )
    if name == "last":
        return found[-1]
    return runs / known(name, [folder.name for folder in found], "sweep")


class Log:
    """points.jsonl, held by this process alone: each entry is on the disk when `append` returns."""

    def __init__(self, sweep: Sweep) -> None:
        path = sweep.folder / LOG
        self._file = path.open("ab+", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise HwprofError(
                f"Another process is running {sweep.name}.", remedy="Wait for it, or end it, and resume then."
            ) from None
        _cut_torn_line(path)

    def append(self, entry: Entry) -> Entry:
        """Writes what happened now, and gives it back with its time."""
        entry = dataclasses.replace(entry, at=datetime.now().astimezone().isoformat(timespec="seconds"))
        try:
            self._file.write(json.dumps(dataclasses.asdict(entry)).encode() + b"\n")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise HwprofError(
                f"{self._file.name} cannot be written: {error.strerror}.", remedy="Make room.", exit_code=FAILED
            ) from error
        return entry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _cut_torn_line(path: Path) -> None:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def _entry(told: dict[str, Any]) -> Entry:
    run, reason, seconds = told["run"], told["reason"], told["seconds"]
    if run is not None and Path(run).name != run:
        raise ValueError(run)
    return Entry(
        point=int(told["point"]),
        repeat=int(told["repeat"]),
        status=str(told["status"]),
        run=run,
        reason=None if reason is None else str(reason),
        seconds=None if seconds is None else float(seconds),
        at=str(told["at"]),
    )


def _as_json(sweep: Sweep) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "hwprof": __version__,
        "created": sweep.created,
        "host": sweep.host,
        "seed": sweep.seed,
        "limits": dataclasses.asdict(sweep.limits),
        "axes": sweep.axes,
        "points": [
            {
                "settings": dict(point.settings),
                "spec": dataclasses.asdict(point.spec) if point.spec else None,
                "refused": point.refused,
                "asked": dict(point.asked),
            }
            for point in sweep.points
        ],
    }


def _point(number: int, told: dict[str, Any]) -> Point:
    spec: RunSpec | None = from_json(json.dumps(told["spec"])) if told["spec"] else None
    settings = {str(name): str(text) for name, text in told["settings"].items()}
    asked = {str(name): str(text) for name, text in told["asked"].items()}
    return Point(number=number, settings=settings, spec=spec, refused=told["refused"], asked=asked)


def unfinished(found: Sequence[Entry]) -> Iterator[Entry]:
    """Repeats that began and whose end is not known: of a sweep that nobody runs, those that a crash hit."""
    last = {(entry.point, entry.repeat): entry for entry in found}
    yield from (entry for entry in last.values() if entry.status == BEGUN)


def upcoming(sweep: Sweep, repeats: dict[int, int]) -> Point | None:
    """Which point to repeat next; None where none is left. `repeats`: complete ones of each point that needs more.

    In rounds: each point once in a round, in an order that the seed and the round's number alone decide, so that a
    sweep that is resumed goes on in the same order.
    """
    if not repeats:
        return None
    fewest = min(repeats.values())
    numbers = [number for number, done in repeats.items() if done == fewest]
    return sweep.points[min(numbers, key=lambda number: _place(sweep.seed, fewest, number)) - 1]


def _place(seed: int, round_: int, number: int) -> str:
    """Sorts a round's points at random, alike on every machine and in every version of Python."""
    return hashlib.sha256(f"{seed} {round_} {number}".encode()).hexdigest()
