"""The epoch ledger: bars of its parts, one an epoch and one a gap after it; step times; inference."""

from collections.abc import Iterator

from toolkit.analyses.summary import Epoch, Gap, Summary
from toolkit.own_spec import LOOP, TIMED
from toolkit.reports.html import charts
from toolkit.reports.html.content import Block, Cell, Chart, Section, Share, Table, Told
from toolkit.reports.tables import share

# Of a longer run the chart shows the first epochs and the last.
DRAWN = 40
Row = tuple[str, str, int, str, Epoch | Gap]


def section(summary: Summary, told: Told) -> Section | None:
    """Of every pass; None where there is no epoch and no inference."""
    blocks = [*_blocks(summary, told)]
    return Section("ledger", "Epoch ledger", blocks) if blocks else None


def _blocks(summary: Summary, told: Told) -> Iterator[Block]:
    for name in sorted({epoch.pass_name for epoch in summary.epochs}, reverse=True):
        yield _ledger(name, _rows(summary, name), told)
    if summary.ledger_devices:
        yield _devices(summary, told)
    if summary.steps:
        yield _steps(summary, told)
    if summary.inference:
        yield _inference(summary, told)


def _rows(summary: Summary, pass_name: str) -> list[Row]:
    """Epochs, each with the gap after it: what it is called, which list it stands in, where, and its whole's name."""
    rows: list[tuple[int, int, Row]] = []
    for place, epoch in enumerate(summary.epochs):
        if epoch.pass_name == pass_name:
            cut = "" if epoch.complete else ", cut off"
            rows.append((epoch.epoch, 0, (f"epoch {epoch.epoch}{cut}", "epochs", place, "wall_ns", epoch)))
    for place, gap in enumerate(summary.gaps):
        if gap.pass_name == pass_name:
            rows.append((gap.epoch, 1, (f"between epochs, after {gap.epoch}", "gaps", place, "gap_ns", gap)))
    return [row for *_, row in sorted(rows, key=lambda each: each[:2])]


def _ledger(pass_name: str, rows: list[Row], told: Told) -> Chart:
    names = [*dict.fromkeys(name for *_, entry in rows for name in entry.parts_ns)]
    drawn = rows if len(rows) <= DRAWN else [*rows[: DRAWN // 2], *rows[-DRAWN // 2 :]]
    parts = {name: [entry.parts_ns.get(name, 0) / 1e6 for *_, entry in drawn] for name in names}
    cells: list[list[Cell]] = []
    for called, where, place, whole, entry in rows:
        own = [told("ms", where, place, "parts_ns", name) if name in entry.parts_ns else "" for name in names]
        cells.append([called, *own, told("ms", where, place, whole)])
    table = Table(
        f"Epoch ledger of the {pass_name} pass, ms", ["of", *(name.replace("_", " ") for name in names), "whole"], cells
    )
    how = {"time": "unprofiled", LOOP: "the profiler in a window of it"}.get(pass_name, "under the profiler")
    return Chart(
        title=f"Where each epoch's wall time went: {pass_name} pass, {how}",
        label=f"Stacked bars of the parts of {len(drawn)} epochs and gaps between them, in milliseconds.",
        data=charts.stacked([called for called, *_ in drawn], parts, unit="ms"),
        layout={
            "barmode": "stack",
            "height": 90 + 30 * len(drawn),
            "hovermode": "closest",
            "xaxis": {"title": {"text": "ms"}},
            "yaxis": {"autorange": "reversed"},
        },
        table=table,
        note=None if drawn is rows else f"drawn: {len(drawn)} of {len(rows)} rows, first and last; the table has all",
    )


def _devices(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{'after ' if one.between else ''}epoch {one.epoch}, {one.part.replace('_', ' ')}",
            one.device,
            told("ms", "ledger_devices", place, "worked_ns"),
            told("ms", "ledger_devices", place, "idle_ns"),
            Share(share(one.idle_ns, one.worked_ns + one.idle_ns)),
        ]
        for place, one in enumerate(summary.ledger_devices)
    ]
    title = "What the devices did in each part that the profiled window holds, ms"
    return Table(title, ["part", "device", "busy", "idle", "share idle"], rows)


def _steps(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{one.pass_name} pass, {'all epochs' if one.epoch is None else f'epoch {one.epoch}'}",
            *(told("count", "steps", place, name) for name in ("steps", "compiled_steps")),
            *(
                told("ms", "steps", place, name, why="every step compiled or was profiled")
                for name in ("median_ns", "p10_ns", "p90_ns")
            ),
        ]
        for place, one in sorted(enumerate(summary.steps), key=lambda item: item[1].pass_name not in TIMED)
    ]
    headers = ["of", "steps", "steps that compiled", "median", "p10", "p90"]
    return Table("Training steps on the host, ms; those that compiled stand apart", headers, rows)


def _inference(summary: Summary, told: Told) -> Table:
    names = ("p50_ns", "p90_ns", "p99_ns", "worst_ns")
    rows: list[list[Cell]] = [
        [
            f"batch {one.batch}, {one.pass_name} pass",
            *(told("ms", "inference", place, name) for name in names),
            told("number", "inference", place, "samples_per_s"),
            told("ms", "inference", place, "resident_p50_ns", why="none were timed"),
            told("count", "inference", place, "requests"),
        ]
        for place, one in enumerate(summary.inference)
    ]
    headers = ["of", "median", "p90", "p99", "worst", "samples/s", "median without transfer", "requests"]
    return Table("Inference, host memory to host memory, ms", headers, rows)
