"""Runs over time beside each other: a column a side, a row each of step time, power, memory and utilisation.

Time counts from each run's own first training step (of inference, from its first request's stage), and all cells share
its axis; the cells of a row share theirs of the figure, so that heights compare. On a narrow screen the page's script
puts the columns below each other.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from toolkit.analyses.comparable import Side
from toolkit.analyses.processes import Process
from toolkit.analyses.timeline import ReadingSeries, Timeline, timelines
from toolkit.errors import printable
from toolkit.ingest.store import connect
from toolkit.own_spec import TIMED
from toolkit.reports.html import charts
from toolkit.reports.html.content import Block, Cell, Chart, Note, Section, Table
from toolkit.reports.html.timeline import ROWS, preferred, series_name

# More than these would be too narrow to read, and their points too many for one page.
MOST_SIDES, MOST_RUNS = 4, 3
STEP_TIME = "step time on the host, ms"
TITLES = (STEP_TIME, *(row.title for row in ROWS))
BUSY = ("train", "evaluate_after", "inference")
CELL_HEIGHT = 150


class _Run(NamedTuple):
    """A run from the moment it began to train or to infer until that was over."""

    side: int
    repeat: int
    name: str
    gpus: Sequence[str]
    timeline: Timeline
    since_ns: int
    until_ns: int


class _Line(NamedTuple):
    """One line of a cell, `row` being its title: moments, ns, and values in `unit`."""

    run: _Run
    row: str
    unit: str
    name: str
    moments_ns: Sequence[int]
    values: Sequence[float]


def sections(sides: Sequence[Side]) -> list[Section]:
    """The unprofiled passes of the first sides' first runs; none where nothing of them has a place in time."""
    shown = sides[:MOST_SIDES]
    runs = [run for place, side in enumerate(shown) for run in _runs(place, side)]
    lines = [line for run in runs for line in _lines(run)]
    if not lines:
        return []
    return [Section("timelines", "Timelines beside each other", [*_left_out(sides), _chart(shown, runs, lines)])]


def _runs(place: int, side: Side) -> Iterator[_Run]:
    for repeat, process in enumerate(side.processes[:MOST_RUNS]):
        with connect(process.folder) as connection:
            for timeline in timelines(connection, TIMED):
                busy = [(span.start_ns, span.end_ns) for span in timeline.spans if span.name in BUSY]
                steps = [(step.ts_ns, step.ts_ns + step.host_ns) for step in timeline.steps]
                if ends := busy or steps:
                    since_ns = timeline.steps[0].ts_ns if steps else min(start for start, _ in ends)
                    until_ns = max(end for _, end in [*ends, *steps])
                    yield _Run(place, repeat, process.name, process.gpu_indices, timeline, since_ns, until_ns)


def _lines(run: _Run) -> Iterator[_Line]:
    steps = run.timeline.steps
    if steps:
        times = [step.host_ns / 1e6 for step in steps]
        yield _Line(run, STEP_TIME, "ms", "step time", [step.ts_ns for step in steps], times)
    for row in ROWS:
        series = [one for one in run.timeline.readings if one.metric in row.metrics]
        for one in _telling(row.metrics, preferred(series), run.gpus):
            points = [point for point in one.points if run.since_ns <= point.ts_ns <= run.until_ns]
            if points:
                moments_ns, values = [point.ts_ns for point in points], [point.value / row.one for point in points]
                yield _Line(run, row.title, row.unit, series_name(one), moments_ns, values)


def _telling(metrics: Sequence[str], series: Sequence[ReadingSeries], gpus: Collection[str]) -> Sequence[ReadingSeries]:
    """Those of the run's own `gpus`, else the host's first of `metrics`: more would hide what is compared."""
    of_gpus = [one for one in series if one.device in gpus]
    of_host = [one for one in series if one.device is None]
    return of_gpus or sorted(of_host, key=lambda one: metrics.index(one.metric))[:1]


def _left_out(sides: Sequence[Side]) -> Iterator[Block]:
    said = []
    if len(sides) > MOST_SIDES:
        said.append(f"the first {MOST_SIDES} of {len(sides)} sides")
    if any(len(side.processes) > MOST_RUNS for side in sides[:MOST_SIDES]):
        said.append(f"of each side its first {MOST_RUNS} runs")
    if said:
        yield Note(f"Drawn: {', and '.join(said)}.")


