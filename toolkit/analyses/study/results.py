"""What a study came to: each published figure with ours beside it, each claim's verdict, and all that it depends on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from toolkit.analyses.processes import Process
from toolkit.analyses.statistics import LEVEL, MARGIN, Interval, median_interval
from toolkit.analyses.study.claims import Circumstances, Judged, Measured, judge, of_experiment, values_of
from toolkit.analyses.study.definition import FULL, Choice, Definition, Figure, settings_of
from toolkit.analyses.study.metrics import CLAIMED
from toolkit.analyses.study.points import (
    EXPERIMENT,
    MODE,
    Asked,
    Scaled,
    matches,
    scaled,
    setting_of,
    skipped,
)
from toolkit.analyses.sweep_results import UNFINISHED
from toolkit.capture.sweeps import Sweep

SCHEMA = 1


class Ours(Struct, frozen=True, kw_only=True):
    """What stands beside a published figure: one point's median over processes, in the metric's own unit."""

    mode: str
    point: int
    settings: dict[str, str]
    figure: Interval | None
    unit: str
    why: str | None


class Published(Struct, frozen=True, kw_only=True):
    """A published figure with its evidence and doubt; `scaled`: what is not as published in `ours`."""

    id: str
    what: str
    where: str
    evidence: str
    framework: str | None
    value: float | None
    unit: str
    doubt: str
    metric: str
    meaning: str
    ours: list[Ours]
    scaled: list[str]


class Chosen(Struct, frozen=True, kw_only=True):
    """A setting that the source does not state: the value here, `given` on the command line or not, how to vary it."""

    setting: str
    value: str
    given: bool
    reason: str
    vary: str
    experiments: list[str]


class PointOut(Struct, frozen=True, kw_only=True):
    """A point, how it stands and why, and its runs."""

    point: int
    experiment: str
    mode: str
    settings: dict[str, str]
    status: str
    reason: str | None
    untrusted: int
    runs: list[str]


class Skipped(Struct, frozen=True, kw_only=True):
    """An experiment that is not run, and why."""

    experiment: str
    title: str
    why: str


class Setting(Struct, frozen=True, kw_only=True):
    """What the study ran on; null where no run told."""

    host: str
    processor: str | None
    processors: int | None
    memory_bytes: int | None
    gpus: list[str]
    published_on: dict[str, str]
    versions: dict[str, dict[str, str]]


class StudyResult(Struct, frozen=True, kw_only=True):
    """study.json: a published comparison re-run as far as it has come.

    `done` of `points` are finished. `counts`: claims by verdict, for each mode. `withheld`: which matched models are
    not verified to be the same, with the remedy; null where all are, or nobody asks. `fallbacks`: what stood in for
    what was asked, in any run.
    """

    schema: int
    study: str
    title: str
    source: str
    evidence: str
    about: str
    scale: str
    scale_is: str
    folder: str
    created: str
    seed: int
    repeats: str
    margin: float
    level: float
    done: int
    overrides: dict[str, list[str]]
    no_dataset: str | None
    no_gpu: str | None
    withheld: str | None
    fallbacks: list[str]
    counts: dict[str, dict[str, int]]
    claims: list[Judged]
    published: list[Published]
    choices: list[Chosen]
    unstated: list[str]
    flaws: list[str]
    scaled: list[Scaled]
    skipped: list[Skipped]
    points: list[PointOut]
    environment: Setting


def results(
    found: Definition, asked: Asked, sweep: Sweep, measured: Sequence[Measured], by: Circumstances
) -> StudyResult:
    """Of a study's points as they came out, in the sweep's order."""
    told = [_trusted(each) for each in measured]
    claims = [judge(claim, found.published, _modes(claim.experiment, measured), told, by) for claim in found.claims]
    least, most = sweep.limits.least, sweep.limits.most
    return StudyResult(
        schema=SCHEMA, study=asked.study, title=found.title, source=found.source, evidence=found.evidence,
        about=found.about, scale=asked.scale, scale_is=found.scales[asked.scale].why, folder=sweep.name,
        created=sweep.created, seed=sweep.seed, repeats=str(least) if least == most else f"{least} to {most}",
        margin=MARGIN, level=LEVEL, done=sum(each.status != UNFINISHED for each in measured),
        overrides=asked.overrides, no_dataset=asked.no_dataset, no_gpu=by.no_gpu, withheld=_withheld(told, by),
        fallbacks=_fallbacks(measured),
        counts=_counts(claims), claims=claims,
        published=[_published(figure, told, by) for figure in found.published],
        choices=_choices(found, asked), unstated=found.unstated, flaws=found.flaws, scaled=list(by.scaled),
        skipped=[
            Skipped(experiment=each.id, title=each.title, why=why)
            for each in found.experiments if (why := skipped(each, asked))
        ],
        points=[_point(each) for each in measured],
        environment=_environment(found, sweep, measured),
    )  # fmt: skip


def changes(found: Definition, asked: Asked, *, profiles: Path) -> list[Scaled]:
    """What is not as at scale full: nothing there, unless the command line says so."""
    return scaled(found, asked, profiles=profiles) if asked.scale != FULL or asked.given else []


def _modes(experiment: str, measured: Sequence[Measured]) -> list[str]:
    mine = (each.point.settings for each in measured if each.point.settings[EXPERIMENT] == experiment)
    return list(dict.fromkeys(settings[MODE] for settings in mine))


def _counts(claims: Sequence[Judged]) -> dict[str, dict[str, int]]:
    """By mode; a claim without a mode is one that nothing here measures."""
    counts: dict[str, dict[str, int]] = {}
    for claim in claims:
        for told in claim.modes:
            mine = counts.setdefault(told.mode, {})
            mine[told.verdict] = mine.get(told.verdict, 0) + 1
    return counts


def _withheld(measured: Sequence[Measured], by: Circumstances) -> str | None:
    matched = [each for each in measured if each.point.spec and each.point.spec.matched]
    return by.unlike([process for each in matched for process in each.processes])


def _fallbacks(measured: Sequence[Measured]) -> list[str]:
    runtimes = (process.summary.runtime for each in measured for process in each.processes)
    return list(dict.fromkeys(each for runtime in runtimes if runtime for each in runtime.fallbacks))


def _published(figure: Figure, measured: Sequence[Measured], by: Circumstances) -> Published:
    wanted = {EXPERIMENT: figure.experiment, **figure.of}
    wanted |= {"framework": figure.framework} if figure.framework else {}
    mine = [each for each in measured if figure.metric and matches(each.point, wanted)]
    ours = [_ours(each, figure.metric, wanted, by) for each in mine]
    metric = CLAIMED.get(figure.metric)
    return Published(
        id=figure.id, what=figure.what, where=figure.where, evidence=figure.evidence, framework=figure.framework,
        value=figure.value, unit=figure.unit, doubt=figure.doubt, metric=figure.metric,
        meaning=metric.meaning if metric else "", ours=ours,
        scaled=of_experiment(by.scaled, figure.experiment),
    )  # fmt: skip


def _ours(each: Measured, metric: str, wanted: Mapping[str, str], by: Circumstances) -> Ours:
    doubt = by.unlike(each.processes)
    values = [] if doubt else values_of(each.processes, metric)
    return Ours(
        mode=each.point.settings[MODE],
        point=each.point.number,
        settings={name: text for name, text in each.point.settings.items() if name not in {*wanted, EXPERIMENT, MODE}},
        figure=median_interval(values) if values else None,
        unit=CLAIMED[metric].unit,
        why=None if values else doubt or each.reason or f"{each.status}: no run of it tells {metric}",
    )


def _choices(found: Definition, asked: Asked) -> list[Chosen]:
    return [
        Chosen(
            setting=each.setting,
            value=", ".join(_here(found, asked, each)),
            given=each.setting in asked.overrides,
            reason=each.reason,
            vary=_vary(each),
            experiments=each.experiments,
        )
        for each in found.choices
    ]


def _vary(choice: Choice) -> str:
    """Options that change it in the experiments that it is chosen for: --set alone would in all of them."""
    other = "…" if choice.other is None else choice.other
    return " ".join((f"--set {choice.setting}={other}", *(f"--experiment {each}" for each in choice.experiments)))


def _here(found: Definition, asked: Asked, choice: Choice) -> list[str]:
    """What a chosen setting is at this scale, in the experiments that it is chosen for."""
    if choice.setting in asked.given:
        return list(asked.given[choice.setting])
    chosen = [each for each in found.experiments if not choice.experiments or each.id in choice.experiments]
    texts = (settings_of(found, each, asked.scale)[0][choice.setting] for each in chosen)
    return list(dict.fromkeys(text for values in texts for text in values))


def _point(each: Measured) -> PointOut:
    settings = {name: text for name, text in each.point.settings.items() if name not in {EXPERIMENT, MODE}}
    settings |= {"framework": setting_of(each.point, "framework") or ""}
    return PointOut(
        point=each.point.number, experiment=each.point.settings[EXPERIMENT], mode=each.point.settings[MODE],
        settings=settings, status=each.status, reason=each.reason,
        untrusted=sum(not process.summary.trusted for process in each.processes),
        runs=[process.name for process in each.processes],
    )  # fmt: skip


def _trusted(each: Measured) -> Measured:
    """Without runs that are not trusted: they count as repeats and give no figures."""
    return each._replace(processes=[process for process in each.processes if process.summary.trusted])


def _environment(found: Definition, sweep: Sweep, measured: Sequence[Measured]) -> Setting:
    processes = [process for each in measured for process in each.processes]
    facts: Mapping[str, Any] = processes[0].facts if processes else {}
    return Setting(
        host=sweep.host,
        processor=facts.get("cpu"),
        processors=facts.get("cpus"),
        memory_bytes=facts.get("memory_bytes"),
        gpus=sorted({gpu for process in processes for gpu in process.gpus}),
        published_on={each.id: each.published_on for each in found.experiments},
        versions=_versions(processes),
    )


def _versions(processes: Sequence[Process]) -> dict[str, dict[str, str]]:
    versions: dict[str, dict[str, str]] = {}
    for process in processes:
        told = process.facts.get("versions")
        if isinstance(told, dict):
            versions.setdefault(process.spec.framework, {str(name): str(text) for name, text in told.items()})
    return versions
