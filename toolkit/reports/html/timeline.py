"""Power, memory, utilisation and step time on one axis, beside stages, epochs and parts of the ledger."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from toolkit.analyses.timeline import ReadingSeries, Span, StepPoint, Timeline
from toolkit.errors import printable
from toolkit.reports.html import charts
from toolkit.reports.html.content import Cell, Chart, Note, Section, Table

LANES = {"stage": "stage", "epoch": "epoch", "part": "ledger"}
# What stands in a row of the chart, by metric, and one of its unit in the sampler's.
POWERS = ("power_instant", "power_average", "power")
LANE_SHARE, GAP = 0.2, 0.045
STRIPED_EPOCHS = 40
TRAINED = ("warmup", "train", "evaluate_after", "inference")


class _Row(NamedTuple):
    title: str
    unit: str
    one: float
    metrics: Sequence[str]


ROWS = (
    _Row("power, W", "W", 1e3, POWERS),
    _Row("memory, MiB", "MiB", 2.0**20, ("memory_used", "rss", "cgroup_memory")),
    _Row("utilisation, %", "%", 1, ("utilisation", "cpu")),
)


def section(timelines: Sequence[Timeline]) -> Section | None:
    """A chart a pass, the unprofiled one first; None where nothing has a time."""
    blocks = [block for timeline in timelines for block in _blocks(timeline)]
    return Section("timeline", "Timeline", blocks) if blocks else None


def _blocks(timeline: Timeline) -> Iterator[Chart | Note]:
    moments = [span.start_ns for span in timeline.spans] + [step.ts_ns for step in timeline.steps]
    moments += [point.ts_ns for series in timeline.readings for point in series.points]
    if not moments:
        return
    since_ns = min(moments)
    shown = [(row, [one for one in timeline.readings if one.metric in row.metrics]) for row in ROWS]
    shown = [(row, preferred(series)) for row, series in shown if series]
    if not any(row.unit == "W" for row, _ in shown):
        yield Note(f"{timeline.pass_name} pass: no power was told, so none is drawn; Environment says why.", "plain")
    yield Chart(
        title=f"{timeline.pass_name} pass over time",
        label="Stages, epochs and ledger parts as bars; below them on the same time axis: "
        + ", ".join(["step time", *(row.title for row, _ in shown)]) + ".",
        data=[*_lanes(timeline.spans, since_ns), *_steps(timeline.steps, since_ns), *_lines(shown, since_ns)],
        layout=_layout(timeline, [row for row, _ in shown], since_ns),
        table=_table(timeline, shown),
        note=_thinned(timeline, [series for _, own in shown for series in own]),
        ranges=_ranges(timeline.spans, since_ns),
    )  # fmt: skip


def preferred(series: Sequence[ReadingSeries]) -> list[ReadingSeries]:
    """Of a device's sensors of power that which tells most at once."""
    best = {one.device: one.metric for metric in reversed(POWERS) for one in series if one.metric == metric}
    return [one for one in series if one.metric not in POWERS or best[one.device] == one.metric]


def _lanes(spans: Sequence[Span], since_ns: int) -> Iterator[charts.Trace]:
    """A trace for each name, so that the legend names it; epochs by turns in two shades."""
    lasting: Counter[tuple[str, str]] = Counter()
    for span in spans:
        lasting[span.lane, span.name] += span.end_ns - span.start_ns
    for place, ((lane, name), _) in enumerate(lasting.most_common()):
        own = [span for span in spans if (span.lane, span.name) == (lane, name)]
        ledger = lane == "part"
        texts = [_called(span) for span in own]
        yield {
            "type": "bar", "orientation": "h", "yaxis": "y", "name": charts.label(name.replace("_", " ")),
            "y": [LANES[lane]] * len(own), "base": charts.seconds((span.start_ns for span in own), since_ns),
            "x": [(span.end_ns - span.start_ns) / 1e9 for span in own], "width": 0.85, "showlegend": ledger,
            "customdata": [charts.label(text) for text in texts],
            "hovertemplate": "%{customdata}: %{x:,.3f} s from %{base:,.3f} s<extra></extra>",
            "text": None if ledger else [charts.label(text) for text in texts], "textposition": "inside",
            "insidetextfont": {"color": charts.ON_SHADES},
            "insidetextanchor": "middle", "constraintext": "inside", "textangle": 0,
            "marker": {
                "color": charts.colour(name, place) if ledger else _shades(own, place), "line": {"width": 0}
            },
        }  # fmt: skip


def _shades(spans: Sequence[Span], place: int) -> list[str]:
    return [charts.SHADES[(span.epoch or place) % 2] for span in spans]


def _called(span: Span) -> str:
    name = printable(span.name).replace("_", " ")
    return name if span.lane == "stage" or span.epoch is None else (
        f"epoch {span.epoch}" if span.lane == "epoch" else f"{name}, epoch {span.epoch}"
    )  # fmt: skip