def _chart(sides: Sequence[Side], runs: Sequence[_Run], lines: Sequence[_Line]) -> Chart:
    rows = [row for row in TITLES if any(line.row == row for line in lines)]
    longest = max(run.until_ns - run.since_ns for run in runs) / 1e9
    return Chart(
        title="Unprofiled passes over time, each from its own beginning of training or inference",
        label=f"Small charts in {len(rows)} rows ({'; '.join(rows)}) and {len(sides)} columns, one a side.",
        data=[*_traces(lines, rows, len(sides))],
        layout={
            "height": 90 + CELL_HEIGHT * len(rows), "hovermode": "closest", **_axes(len(rows), len(sides), longest),
            "grid": {"rows": len(rows), "columns": len(sides), "pattern": "independent", "xgap": 0.08, "ygap": 0.28},
            "annotations": [*_titles(sides, rows, lines)],
        },
        table=_table(sides, lines),
        note="Lines of one side are its runs. The least and the most of each stretch are kept.",
    )  # fmt: skip


def _traces(lines: Sequence[_Line], rows: Sequence[str], columns: int) -> Iterator[charts.Trace]:
    """One entry of the legend a run, which hides all of its lines."""
    named: set[str] = set()
    for line in lines:
        run, cell = line.run, _cell(rows.index(line.row), line.run.side, columns)
        yield charts.line(
            run.name, charts.seconds(line.moments_ns, run.since_ns), line.values,
            unit=line.unit, place=run.side, dash=run.repeat, axis=f"y{cell}",
        ) | {
            "xaxis": f"x{cell}", "legendgroup": charts.label(run.name), "showlegend": run.name not in named,
            "hovertemplate": f"%{{fullData.name}}<br>{charts.label(line.name)} %{{y:,.2f}} {line.unit}"
            " at %{x:,.2f} s<extra></extra>",
        }  # fmt: skip
        named.add(run.name)


def _cell(row: int, column: int, columns: int) -> str:
    """The number of a cell's axes, as Plotly counts: the first has none."""
    number = row * columns + column + 1
    return "" if number == 1 else str(number)


def _axes(rows: int, columns: int, longest_s: float) -> dict[str, Any]:
    """Time is one axis for all; a figure is one for its row."""
    found: dict[str, Any] = {}
    for row in range(rows):
        for column in range(columns):
            cell, first = _cell(row, column, columns), _cell(row, 0, columns)
            found[f"xaxis{cell}"] = {"range": [-0.02 * longest_s, 1.02 * longest_s]} | _matching("x", cell, "")
            # Without the word, a group of matching axes takes the ranges given to x for its own, too.
            found[f"yaxis{cell}"] = {"rangemode": "tozero", "nticks": 5, "autorange": True} | _matching(
                "y", cell, first
            )
            if row == rows - 1:
                found[f"xaxis{cell}"] |= {"title": {"text": "s"}}
    return found


def _matching(axis: str, cell: str, first: str) -> dict[str, str]:
    return {"matches": f"{axis}{first}"} if cell != first else {}


def _titles(sides: Sequence[Side], rows: Sequence[str], lines: Sequence[_Line]) -> Iterator[dict[str, Any]]:
    """What each cell is, above it; what a side did not tell is said where its lines would be."""
    told = {(line.row, line.run.side) for line in lines}
    for row, name in enumerate(rows):
        for column, side in enumerate(sides):
            cell = _cell(row, column, len(sides))
            at = {"xref": f"x{cell} domain", "yref": f"y{cell} domain", "showarrow": False}
            text = charts.label(f"{_called(side.processes[0], side.label)} · {name}")
            yield at | {"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "text": text, "font": {"size": 11}}
            if (name, column) not in told:
                yield at | {"x": 0.5, "xanchor": "center", "y": 0.5, "text": "not told"}


def _called(process: Process, label: str) -> str:
    return f"{label}: {process.spec.framework} {process.device or ''}".strip()


def _table(sides: Sequence[Side], lines: Sequence[_Line]) -> Table:
    rows: list[list[Cell]] = [
        [
            printable(line.run.name), printable(sides[line.run.side].label), line.name,
            f"{min(line.values):,.2f}", f"{max(line.values):,.2f}", line.unit,
        ]
        for line in lines
    ]  # fmt: skip
    return Table("What the chart of the sides spans", ["run", "side", "line", "least", "most", "unit"], rows)
