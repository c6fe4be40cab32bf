"""Several runs held to each other: what is shown to differ first, by how much at least, then what makes it up."""

from collections.abc import Iterator

from toolkit.analyses.comparison import Comparison, Measured, Pair, Ratio
from toolkit.analyses.processes import METRICS
from toolkit.analyses.statistics import bounds
from toolkit.errors import printable
from toolkit.reports.html import charts
from toolkit.reports.html.content import Block, Cell, Chart, Note, Range, Section, Table, Told, counted, words

# Unit of an analysis -> unit of `Told` and how it is written.
UNITS = {"ns": ("ms", "ms"), "B": ("mib", "MiB"), "mJ": ("joules", "J")}
ONE = {"ns": 1e6, "B": 2.0**20, "mJ": 1e3}
TONES = {"better": "good", "worse": "bad"}


def sections(found: Comparison) -> list[Section]:
    """Differences first, then their parts, then the sides."""
    told = Told(found)
    parts = [block for place, pair in enumerate(found.pairs) for block in _parts(place, pair, told)]
    made = [Section("verdict", "Differences", [*_differences(found, told)])]
    if parts:
        made.append(Section("parts", "What makes them up", parts))
    return [*made, Section("sides", "Sides", [*_sides(found, told)])]


def _differences(found: Comparison, told: Told) -> Iterator[Block]:
    if found.forced:
        yield Note(printable(found.forced), "bad")
    doubtful = [run for side in found.sides for run in side.untrusted]
    if doubtful:
        yield Note(f"NOT TRUSTED: {', '.join(map(printable, doubtful))}", "bad")
    for place, pair in enumerate(found.pairs):
        yield from _pair(place, pair, found, told)
    yield from (Note(printable(note)) for note in found.notes)


def _pair(place: int, pair: Pair, found: Comparison, told: Told) -> Iterator[Block]:
    called = f"{printable(pair.b)} beside {printable(pair.a)}"
    shown = [one for one in pair.ratios if one.effect]
    for one in shown:
        yield Note(f"{called}: {words(one.metric)} is {one.verdict}, which is {one.effect}.", TONES[str(one.effect)])
    if not shown:
        yield Note(f"{called}: no difference is shown.")
    ranked = sorted(enumerate(pair.ratios), key=lambda item: item[1].effect is None)
    yield _forest(called, place, pair, ranked, found, told)
    if pair.settings:
        rows: list[list[Cell]] = [[words(name), *map(printable, values)] for name, values in pair.settings.items()]
        yield Table(f"{called}: settings that differ", ["setting", printable(pair.a), printable(pair.b)], rows)
    yield from (Note(printable(note)) for note in pair.notes)


def _forest(  # noqa: PLR0913, PLR0917 - the pair, where it stands and what of
    called: str, place: int, pair: Pair, ranked: list[tuple[int, Ratio]], found: Comparison, told: Told
) -> Chart:
    sides = {side.label: (number, side) for number, side in enumerate(found.sides)}
    rows: list[list[Cell]] = []
    for row, one in ranked:
        at = ("pairs", place, "ratios", row, "ratio")
        own = [_median(one.metric, *sides[label], told) for label in (pair.a, pair.b)]
        ends = [told("ratio", *at, name, why="there are too few processes") for name in ("estimate", "low", "high")]
        rows.append([f"{words(one.metric)}, {_unit(one.metric)[1]}", *own, Range(*ends), one.verdict, one.effect or ""])
    names = [words(one.metric) for _, one in ranked]
    least, most = bounds(found.margin)
    headers = ["metric", printable(pair.a), printable(pair.b), "ratio, interval", "verdict", "which is"]
    return Chart(
        title=f"{called}: ratios of medians over processes",
        label=f"Ratios with intervals of {len(names)} metrics; 1 is equal.",
        data=[charts.ratios(names, [(one.ratio.estimate, one.ratio.low, one.ratio.high) for _, one in ranked])],
        layout={
            "height": 110 + 30 * len(names), "showlegend": False, "yaxis": charts.named_axis(names),
            "xaxis": {"title": {"text": charts.label(f"ratio, {pair.b} over {pair.a}")}},
            "shapes": [{
                "type": "rect", "xref": "x", "yref": "paper", "x0": least, "x1": most, "y0": 0,
                "y1": 1, "line": {"width": 0}, "fillcolor": "rgba(128,128,128,0.2)", "layer": "below",
            }],
        },
        table=Table(f"{called}: medians, ratios and verdicts", headers, rows),
        note=f"A difference is claimed where the whole interval lies outside the grey band, {least:.3f} to {most:.3f}.",
        opened=True,
    )  # fmt: skip


def _unit(metric: str) -> tuple[str, str]:
    unit = METRICS[metric].unit
    return UNITS.get(unit, ("number", unit))


def _median(metric: str, number: int, side: object, told: Told) -> Cell:
    measured: list[Measured] = side.metrics  # type: ignore[attr-defined] # a side of the comparison
    place = next(place for place, one in enumerate(measured) if one.metric == metric)
    at = ("sides", number, "metrics", place, "median")
    ends = (
        told(_unit(metric)[0], *at, name, why="there are too few processes") for name in ("estimate", "low", "high")
    )
    return Range(*ends)


def _parts(place: int, pair: Pair, told: Told) -> Iterator[Block]:
    for number, table in enumerate(pair.parts):
        at = ("pairs", place, "parts", number)
        unit, written = UNITS.get(table.unit, ("number", table.unit))
        rows: list[list[Cell]] = [
            [words(part.name), *(told(unit, *at, "parts", row, name) for name in ("a", "b", "difference"))]
            for row, part in enumerate(table.parts)
        ]
        rows.append(["whole", *(told(unit, *at, name) for name in ("a", "b", "difference"))])
        one = ONE.get(table.unit, 1)
        drawn = {part.name: [part.a / one, part.b / one] for part in table.parts}
        headers = ["part", printable(pair.a), printable(pair.b), "difference"]
        yield Chart(
            title=f"{words(table.of)}, {written}: what makes up the difference",
            label=f"Stacked bars of {printable(pair.a)} and {printable(pair.b)} by part.",
            data=charts.stacked([pair.a, pair.b], drawn, unit=written),
            layout={"barmode": "stack", "height": 150, "yaxis": {"autorange": "reversed"},
                    "xaxis": {"title": {"text": written}}},
            table=Table(f"{words(table.of)}, {written}", headers, rows),
            note=f"of the process in the middle of each side: {printable(table.a_run)} and {printable(table.b_run)}",
        )  # fmt: skip


def _sides(found: Comparison, told: Told) -> Iterator[Block]:
    for number, side in enumerate(found.sides):
        rows: list[list[Cell]] = []
        for place, run in enumerate(side.runs):
            steady = side.warming_up[place]
            far = [one.metric for one in side.metrics if run in one.outliers]
            warm = told("count", "sides", number, "warming_up", place, "warmup_steps", why=steady.reason)
            rows.append([printable(run), warm, "no" if run in side.untrusted else "yes", ", ".join(map(words, far))])
        headers = ["run", "steps until warm", "trusted", "outlier in"]
        yield Table(f"{printable(side.label)}: {counted(len(side.runs))}", headers, rows)
