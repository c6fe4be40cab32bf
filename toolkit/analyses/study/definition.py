"""A published comparison as `profiles/studies/NAME.toml` says it: typed, and checked before anything runs.

What is in a file and is not here is refused, and so are a claim whose metric nothing measures and a figure without its
evidence: one line each.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, structs

from toolkit.analyses.study.mechanisms import MECHANISMS
from toolkit.analyses.study.metrics import CLAIMED
from toolkit.capture import sweeps
from toolkit.capture.matrix import Matrix
from toolkit.errors import HwprofError
from toolkit.settings import from_toml, known, read_toml, shown
from toolkit.spec import FIELDS

SCALES = ("smoke", "short", "full")
PAGE = "docs/studies.md"

Scale = Literal["smoke", "short", "full"]
Evidence = Literal["primary", "secondary", "unreadable"]
Says = Literal["lower", "higher", "same", "nothing"]
FULL: Scale = "full"
Need = Literal["gpu", "cifar10"]
Mode = Literal["as-shipped", "matched"]
Settings = dict[str, Any]
Select = dict[str, str]
# Of none there would be no point, without a word: `skip` says why an experiment is left out.
Modes = Annotated[list[Mode], Meta(min_length=1)]
Axes = dict[str, Annotated[list[Any], Meta(min_length=1)]]


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the TOML: no key that is not declared."""


class Figure(_Strict, frozen=True, kw_only=True):
    """A published figure. `value` is null where it stands in an image that cannot be read.

    `experiment`, `metric` and `of` say what of ours stands beside it: the points with these settings.
    """

    id: str
    what: str
    where: str
    evidence: Evidence
    framework: str | None = None
    value: float | None = None
    unit: str = ""
    doubt: str = ""
    experiment: str = ""
    metric: str = ""
    of: Select = {}


class Choice(_Strict, frozen=True, kw_only=True):
    """A setting that the source does not state: what was chosen, why, and what else is worth trying."""

    setting: str
    value: Any
    reason: str
    other: Any = None
    experiments: list[str] = []


class ScaleSettings(_Strict, frozen=True, kw_only=True):
    """What a scale changes: settings, whole axes, modes. `skip` is why an experiment is not run at it."""

    settings: Settings = {}
    matrix: Axes = {}
    cases: list[Settings] | None = None
    modes: Modes | None = None
    skip: str = ""


class StudyScale(_Strict, frozen=True, kw_only=True):
    """A scale of the whole study: repeats as LEAST or LEAST..MOST, what it changes everywhere, and why."""

    repeats: str
    why: str
    settings: Settings = {}


class Experiment(_Strict, frozen=True, kw_only=True):
    """A matrix of settings in each of `modes`; `cases` are combinations that are no matrix, crossed with it."""

    id: str
    title: str
    published_on: str
    modes: Modes
    settings: Settings = {}
    matrix: Axes = {}
    cases: list[Settings] = []
    scales: dict[Scale, ScaleSettings] = {}


class Claim(_Strict, frozen=True, kw_only=True):
    """What the source says of side `b` beside side `a`, and where; `figures` are ids of those that say it.

    `says`: what b's metric is, held to a's, by a `factor` at least; `nothing` where nothing measures it, for the reason
    `untestable`. `only` leaves points out. `needs`: without which it is not testable; `decided_by`: settings whose
    scaling makes it so.
    """

    id: str
    text: str
    where: str
    says: Says
    factor: float = 1.0
    experiment: str = ""
    metric: str = ""
    a: Select = {}
    b: Select = {}
    only: dict[str, list[str]] = {}
    figures: list[str] = []
    needs: list[Need] = []
    decided_by: list[str] = []
    untestable: str = ""
    mechanisms: list[str] = []


class Definition(_Strict, frozen=True, kw_only=True):
    """A whole study. `unstated`: what the source does not say, also where nothing here can vary it."""

    title: str
    source: str
    evidence: str
    about: str
    settings: Settings = {}
    scales: dict[Scale, StudyScale]
    choices: list[Choice] = []
    experiments: Annotated[list[Experiment], Meta(min_length=1)]
    published: list[Figure]
    claims: list[Claim]
    unstated: list[str] = []
    flaws: list[str] = []


