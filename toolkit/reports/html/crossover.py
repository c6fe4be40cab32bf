"""A processor beside a GPU in inference: curves by batch size, and where the GPU overtakes marked in them."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from toolkit.analyses.crossover import Crossover, DeviceComparison, Point
from toolkit.analyses.statistics import Interval
from toolkit.analyses.sweep_crossovers import SweepCrossover
from toolkit.errors import printable
from toolkit.reports.crossover import faster, sentence
from toolkit.reports.html import charts
from toolkit.reports.html.content import Block, Cell, Chart, Note, Section, Table, Told
from toolkit.reports.sweep import crossing as told_of

DEVICES = {"cpu": "processor", "gpu": "GPU"}
LATENCY, THROUGHPUT = "latency, ms", "samples/s"
OPEN = "the ratios' intervals leave it open"
UNTOLD = "no run told it"
MARKED = "Dashed: the least batch from which on the GPU is faster; grey: its interval."
# So far from the top stands what a mark is of; one above the other, for marks may be near.
STAGGER = 0.07


def sections(found: DeviceComparison) -> list[Section]:
    """Where the GPU overtakes first, then the curves with every batch size, then whose they are."""
    told = Told(found)
    rows: list[list[Cell]] = [
        [called, printable(name)]
        for called, names in (("processor", found.cpu_runs), ("GPU", found.gpu_runs))
        for name in names
    ]
    return [
        Section("verdict", "Where the GPU overtakes", [*_verdict(found)]),
        Section("curves", "By batch size", [*_curves(found, told)]),
        Section("sides", "Runs", [Table("Every run is a fresh process", ["on", "run"], rows)]),
    ]


def crossing(one: SweepCrossover) -> str:
    """From which batch on the GPU is faster, for one group of a sweep's settings."""
    return told_of(one).plain


def marks(crossings: Sequence[tuple[str, Crossover]]) -> dict[str, Any]:
    """What a chart over batch sizes adds to its layout: a line at each crossover, and a band for its interval."""
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for place, (name, one) in enumerate(each for each in crossings if each[1].outcome == "crossover"):
        over = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1}
        if one.low is not None:
            until = one.high if one.high is not None else one.points[-1].batch
            band = {"type": "rect", "fillcolor": "rgba(128,128,128,0.18)", "line": {"width": 0}, "layer": "below"}
            shapes.append(over | band | {"x0": one.low, "x1": until})
        dashed = {"type": "line", "line": {"color": charts.OTHER, "dash": "dash", "width": 2}}
        shapes.append(over | dashed | {"x0": one.batch, "x1": one.batch})
        notes.append({
            "xref": "x", "yref": "paper", "x": math.log10(one.batch or 1), "y": 1 - STAGGER * place, "yanchor": "top",
            "xanchor": "right", "xshift": -4, "showarrow": False, "text": charts.label(f"{name}: GPU from {one.batch}"),
        })  # fmt: skip
    return {"shapes": shapes, "annotations": notes} if notes else {}


def _timed(found: DeviceComparison) -> Iterator[tuple[int, Crossover]]:
    for place, one in enumerate(found.crossovers):
        if any(point.ratio or point.cpu_reason or point.gpu_reason for point in one.points):
            yield place, one


def _how(one: Crossover) -> str:
    return "host memory to host memory" if one.transfer else "input and answer on the device"


def _verdict(found: DeviceComparison) -> Iterator[Block]:
    if found.forced:
        yield Note(printable(found.forced), "bad")
    for _, one in _timed(found):
        yield Note(f"{_how(one)}: {sentence(one)}", "good" if one.batch is not None else "plain")
    unfit = {
        (point.batch, called): reason
        for one in found.crossovers
        for point in one.points
        for called, reason in (("processor", point.cpu_reason), ("GPU", point.gpu_reason))
        if reason
    }
    for (batch, called), reason in unfit.items():
        yield Note(f"batch {batch} on the {called}: {printable(reason)}", "warn")


def _curves(found: DeviceComparison, told: Told) -> Iterator[Chart]:
    for place, one in _timed(found):
        yield _chart(one, LATENCY, _latencies(place, one, told))
        yield _chart(one, THROUGHPUT, _throughputs(place, one, told))


def _chart(one: Crossover, title: str, table: Table) -> Chart:
    data: list[charts.Trace] = []
    for place, (field, called) in enumerate(DEVICES.items()):
        timed = [(point.batch, interval) for point in one.points if (interval := getattr(point, f"{field}_ns"))]
        data += charts.band(called, [_drawn(batch, interval, title) for batch, interval in timed], place)
    unfit = [
        (point.batch, "no figure", called)
        for point in one.points
        for field, called in DEVICES.items()
        if getattr(point, f"{field}_reason")
    ]
    batches = [point.batch for point in one.points]
    marked = marks([("inference", one)])
    notes = [
        "Bands are intervals over processes.",
        *(["A cross on the axis: that batch has no figure, for the reason above."] if unfit else []),
        *([MARKED] if marked else []),
    ]
    return Chart(
        title=f"{title} by batch size, {_how(one)}",
        label=f"One line with a band for each device over {len(batches)} batch sizes. {sentence(one)}",
        data=[*data, *charts.ended(unfit)],
        layout={
            "height": 380, "hovermode": "closest", "yaxis": {"title": {"text": title}, "rangemode": "tozero"},
            "xaxis": charts.batch_axis(batches), **marked,
        },
        table=table,
        note=" ".join(notes),
    )  # fmt: skip


def _drawn(batch: int, ns: Interval, title: str) -> tuple[int, float, float | None, float | None]:
    """x, estimate and the interval's ends, as latency or, upside down, as throughput."""
    if title == LATENCY:
        return batch, ns.estimate / 1e6, ns.low and ns.low / 1e6, ns.high and ns.high / 1e6
    return batch, batch * 1e9 / ns.estimate, ns.high and batch * 1e9 / ns.high, ns.low and batch * 1e9 / ns.low


def _latencies(place: int, one: Crossover, told: Told) -> Table:
    headers = ["batch", "processor", "GPU", "GPU over processor, interval", "faster"]
    rows: list[list[Cell]] = []
    for row, point in enumerate(one.points):
        at = ("crossovers", place, "points", row)
        own = [told.interval("ms", *at, f"{field}_ns", why=why) for field, why in _reasons(point)]
        ratio = told.interval("ratio", *at, "ratio", why="it takes a figure on both")
        rows.append([str(point.batch), *own, ratio, faster(point)])
    return Table(f"Latency, ms, medians over processes, {_how(one)}", headers, rows)


def _throughputs(place: int, one: Crossover, told: Told) -> Table:
    rows: list[list[Cell]] = []
    for row, point in enumerate(one.points):
        at = ("crossovers", place, "points", row)
        own = [told("number", *at, f"{field}_samples_per_s", why=why) for field, why in _reasons(point)]
        rows.append([str(point.batch), *own])
    return Table(f"Samples a second at the median latency, {_how(one)}", ["batch", "processor", "GPU"], rows)


def _reasons(point: Point) -> list[tuple[str, str]]:
    return [("cpu", point.cpu_reason or UNTOLD), ("gpu", point.gpu_reason or UNTOLD)]