def _steps(steps: Sequence[StepPoint], since_ns: int) -> Iterator[charts.Trace]:
    for compiled in (False, True):
        own = [step for step in steps if step.compiled == compiled]
        if own:
            yield {
                "type": "scatter", "mode": "markers+lines" if not compiled else "markers", "yaxis": "y2",
                "name": "step that compiled" if compiled else "step time",
                "x": charts.seconds((step.ts_ns for step in own), since_ns), "y": [step.host_ns / 1e6 for step in own],
                "customdata": [f"epoch {step.epoch}, step {step.step}" for step in own],
                "hovertemplate": "%{customdata}: %{y:,.2f} ms",
                "marker": {"size": 7 if compiled else 4, "symbol": "x" if compiled else "circle"},
                "line": {"width": 1, "color": charts.RED if compiled else charts.BLUE},
            }  # fmt: skip


def _lines(shown: Sequence[tuple[_Row, list[ReadingSeries]]], since_ns: int) -> Iterator[charts.Trace]:
    for place, (row, series) in enumerate(shown):
        for number, one in enumerate(series):
            yield charts.line(
                series_name(one),
                charts.seconds((point.ts_ns for point in one.points), since_ns),
                [point.value / row.one for point in one.points],
                unit=row.unit, place=number + place, dash=number, axis=f"y{place + 3}",
            )  # fmt: skip


def series_name(series: ReadingSeries) -> str:
    """What a line is called: whose metric it is."""
    where = "host" if series.device is None else f"GPU {series.device}"
    return f"{where} {series.metric.replace('_', ' ')}"


def _layout(timeline: Timeline, rows: Sequence[_Row], since_ns: int) -> dict[str, Any]:
    """Lanes on top, a row for each kind of figure below, all over one axis of time."""
    titles = ["step time on the host, ms", *(row.title for row in rows)]
    height = (1 - LANE_SHARE) / len(titles)
    axes: dict[str, Any] = {"yaxis": {
        "domain": [1 - LANE_SHARE + GAP, 1], "autorange": "reversed", "fixedrange": True, "categoryorder": "array",
        "categoryarray": [*LANES.values()],
    }}  # fmt: skip
    for place, title in enumerate(titles):
        top = 1 - LANE_SHARE - place * height
        axes[f"yaxis{place + 2}"] = {
            "domain": [max(top - height + GAP, 0), top], "title": {"text": title}, "rangemode": "tozero", "nticks": 5,
        }  # fmt: skip
    epochs = [span for span in timeline.spans if span.lane == "epoch"]
    stripes = [
        {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1 - LANE_SHARE, "line": {"width": 0},
         "x0": (span.start_ns - since_ns) / 1e9, "x1": (span.end_ns - since_ns) / 1e9, "layer": "below",
         "fillcolor": "rgba(128,128,128,0.16)" if (span.epoch or 0) % 2 else "rgba(128,128,128,0.07)"}
        for span in epochs[:STRIPED_EPOCHS]
    ]  # fmt: skip
    return {
        "barmode": "overlay", "height": 190 + 135 * len(titles), "hovermode": "closest", "shapes": stripes, **axes,
        "xaxis": {"title": {"text": "seconds since the pass began"}, "anchor": f"y{len(titles) + 1}"},
    }  # fmt: skip


def _ranges(spans: Sequence[Span], since_ns: int) -> list[tuple[str, float, float]]:
    """The training with what comes after, which set-up is often much longer than; then everything."""
    if not spans:
        return []
    ends = [(span.start_ns - since_ns, span.end_ns - since_ns) for span in spans]
    trained = [(span.start_ns - since_ns, span.end_ns - since_ns) for span in spans if span.name in TRAINED]
    found = []
    for name, own in (("after set-up", trained), ("whole pass", ends)):
        if own:
            first, last = min(start for start, _ in own) / 1e9, max(end for _, end in own) / 1e9
            found.append((name, first - 0.01 * (last - first), last + 0.01 * (last - first)))
    return found


def _thinned(timeline: Timeline, series: Sequence[ReadingSeries]) -> str | None:
    """What is not drawn; None where all is."""
    told = [
        f"{len(one.points):,} of {one.readings:,} readings of {series_name(one)}"
        for one in series
        if len(one.points) < one.readings
    ]
    if timeline.steps and len(timeline.steps) < timeline.steps[0].steps:
        told.append(f"{len(timeline.steps):,} of {timeline.steps[0].steps:,} steps")
    for lane, name in LANES.items():
        own = [span for span in timeline.spans if span.lane == lane]
        if own and len(own) != own[0].spans:
            told.append(
                f"{own[0].spans:,} spans of the {name} lane by what took most of each four-hundredth of the time"
            )
    return f"drawn: {'; '.join(told)}. Highest and lowest of each stretch are kept." if told else None


def _table(timeline: Timeline, shown: Sequence[tuple[_Row, list[ReadingSeries]]]) -> Table:
    """What is drawn, in short: extremes of each line."""
    rows: list[list[Cell]] = []
    for row, series in shown:
        for one in series:
            values = [point.value / row.one for point in one.points]
            rows.append([series_name(one), f"{one.readings:,}", f"{min(values):,.1f}", f"{max(values):,.1f}", row.unit])
    if timeline.steps:
        times = [step.host_ns / 1e6 for step in timeline.steps]
        least, most = (f"{end(times):,.2f}" for end in (min, max))
        rows.append(["step time on the host", f"{timeline.steps[0].steps:,}", least, most, "ms"])
    return Table(
        f"What the chart of the {timeline.pass_name} pass spans", ["line", "readings", "least", "most", "unit"], rows
    )
