"""A sweep: the best batch first, curves over batch sizes with their bands, what ran out of memory, every point."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from toolkit.analyses.statistics import Interval
from toolkit.analyses.sweep_crossovers import SweepCrossover
from toolkit.analyses.sweep_results import PointResult, SweepResults
from toolkit.capture.sweeps import COMPLETE
from toolkit.errors import printable
from toolkit.reports.html import charts, crossover
from toolkit.reports.html.content import TOO_FEW, Block, Cell, Chart, Note, Section, Table, Told, words

UNFINISHED, WHY = "unfinished", "no run of it was complete and trusted"


class _Figure(NamedTuple):
    field: str
    title: str
    unit: str
    one: float


FIGURES = (
    _Figure("samples_per_s", "samples/s", "number", 1),
    _Figure("time_ns", "step or request, ms", "ms", 1e6),
    _Figure("peak_bytes", "peak memory, MiB", "mib", 2.0**20),
    _Figure("images_per_joule", "images/J", "number", 1),
)
TIMED = FIGURES[:2]
AIMS = {"throughput": FIGURES[0], "latency": FIGURES[1], "energy": FIGURES[3]}
Group = tuple[str, list[PointResult]]


def sections(found: SweepResults) -> list[Section]:
    """As far as it has come."""
    told = Told(found)
    curves = [*_curves(found)]
    made = [Section("verdict", "Best batch", [*_best(found, told)])]
    if curves:
        made.append(Section("curves", "By batch size", curves))
    return [*made, Section("points", "Every point", [_points(found, told)])]


def _best(found: SweepResults, told: Told) -> Iterator[Block]:
    done = sum(point.status != UNFINISHED for point in found.points)
    whole = done == len(found.points)
    yield Note(f"{done} of {len(found.points)} points done, on {printable(found.host)}", "good" if whole else "warn")
    if found.withheld:
        yield Note(printable(found.withheld), "warn")
    for point in found.points:
        if point.reason:
            yield Note(f"point {point.point} {words(point.status)}: {printable(point.reason)}", "warn")
    for crossing in found.crossovers:
        yield Note(crossover.crossing(crossing), "warn" if crossing.note else "plain")
    if found.optima:
        yield _optima(found, told)
    if found.crossovers:
        yield _crossovers(found, told)


def _optima(found: SweepResults, told: Told) -> Table:
    rows: list[list[Cell]] = []
    for place, one in enumerate(found.optima):
        figure = AIMS[one.aim]
        alike = ", ".join(str(rival.batch) for rival in one.rivals if not rival.worse)
        worse = ", ".join(str(rival.batch) for rival in one.rivals if rival.worse)
        rows.append([
            f"{_named(one.settings)}: {one.aim}", told("count", "optima", place, "batch"),
            told.interval(figure.unit, "optima", place, "figure"), figure.title, alike or "–", worse or "–",
        ])  # fmt: skip
    headers = ["best batch", "batch", "figure, interval", "unit", "not told from it", "shown worse"]
    return Table(f"Best batch, of those measured (margin {found.margin:.0%})", headers, rows)


def _crossovers(found: SweepResults, told: Told) -> Table:
    rows: list[list[Cell]] = []
    for place, one in enumerate(found.crossovers):
        at = ("crossovers", place, "crossover")
        ends = [
            told("count", *at, name, why=why)
            for name, why in (("batch", one.crossover.outcome), ("low", crossover.OPEN), ("high", crossover.OPEN))
        ]
        rows.append([_named(one.settings), *ends, told("share", *at, "level", why=TOO_FEW)])
    headers = ["inference", "crossover batch", "interval from", "to", "level"]
    return Table("From which batch on the GPU is faster, request by request", headers, rows)


def _named(settings: dict[str, str]) -> str:
    return ", ".join(printable(value) for name, value in settings.items() if name != "batch") or "all"


def _curves(found: SweepResults) -> Iterator[Chart]:
    groups: defaultdict[str, list[PointResult]] = defaultdict(list)
    for point in found.points:
        if point.batch is not None:
            groups[_named(point.settings)].append(point)
    ordered = [(name, sorted(points, key=lambda point: point.batch or 0)) for name, points in groups.items()]
    batches = sorted({point.batch for point in found.points if point.batch is not None})
    for figure in FIGURES if len(batches) > 1 else ():
        if any(getattr(point, figure.field) for point in found.points):
            yield _curve(figure, ordered, batches, found.crossovers if figure in TIMED else ())


def _curve(figure: _Figure, groups: Sequence[Group], batches: list[int], crossings: Sequence[SweepCrossover]) -> Chart:
    data: list[charts.Trace] = []
    rows: list[list[Cell]] = []
    for place, (name, points) in enumerate(groups):
        told = [(point, interval) for point in points if (interval := getattr(point, figure.field))]
        data += charts.band(name, [(point.batch, *_ends(interval, figure.one)) for point, interval in told], place)
        rows += [[f"{name}, batch {point.batch}", _text(interval, figure.one)] for point, interval in told]
    ended = [point for _, points in groups for point in points if point.status not in {COMPLETE, UNFINISHED}]
    data += charts.ended([(point.batch or 0, words(point.status), _named(point.settings)) for point in ended])
    rows += [[f"{_named(point.settings)}, batch {point.batch}", words(point.status)] for point in ended]
    marked = crossover.marks([(_named(one.settings), one.crossover) for one in crossings])
    return Chart(
        title=f"{figure.title} by batch size",
        label=f"Lines with bands, one of each of {len(groups)} settings; points that ended otherwise are crosses at 0.",
        data=data,
        layout={
            "height": 400, "hovermode": "closest", "yaxis": {"title": {"text": figure.title}, "rangemode": "tozero"},
            "xaxis": charts.batch_axis(batches), **marked,
        },
        table=Table(f"{figure.title} by batch size", ["point", "median [interval] over processes"], rows),
        note="Bands are intervals over processes, each a fresh run. A cross on the axis: no figure, for how it ended."
        + (f" {crossover.MARKED}" if marked else ""),
    )  # fmt: skip


def _ends(interval: Interval, one: float) -> tuple[float, float | None, float | None]:
    low, high = (None if end is None else end / one for end in (interval.low, interval.high))
    return interval.estimate / one, low, high


def _text(interval: Interval, one: float) -> str:
    estimate, low, high = _ends(interval, one)
    return f"{estimate:,.2f}" if low is None or high is None else f"{estimate:,.2f} [{low:,.2f}, {high:,.2f}]"


def _points(found: SweepResults, told: Told) -> Table:
    shown = [figure for figure in FIGURES if any(getattr(point, figure.field) for point in found.points)]
    rows: list[list[Cell]] = []
    for place, point in enumerate(found.points):
        cells = [told.interval(figure.unit, "points", place, figure.field, why=point.reason or WHY) for figure in shown]
        settings = [printable(point.settings.get(name, "")) for name in found.axes]
        runs = told("count", "points", place, "repeats")
        rows.append([str(point.point), *settings, words(point.status), runs, *cells])
    headers = ["point", *map(words, found.axes), "status", "runs", *(f"{figure.title} [interval]" for figure in shown)]
    return Table("Every point, medians and intervals over processes", headers, rows)
