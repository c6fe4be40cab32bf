"""A sweep's matrix: settings with one value or several, and the points that all their combinations are.

On the command line a comma list is an axis; in TOML, `[settings]` holds what all points share and `[matrix]` lists. A
point is measured for its own sake: unprofiled, and without the requests that follow training, unless told otherwise.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.capture import launch
from toolkit.errors import HwprofError
from toolkit.settings import from_toml, known, model_names, parse, read_toml, resolve, shown, split
from toolkit.spec import FIELDS, RunSpec

# More would take weeks, and are a slip of the hand.
MOST_POINTS = 10_000
# Their own values hold commas, or may.
NO_AXES = frozenset(
    {"data_dir", "weights_dir"} | {name for name, item in FIELDS.items() if isinstance(item.default, tuple)}
)
TABLES = ("settings", "matrix")
# What a point is not measured for, unless it is asked.
USUAL = {"train": {"passes": "time", "infer_repeats": "0"}, "infer": {"passes": "time"}}

Matrix = dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One combination: its number from 1, the settings in which it differs from others, and the run's whole spec.

    Where no run can be of it, `spec` is None, `refused` says why in one line, and `asked` holds all settings given.
    """

    number: int
    settings: Mapping[str, str]
    spec: RunSpec | None
    refused: str | None = None
    asked: Mapping[str, str] = field(default_factory=dict)


def of_settings(settings: Iterable[str]) -> Matrix:
    """The values of each `name=value,value`; HwprofError where a name or a value is none, or one stands twice."""
    matrix: Matrix = {}
    for item in settings:
        name, text = split(item)
        matrix[name] = _values(name, [text] if name in NO_AXES else [one.strip() for one in text.split(",")])
    return matrix


def of_toml(path: Path) -> Matrix:
    """The same of a TOML file with the tables `settings` (one value each) and `matrix` (a list each)."""
    tables = read_toml(path, "matrix")
    for name, table in tables.items():
        known(name, TABLES, f"table in {path}:")
        if not isinstance(table, dict):
            raise HwprofError(f"{path}: {name} is no table.", remedy=f"Write [{name}], and settings below it.")
    matrix: Matrix = {
        name: (shown(from_toml(path, name, value)),) for name, value in tables.get("settings", {}).items()
    }
    for name, values in tables.get("matrix", {}).items():
        matrix[name] = _values(name, [shown(from_toml(path, name, value)) for value in _list(path, name, values)])
    return matrix


def points(matrix: Matrix, *, profiles: Path) -> list[Point]:
    """Every combination, the last axis varying fastest. HwprofError where not one of them can run."""
    made = combinations(matrix, profiles=profiles)
    if all(point.spec is None for point in made):
        raise HwprofError(str(made[0].refused), remedy="No point of the matrix can run.")
    return made


def combinations(matrix: Matrix, *, profiles: Path) -> list[Point]:
    """The same, also where none can run; HwprofError for a name or a value that no run may have."""
    axes = {name: values for name, values in matrix.items() if len(values) > 1}
    for model in matrix.get("model", ()):
        known(model, model_names(profiles), "model")
    if (count := math.prod(map(len, axes.values()))) > MOST_POINTS:
        raise HwprofError(f"A matrix of {count} points is too large.", remedy=f"Give at most {MOST_POINTS}.")
    shared = {name: values[0] for name, values in matrix.items() if name not in axes}
    _check_inference(matrix)
    return [
        _point(number, dict(zip(axes, values, strict=True)), shared, profiles)
        for number, values in enumerate(itertools.product(*axes.values()), 1)
    ]


def _values(name: str, texts: list[str]) -> tuple[str, ...]:
    parsed = [parse(name, text) for text in texts]
    if len(set(parsed)) < len(parsed):
        raise HwprofError(f"{name}={','.join(texts)} says one thing twice.", remedy="Say each once.")
    return tuple(map(shown, parsed))


def _list(path: Path, name: str, values: Any) -> Iterator[Any]:
    if name in NO_AXES:
        raise HwprofError(f"{path}: {name} is no axis.", remedy="Give it one value, under [settings].")
    if not isinstance(values, list) or not values:
        raise HwprofError(f"{path}: {name} = {values!r} is no list of values.", remedy=f"Write {name} = [ … ].")
    yield from values


def _check_inference(matrix: Matrix) -> None:
    """One batch that does not fit ends its process, so each is a point."""
    if "infer" in matrix.get("task", ()) and "infer_batches" in matrix:
        raise HwprofError(
            "In a sweep every batch of inference is a point of its own.",
            remedy="Give batch instead of infer_batches, as in batch=1,8,32.",
        )
    if "time" not in matrix.get("passes", ("time",))[0].split(","):
        raise HwprofError(
            f"passes={matrix['passes'][0]} measures no time: the figures of a sweep are of unprofiled passes.",
            remedy="Leave passes out, or give passes=time,profile.",
        )


def _point(number: int, varied: dict[str, str], shared: Mapping[str, str], profiles: Path) -> Point:
    given = {**shared, **varied}
    asked = {**USUAL[given.get("task", "train")], **given}
    try:
        spec = resolve(None, [f"{name}={text}" for name, text in asked.items()], profiles=profiles)
        if spec.task == "infer":
            spec = dataclasses.replace(spec, infer_batches=(spec.batch,))
        launch.check_model(spec)
    except HwprofError as error:
        return Point(number=number, settings=varied, spec=None, refused=str(error), asked=asked)
    return Point(number=number, settings=varied, spec=spec)
