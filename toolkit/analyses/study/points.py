"""The points of a study at a scale: every experiment's matrix in each of its modes, and what the scale changed."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from toolkit.analyses.study.definition import FULL, Definition, Experiment, Scale, Settings, settings_of
from toolkit.capture.matrix import USUAL, Matrix, Point, combinations
from toolkit.settings import read_profile, shown
from toolkit.spec import FIELDS

# By which a study's points differ from one another beside their settings.
EXPERIMENT, MODE = "experiment", "mode"
DATASET, CIFAR10, SYNTHETIC = "dataset", "cifar10", "synthetic"
# Where a run lies, and how long it may take, change no figure.
PLACES = frozenset({"data_dir", "weights_dir", "timeout_s", "runtime"})
TRAIN = "train"
# What inference alone does not heed.
OF_TRAINING = frozenset(
    {
        "epochs",
        "steps",
        "validation_steps",
        "warmup_steps",
        "optimizer",
        "learning_rate",
        "momentum",
        "checkpoint",
    }
)


class Scaled(Struct, frozen=True, kw_only=True):
    """A setting, or an axis with its values, that is not as at scale full: `full` is what it is there."""

    experiment: str
    setting: str
    full: str
    here: str


class Asked(Struct, frozen=True, kw_only=True):
    """What a study was asked for: scale, settings given beside it, and why the dataset was replaced, where it was.

    `experiments` are those that were asked for; empty: all.
    """

    study: str
    scale: Scale
    overrides: dict[str, list[str]]
    no_dataset: str | None
    experiments: list[str] = []

    @property
    def given(self) -> Matrix:
        """The settings given, and what stands in for the dataset."""
        told = {name: tuple(values) for name, values in self.overrides.items()}
        return told | ({DATASET: (SYNTHETIC,)} if self.no_dataset else {})


def wants_dataset(found: Definition, overrides: Matrix, scale: Scale) -> bool:
    """Whether any experiment would read CIFAR-10."""
    matrices = (settings_of(found, each, scale)[0] | overrides for each in found.experiments)
    return any(CIFAR10 in matrix.get(DATASET, ()) for matrix in matrices)


def of_study(found: Definition, asked: Asked, *, profiles: Path) -> list[Point]:
    """All points, numbered through; each says its experiment and mode beside the settings in which it differs."""
    made = [point for each in found.experiments for point in _of_experiment(found, each, asked, profiles)]
    return [dataclasses.replace(point, number=number) for number, point in enumerate(made, 1)]


def _of_experiment(found: Definition, experiment: Experiment, asked: Asked, profiles: Path) -> Iterator[Point]:
    if skipped(experiment, asked):
        return
    matrix, cases = settings_of(found, experiment, asked.scale)
    for mode in asked.given.get(MODE, modes_of(experiment, asked.scale)):
        own = matrix | asked.given | {MODE: (mode,)}
        for case in _cases(cases, asked.given):
            told = {EXPERIMENT: experiment.id, MODE: mode, **case}
            combined = own | {name: (text,) for name, text in case.items()}
            for point in combinations(combined, profiles=profiles):
                yield dataclasses.replace(point, settings={**told, **point.settings})


def modes_of(experiment: Experiment, scale: Scale) -> Sequence[str]:
    """Those that an experiment runs in at a scale."""
    own = experiment.scales.get(scale)
    return own.modes if own and own.modes is not None else experiment.modes


def _cases(cases: Sequence[Settings], given: Matrix) -> list[Settings]:
    """Without the settings that were given, each once; one that changes nothing where there are none."""
    left = [{name: text for name, text in case.items() if name not in given} for case in cases]
    return [case for place, case in enumerate(left) if case not in left[:place]] or [{}]


def skipped(experiment: Experiment, asked: Asked) -> str:
    """Why an experiment is not run; empty where it is."""
    if asked.experiments and experiment.id not in asked.experiments:
        return f"only {', '.join(asked.experiments)} was asked for"
    own = experiment.scales.get(asked.scale)
    return own.skip if own else ""


def scaled(found: Definition, asked: Asked, *, profiles: Path) -> list[Scaled]:
    """What is not as at scale full, by experiment, of what its runs heed."""
    changes = []
    for experiment in found.experiments:
        if skipped(experiment, asked):
            continue
        full, full_cases = settings_of(found, experiment, FULL)
        here, cases = settings_of(found, experiment, asked.scale)
        here |= asked.given
        unheeded = PLACES | {MODE} | (frozenset() if TRAIN in _tasks(here) else OF_TRAINING)
        for name in dict.fromkeys(name for name in (*full, *here) if name not in unheeded):
            texts = [", ".join(_values(name, matrix, profiles)) for matrix in (full, here)]
            if texts[0] != texts[1]:
                changes.append(Scaled(experiment=experiment.id, setting=name, full=texts[0], here=texts[1]))
        modes = [", ".join(each) for each in (experiment.modes, modes_of(experiment, asked.scale))]
        if modes[0] != modes[1]:
            changes.append(Scaled(experiment=experiment.id, setting=MODE, full=modes[0], here=modes[1]))
        if full_cases != cases:
            texts = ["; ".join(", ".join(f"{name}={text}" for name, text in case.items()) for case in each)
                     for each in (full_cases, cases)]  # fmt: skip
            changes.append(Scaled(experiment=experiment.id, setting="cases", full=texts[0], here=texts[1]))
    return changes


def _values(name: str, matrix: Matrix, profiles: Path) -> Iterable[str]:
    """A setting's, where a study leaves it open as its points get it: a point's own, the profile's, any run's."""
    if name in matrix:
        return matrix[name]
    models = matrix.get("model", (FIELDS["model"].default,))
    told = [
        USUAL[task].get(name) or shown(read_profile(profiles / f"{model}.toml").get(name, FIELDS[name].default))
        for model in models for task in _tasks(matrix)
    ]  # fmt: skip
    return dict.fromkeys(told)


def _tasks(matrix: Matrix) -> Sequence[str]:
    return matrix.get("task", (TRAIN,))


def matches(point: Point, wanted: dict[str, str]) -> bool:
    """Whether a point has these settings, its experiment's name and mode among them."""
    return all(setting_of(point, name) == text for name, text in wanted.items())


def setting_of(point: Point, name: str) -> str | None:
    """A setting of a point as it is written; None where no run can be of it and nobody gave it."""
    if name in point.settings:
        return point.settings[name]
    if point.spec is None:
        return point.asked.get(name)
    return shown(getattr(point.spec, name)) if name in FIELDS else None
