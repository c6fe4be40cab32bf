"""A sweep for the terminal: a row a point, with intervals over processes, and the batch that is best."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.analyses.statistics import LEVEL, Interval
from toolkit.analyses.sweep_crossovers import SweepCrossover
from toolkit.analyses.sweep_results import NO_FIGURE, UNFINISHED, Optimum, PointResult, SweepResults
from toolkit.capture.matrix import Point
from toolkit.capture.sweeps import COMPLETE, UNSUPPORTED
from toolkit.errors import printable
from toolkit.reports.crossover import sentence
from toolkit.reports.tables import UNKNOWN, shown, table, three_digits
from toolkit.spec import MODES

UNITS = {"throughput": "samples/s", "latency": "ms", "energy": "images/J"}
Figure = Callable[[PointResult], Interval | None]


class _Column(NamedTuple):
    title: str
    figure: Figure
    scale: float


COLUMNS = (
    _Column("step or request, ms", lambda point: point.time_ns, 1e6),
    _Column("samples/s", lambda point: point.samples_per_s, 1),
    _Column("peak, MiB", lambda point: point.peak_bytes, 2**20),
    _Column("images/J", lambda point: point.images_per_joule, 1),
)


def points(made: Sequence[Point]) -> RenderableType:
    """What a sweep would run, and what it would record as unsupported."""
    found = _table(f"{len(made)} points", list(made[0].settings))
    found.add_column("would be")
    for point in made:
        found.add_row(str(point.number), *map(shown, point.settings.values()), UNSUPPORTED if point.refused else "run")
    return Group(found, *(Text(f"point {point.number}: {printable(point.refused)}") for point in made if point.refused))


def report(found: SweepResults) -> RenderableType:
    """All that a sweep found so far."""
    return Group(*_sections(found))


def _sections(found: SweepResults) -> Iterable[RenderableType]:
    yield _headline(found)
    for mode in MODES:
        mine = [point for point in found.points if point.mode == mode]
        if mine:
            yield _results(mode, mine, found)
    yield from _reasons(found.points)
    yield from _notes(found)
    if found.withheld:
        yield Text(printable(found.withheld), "yellow")
    if found.optima:
        yield _optima(found)
    for one in found.crossovers:
        yield crossing(one)


def crossing(one: SweepCrossover) -> Text:
    """From which batch on a GPU is faster, for a group of settings."""
    named = ", ".join(one.settings.values())
    said = f"{named}: " if named else ""
    note = f" But {one.note}." if one.note else ""
    return Text(printable(f"Inference, {said}{sentence(one.crossover)}{note}"), "bold")


def _headline(found: SweepResults) -> Text:
    done = sum(point.status != UNFINISHED for point in found.points)
    least, most = found.least_repeats, found.most_repeats
    repeats = f"{least} to {most} repeats each, until the interval is within ±{found.width:.1%}"
    repeats = repeats if least < most else f"{least} repeat{'s' if least > 1 else ''} each"
    line = Text.assemble(
        (f"{done} of {len(found.points)} points done", "green" if done == len(found.points) else "bold red"),
        f" · {repeats} · order by seed {found.seed} · on {printable(found.host)}",
    )
    return line.append(f"\n{found.sweep}", "dim")


def _results(mode: str, mine: Sequence[PointResult], found: SweepResults) -> Table:
    told = [column for column in COLUMNS if any(column.figure(point) for point in found.points)]
    made = _table(mode, list(found.axes))
    made.add_column("status", overflow="fold")
    for title in ("n", *(column.title for column in told)):
        made.add_column(title, justify="right", overflow="fold")
    for point in mine:
        settings = [shown(point.settings.get(name, "")) for name in found.axes]
        figures = [_interval(column.figure(point), column.scale) for column in told]
        style = None if point.status in {COMPLETE, UNFINISHED} else "yellow"
        made.add_row(str(point.point), *settings, shown(point.status), str(point.repeats), *figures, style=style)
    return made


def _reasons(of: Iterable[PointResult]) -> Iterable[Text]:
    for point in of:
        if point.reason:
            yield Text(f"point {point.point} {point.status}: {printable(point.reason)}", "yellow")
        if point.untrusted and point.reason != NO_FIGURE:
            yield Text(
                f"point {point.point}: {point.untrusted} of {point.repeats} runs not trusted, left out", "yellow"
            )


def _notes(found: SweepResults) -> Iterable[Text]:
    every = [interval for point in found.points for column in COLUMNS if (interval := column.figure(point))]
    if not every:
        return
    yield Text(
        "n: runs, each a fresh process. Medians over them, and their intervals: of 95 % from six runs on.", "dim"
    )
    less = {interval.processes[0]: interval.level for interval in every if (interval.level or 0) < LEVEL}
    covers = ", ".join(f"{level:.0%} of {n}" for n, level in sorted(less.items()) if level)
    if covers:
        yield Text(f"Those of fewer runs cover the true median less often: {covers}.", "dim")


def _optima(found: SweepResults) -> Table:
    names = [name for name in found.axes if name != "batch"]
    columns = [*names, "for", "batch", "figure", "not told from it", "shown worse, by its ratio"]
    made = table(f"Best batch, of those measured (margin {found.margin:.0%})", columns[0])
    for title in columns[1:]:
        made.add_column(title, overflow="fold")
    for optimum in found.optima:
        settings = [shown(optimum.settings.get(name, "")) for name in names]
        made.add_row(*settings, optimum.aim, str(optimum.batch), _figure(optimum), *_rivals(optimum))
    made.note = (
        "latency: of a step, its share of the wait for the device included, or of a request. A batch is shown worse "
        "where the whole interval of its ratio to the best lies outside the margin; the others may be as good."
    )
    return made


def _rivals(optimum: Optimum) -> tuple[str, str]:
    alike = [str(rival.batch) for rival in optimum.rivals if not rival.worse]
    worse = [f"{rival.batch} ×{_interval(rival.ratio, 1)}" for rival in optimum.rivals if rival.worse]
    return ", ".join(alike) or UNKNOWN, ", ".join(worse) or UNKNOWN


def _figure(optimum: Optimum) -> str:
    return f"{_interval(optimum.figure, 1e6 if optimum.aim == 'latency' else 1)} {UNITS[optimum.aim]}"


def _interval(interval: Interval | None, scale: float) -> str:
    if interval is None:
        return UNKNOWN
    if interval.low is None or interval.high is None:
        return three_digits(interval.estimate / scale)
    low, high = (three_digits(end / scale) for end in (interval.low, interval.high))
    return rf"{three_digits(interval.estimate / scale)} \[{low}–{high}]"


def _table(title: str, axes: Sequence[str]) -> Table:
    made = table(title, "point")
    for name in axes:
        made.add_column(name, overflow="fold")
    return made
