"""What a sweep found: each point's figures with their intervals over processes, and the batch that is best.

One value stands for one run, a fresh process. Runs that are not trusted count as repeats and give no figures.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, NamedTuple

from msgspec import Struct

from toolkit.analyses.processes import METRICS, Process
from toolkit.analyses.statistics import (
    HIGHER,
    LEVEL,
    LOWER,
    MARGIN,
    Interval,
    Verdict,
    median_interval,
    ratio_interval,
    verdict,
)
from toolkit.analyses.sweep_crossovers import Measured, SweepCrossover, crossovers
from toolkit.capture.matrix import Point
from toolkit.capture.sweeps import COMPLETE, UNDECIDED, UNSUPPORTED, Entry, Limits, Sweep
from toolkit.spec import MATCHED

UNFINISHED = "unfinished"
NO_FIGURE = "none of its runs gave a time that is trusted: `hwprof show RUN` says why"

Aim = Literal["throughput", "latency", "energy"]


class Figures(Struct, frozen=True, kw_only=True):
    """What one run comes to, by the METRICS of `toolkit.analyses.processes`; null where it does not tell.

    `time_ns`: step_time, or of inference latency; `samples_per_s`: throughput; `peak_bytes`: peak_memory. `compiled`:
    the compile mode in which it ran.
    """

    trusted: bool
    time_ns: float | None
    samples_per_s: float | None
    peak_bytes: float | None
    images_per_joule: float | None
    compiled: str | None = None


class PointResult(Struct, frozen=True, kw_only=True):
    """A point: `settings` are those in which it differs from others; `repeats` the runs that were complete.

    `status`: complete (enough repeats, by the sweep's limits), unfinished, unsupported, or how the run ended that ended
    the point (failed, killed, out_of_memory, timed_out), with its reason. Intervals rest on trusted runs.
    """

    point: int
    settings: dict[str, str]
    mode: str
    batch: int | None
    status: str
    reason: str | None
    repeats: int
    untrusted: int
    runs: list[str]
    time_ns: Interval | None
    samples_per_s: Interval | None
    peak_bytes: Interval | None
    images_per_joule: Interval | None


class Rival(Struct, frozen=True, kw_only=True):
    """Another batch beside the best: `ratio` is its figure over the best's; `worse` where that is shown."""

    batch: int
    ratio: Interval
    worse: bool


class Optimum(Struct, frozen=True, kw_only=True):
    """The batch of the best median among points that differ in batch alone, and the others held to it.

    throughput: the most samples a second; latency: the shortest step, or request; energy: the most images a joule.
    """

    settings: dict[str, str]
    aim: Aim
    batch: int
    figure: Interval
    rivals: list[Rival]


class SweepResults(Struct, frozen=True, kw_only=True):
    """A sweep as far as it has come. `withheld`: why figures that were measured are left out; null where none are."""

    sweep: str
    created: str
    host: str
    seed: int
    least_repeats: int
    most_repeats: int
    width: float
    margin: float
    axes: dict[str, list[str]]
    points: list[PointResult]
    optima: list[Optimum]
    crossovers: list[SweepCrossover]
    withheld: str | None


class Withheld(NamedTuple):
    """Points whose figures are left out, and the sentence that says why."""

    points: frozenset[int]
    why: str | None


class Ran(NamedTuple):
    """A run of a point that was complete: its name, and its figures, None where its summary is gone."""

    run: str
    figures: Figures | None


class _Aim(NamedTuple):
    name: Aim
    figure: str
    worse: Verdict


FIGURES = ("time_ns", "samples_per_s", "peak_bytes", "images_per_joule")
AIMS = (
    _Aim("throughput", "samples_per_s", LOWER),
    _Aim("latency", "time_ns", HIGHER),
    _Aim("energy", "images_per_joule", LOWER),
)


def figures_of(process: Process) -> Figures:
    """The figures of one run of a point."""
    time = "latency" if process.spec.task == "infer" else "step_time"
    figures = [METRICS[name].of(process) for name in (time, "throughput", "peak_memory", "images_per_joule")]
    return Figures(
        trusted=process.summary.trusted,
        compiled=process.facts.get("compile"),
        **dict(zip(FIGURES, figures, strict=True)),
    )


def enough(ran: Sequence[Ran], limits: Limits) -> bool:
    """Whether a point needs no more repeats: the limit is reached, or its interval of LEVEL is narrow enough."""
    if len(ran) >= limits.most or len(ran) < limits.least:
        return len(ran) >= limits.most
    interval = _interval(ran, "time_ns")
    if interval is None or interval.low is None or interval.high is None or (interval.level or 0) < LEVEL:
        return False
    return (interval.high - interval.low) / 2 <= limits.width * interval.estimate


def status_of(point: Point, found: Sequence[Entry], ran: Sequence[Ran], limits: Limits) -> tuple[str, str | None]:
    """How a point stands, and why, by what happened to it and by its runs that were complete."""
    if point.spec is None:
        return UNSUPPORTED, point.refused
    ended = [entry for entry in found if entry.status not in {COMPLETE, *UNDECIDED}]
    if ended:
        return ended[-1].status, ended[-1].reason
    if not enough(ran, limits):
        return UNFINISHED, None
    return COMPLETE, None if _values(ran, "time_ns") else NO_FIGURE


def results(
    sweep: Sweep,
    statuses: Mapping[int, tuple[str, str | None]],
    ran: Mapping[int, Sequence[Ran]],
    withheld: Withheld,
) -> SweepResults:
    """All points and optima, of each point's status (by `status_of`) and its complete runs."""
    shown = {number: () if number in withheld.points else tuple(runs) for number, runs in ran.items()}
    modes = [point.spec.mode for point in sweep.points if point.spec]
    return SweepResults(
        sweep=sweep.name,
        created=sweep.created,
        host=sweep.host,
        seed=sweep.seed,
        least_repeats=sweep.limits.least,
        most_repeats=sweep.limits.most,
        width=sweep.limits.width,
        margin=MARGIN,
        axes={name: list(values) for name, values in sweep.axes.items()},
        points=[
            PointResult(
                point=point.number,
                settings=dict(point.settings),
                mode=point.spec.mode if point.spec else point.settings.get("mode", modes[0] if modes else MATCHED),
                batch=point.spec.batch if point.spec else None,
                status=statuses[point.number][0],
                reason=statuses[point.number][1],
                repeats=len(ran[point.number]),
                untrusted=sum(run.figures is not None and not run.figures.trusted for run in ran[point.number]),
                runs=[run.run for run in ran[point.number]],
                **{figure: _interval(shown[point.number], figure) for figure in FIGURES},
            )
            for point in sweep.points
        ],
        optima=_optima(sweep, shown),
        crossovers=crossovers(
            sweep.points,
            {point.number: _measured(shown[point.number], statuses[point.number]) for point in sweep.points},
        ),
        withheld=withheld.why,
    )


def _optima(sweep: Sweep, ran: Mapping[int, Sequence[Ran]]) -> list[Optimum]:
    """Of each group of points that differ in batch alone; a group of one point has none."""
    groups: dict[tuple[tuple[str, str], ...], list[Point]] = defaultdict(list)
    for point in sweep.points:
        groups[tuple((name, text) for name, text in point.settings.items() if name != "batch")].append(point)
    return [
        optimum
        for settings, points in groups.items()
        for aim in AIMS
        if (optimum := _optimum(dict(settings), points, ran, aim))
    ]


def _optimum(
    settings: dict[str, str], points: Sequence[Point], ran: Mapping[int, Sequence[Ran]], aim: _Aim
) -> Optimum | None:
    values = {point.spec.batch: _values(ran[point.number], aim.figure) for point in points if point.spec}
    values = {batch: mine for batch, mine in values.items() if mine}
    if len(values) <= 1:
        return None
    best = (min if aim.worse == HIGHER else max)(values, key=lambda batch: median(values[batch]))
    ratios = {batch: ratio_interval(values[best], mine) for batch, mine in values.items() if batch != best}
    return Optimum(
        settings=settings,
        aim=aim.name,
        batch=best,
        figure=median_interval(values[best]),
        rivals=[
            Rival(batch=batch, ratio=ratio, worse=verdict(ratio) == aim.worse)
            for batch, ratio in sorted(ratios.items())
        ],
    )


def _measured(ran: Sequence[Ran], stands: tuple[str, str | None]) -> Measured:
    latencies = _values(ran, "time_ns")
    status, reason = stands
    why = None if latencies or status in {COMPLETE, UNFINISHED} else reason or status
    return Measured(latencies, next((run.figures.compiled for run in ran if run.figures), None), why)


def _interval(ran: Sequence[Ran], figure: str) -> Interval | None:
    values = _values(ran, figure)
    return median_interval(values) if values else None


def _values(ran: Sequence[Ran], figure: str) -> list[float]:
    told = [getattr(run.figures, figure) for run in ran if run.figures and run.figures.trusted]
    return [value for value in told if value is not None]
