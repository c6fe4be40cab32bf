"""What Python did in each stage, between epochs and in each phase, as py-spy saw it."""

from toolkit.analyses.stack_windows import StackWindow
from toolkit.analyses.summary import Summary
from toolkit.errors import printable
from toolkit.reports.html import charts
from toolkit.reports.html.content import Cell, Chart, Section, Share, Table, Told, words
from toolkit.reports.tables import share, short_frame

KINDS = {"stage": "stage", "gap": "between epochs", "phase": "phase"}


def section(summary: Summary, told: Told) -> Section | None:
    """A chart of the windows and a table of their functions a kind; None without stacks that lie on the run's clock."""
    if not summary.stacks:
        return None
    blocks: list[Chart | Table] = [_chart(summary, told), _mostly(summary, told)]
    for kind, called in KINDS.items():
        places = [place for place, one in enumerate(summary.stacks) if one.kind == kind]
        if places:
            blocks.append(_table(called, places, summary, told))
    return Section("stacks", "Python stacks by phase", blocks)


def _window(one: StackWindow) -> str:
    kind, name = KINDS[one.kind], words(one.name)
    return f"{name if kind == name else f'{kind} {name}'}, {one.pass_name} pass"


def _mostly(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = [
        [_window(one), printable(short_frame(one.frames[0].frame)), told("ms", "stacks", place, "frames", 0, "self_ns"),
         Share(share(one.frames[0].self_ns, one.sampled_ns))]
        for place, one in enumerate(summary.stacks) if one.frames
    ]  # fmt: skip
    return Table("Where Python mostly was, ms", ["window", "function", "own", "share of window"], rows)


def _chart(summary: Summary, told: Told) -> Chart:
    names = [_window(one) for one in summary.stacks]
    rows: list[list[Cell]] = [[name, told("ms", "stacks", place, "sampled_ns")] for place, name in enumerate(names)]
    return Chart(
        title="How long py-spy saw the worker's own thread at work",
        label=f"Bars of {len(names)} stages, gaps and phases. Phases lie inside stages.",
        data=[charts.bars(names, [one.sampled_ns / 1e6 for one in summary.stacks], unit="ms", name="sampled")],
        layout={"height": 90 + 24 * len(names), "showlegend": False, "yaxis": charts.named_axis(names),
                "xaxis": {"title": {"text": "ms sampled"}}},
        table=Table("Sampled time, ms", ["window", "sampled"], rows),
    )  # fmt: skip


def _table(called: str, places: list[int], summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = []
    for place in places:
        one = summary.stacks[place]
        for row, frame in enumerate(one.frames):
            name = words(one.name) if row == 0 else f"{words(one.name)} (continued)"
            figure = told("ms", "stacks", place, "frames", row, "self_ns")
            rows.append(
                [name, printable(short_frame(frame.frame)), figure, Share(share(frame.self_ns, one.sampled_ns))]
            )
        rows.append([f"{words(one.name)} (rest)", "all others", told("ms", "stacks", place, "others_ns"),
                     Share(share(one.others_ns, one.sampled_ns))])  # fmt: skip
    return Table(f"Functions by own time, {called}, ms", [called, "function", "own", "share"], rows, folded=True)