def names(folder: Path) -> list[str]:
    """Names of the studies that `folder` holds a TOML for."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read(path: Path) -> Definition:
    """The study of a TOML file. HwprofError, in one line with the file, the place and the remedy, where it is none."""
    told = read_toml(path, "study")
    try:
        found = msgspec.convert(told, Definition)
        _check(found)
    except (msgspec.ValidationError, HwprofError) as error:
        said = error.problem if isinstance(error, HwprofError) else f"{error}."
        remedy = error.remedy if isinstance(error, HwprofError) else f"{PAGE} has every key of a study."
        raise HwprofError(f"{path}: {said}", remedy=remedy) from error
    return _parsed(path, found)


def _check(found: Definition) -> None:
    for scale in SCALES:
        known(scale, found.scales, "scale: there is no table for")
    for each in found.scales.values():
        sweeps.repeats_of(each.repeats)
    _distinct("experiment", (each.id for each in found.experiments))
    _distinct("figure", (each.id for each in found.published))
    _distinct("claim", (each.id for each in found.claims))
    _distinct("choice", (each.setting for each in found.choices if not each.experiments))
    for figure in found.published:
        _check_figure(figure, found)
    for claim in found.claims:
        _check_claim(claim, found)
    for choice in found.choices:
        for name in choice.experiments:
            known(name, [each.id for each in found.experiments], f"experiment of the choice {choice.setting}:")


def _check_figure(figure: Figure, found: Definition) -> None:
    if (figure.value is None) != (figure.evidence == "unreadable"):
        raise HwprofError(
            f"figure {figure.id}: evidence {figure.evidence!r} and value {figure.value}.",
            remedy="A figure has a value, unless it was unreadable.",
        )
    if figure.metric or figure.experiment:
        known(figure.metric, CLAIMED, f"metric of figure {figure.id}:")
        known(figure.experiment, [each.id for each in found.experiments], f"experiment of figure {figure.id}:")
    for name in figure.of:
        known(name, FIELDS, f"setting of figure {figure.id}:")


def _check_claim(claim: Claim, found: Definition) -> None:
    for name in claim.figures:
        known(name, [each.id for each in found.published], f"figure of claim {claim.id}:")
    for name in claim.mechanisms:
        known(name, MECHANISMS, f"mechanism of claim {claim.id}:")
    if (claim.says == "nothing") != bool(claim.untestable):
        raise HwprofError(
            f"claim {claim.id}: says {claim.says!r}, and untestable is {claim.untestable!r}.",
            remedy="A claim says what is measured, or why nothing is.",
        )
    if claim.says == "nothing":
        return
    known(claim.metric, CLAIMED, f"metric of claim {claim.id}:")
    known(claim.experiment, [each.id for each in found.experiments], f"experiment of claim {claim.id}:")
    if not claim.a or not claim.b or claim.a == claim.b:
        raise HwprofError(f"claim {claim.id}: a and b are no two sides.", remedy="Give each its settings.")
    if claim.factor < 1 or (claim.factor > 1 and claim.says == "same"):
        raise HwprofError(f"claim {claim.id}: factor {claim.factor}.", remedy="A factor above 1 is of lower or higher.")
    for name in (*claim.a, *claim.b, *claim.only, *claim.decided_by):
        known(name, FIELDS, f"setting of claim {claim.id}:")


def _distinct(what: str, ids: Iterable[str]) -> None:
    seen = set()
    for one in ids:
        if one in seen:
            raise HwprofError(f"{what} {one!r} stands there twice.", remedy="Give each a name of its own.")
        seen.add(one)


def _parsed(path: Path, found: Definition) -> Definition:
    """With every setting checked, and its value as it is written on a command line."""

    def texts(settings: Mapping[str, Any]) -> Settings:
        return {name: shown(from_toml(path, name, value)) for name, value in settings.items()}

    def axes(matrix: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        return {name: [shown(from_toml(path, name, value)) for value in values] for name, values in matrix.items()}

    def scaled(scale: ScaleSettings) -> ScaleSettings:
        cases = None if scale.cases is None else [texts(case) for case in scale.cases]
        return structs.replace(scale, settings=texts(scale.settings), matrix=axes(scale.matrix), cases=cases)

    def experiment(each: Experiment) -> Experiment:
        return structs.replace(
            each, settings=texts(each.settings), matrix=axes(each.matrix), cases=[texts(case) for case in each.cases],
            scales={name: scaled(scale) for name, scale in each.scales.items()},
        )  # fmt: skip

    def choice(each: Choice) -> Choice:
        other = None if each.other is None else texts({each.setting: each.other})[each.setting]
        return structs.replace(each, value=texts({each.setting: each.value})[each.setting], other=other)

    return structs.replace(
        found,
        settings=texts(found.settings),
        scales={name: structs.replace(scale, settings=texts(scale.settings)) for name, scale in found.scales.items()},
        choices=[choice(each) for each in found.choices],
        experiments=[experiment(each) for each in found.experiments],
    )


def settings_of(found: Definition, experiment: Experiment, scale: Scale) -> tuple[Matrix, list[Settings]]:
    """An experiment's settings at a scale, each with its value or its axis, and the cases that are crossed with them.

    What comes later counts more: the study's, choices, the experiment's, the scale's, the experiment's at that scale.
    """
    own = experiment.scales.get(scale, ScaleSettings())
    merged = dict(_layers(found, experiment))
    merged |= {name: (text,) for name, text in {**found.scales[scale].settings, **own.settings}.items()}
    merged |= {name: tuple(values) for name, values in own.matrix.items()}
    return merged, experiment.cases if own.cases is None else own.cases


def _layers(found: Definition, experiment: Experiment) -> Iterator[tuple[str, tuple[str, ...]]]:
    chosen = [each for each in found.choices if not each.experiments or experiment.id in each.experiments]
    yield from ((name, (text,)) for name, text in found.settings.items())
    yield from ((each.setting, (each.value,)) for each in chosen)
    yield from ((name, (text,)) for name, text in experiment.settings.items())
    yield from ((name, tuple(values)) for name, values in experiment.matrix.items())
