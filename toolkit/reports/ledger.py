"""Where the epochs' time went: the ledger on the host, and what each device did in its parts."""

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.analyses.ledger_devices import LedgerDevice
from toolkit.analyses.summary import Epoch, Gap, Summary
from toolkit.reports.tables import Titled, bar, microseconds, milliseconds, percent, share, shown, table

# The order in which a training loop meets them.
PARTS = (
    "data_wait", "host_to_device", "compile", "compute", "validation", "callbacks", "checkpoint", "profiler", "other",
)  # fmt: skip
# From this share of an epoch on, the report says what `other` holds.
MUCH = 0.03


def ledger_tables(summary: Summary, pass_name: str, epochs: Sequence[Epoch]) -> Iterable[RenderableType]:
    """The ledger of one pass, which has `epochs`, and what its trace adds."""
    table_ = _ledger(pass_name, epochs, [gap for gap in summary.gaps if gap.pass_name == pass_name])
    table_.note = " ".join(_notes(summary, pass_name, epochs)) or None
    yield table_
    for row in summary.fetches_in_compute:
        if row.pass_name == pass_name:
            yield Text(
                f"fit waits for its batches inside compute: {milliseconds(row.fetch_ns)} of"
                f" {milliseconds(row.compute_ns)} ms ({percent(share(row.fetch_ns, row.compute_ns))}) in the profiled"
                " window, by the trace\n",
                "dim",
            )
    rows = [row for row in summary.ledger_devices if row.pass_name == pass_name]
    for device in sorted({row.device for row in rows}):
        yield _device_ledger([row for row in rows if row.device == device])


def _ledger(pass_name: str, epochs: Sequence[Epoch], gaps: Sequence[Gap]) -> Titled:
    """Epoch 1 apart, the mean of the others, and what lies between epochs."""
    columns = [("epoch 1", [epochs[0].parts_ns])]
    if len(epochs) > 1:
        later = _later(epochs)
        title = f"epoch {later[0].epoch}" if len(later) == 1 else f"mean of {later[0].epoch} to {later[-1].epoch}"
        columns.append((title, [epoch.parts_ns for epoch in later]))
    last = columns[-1][0]
    if gaps:
        columns.append(("between epochs", [gap.parts_ns for gap in gaps]))
    found = table(f"Epoch ledger, {pass_name} pass, ms", "part", *(title for title, _ in columns), f"share of {last}")
    means = {title: _mean_parts(entries) for title, entries in columns}
    whole = sum(means[last].values())
    for part in [*PARTS, *sorted({part for mean in means.values() for part in mean} - set(PARTS))]:
        if any(part in mean for mean in means.values()):
            figures = [milliseconds(mean.get(part)) for mean in means.values()]
            found.add_row(part.replace("_", " "), *figures, bar(share(means[last].get(part, 0), whole)))
    found.add_section()
    found.add_row("wall", *(milliseconds(sum(mean.values())) for mean in means.values()), "", style="bold")
    return found


def _later(epochs: Sequence[Epoch]) -> Sequence[Epoch]:
    """Those after the first, or the first alone; of several without the one that was cut off."""
    later = epochs[1:] or epochs
    return [epoch for epoch in later if epoch.complete] or later


def _notes(summary: Summary, pass_name: str, epochs: Sequence[Epoch]) -> Iterable[str]:
    if not all(epoch.complete for epoch in epochs):
        yield "The last epoch was cut off."
    later = _later(epochs)
    own = {(pass_name, epoch.epoch) for epoch in later}
    steps = sum(
        row.steps + row.compiled_steps + row.profiled_steps
        for row in summary.steps
        if (row.pass_name, row.epoch) in own
    )
    inside, between = (
        sum(getattr(row, name) for row in summary.other_parts if (row.pass_name, row.epoch) in own)
        for name in ("inside_ns", "between_ns")
    )
    whole = sum(epoch.wall_ns for epoch in later)
    if steps and sum(epoch.parts_ns.get("other", 0) for epoch in later) > MUCH * whole:
        yield (
            f"other: {microseconds(inside // steps)} µs a step inside it, between its phases (the loop's own calls, the"
            f" writing of marks), and {microseconds(between // steps)} µs a step between steps and around them."
        )


def _mean_parts(entries: Sequence[dict[str, int]]) -> dict[str, int]:
    parts = {part for entry in entries for part in entry}
    return {part: sum(entry.get(part, 0) for entry in entries) // len(entries) for part in parts}


def _device_ledger(rows: Sequence[LedgerDevice]) -> Table:
    """Parts of all epochs together, in the ledger's order, then those of the gaps between them."""
    found = table(
        f"Device {shown(rows[0].device)} in each part of the ledger, profiled window, ms",
        "part", "in the window", "worked", "idle", "share idle",
    )  # fmt: skip
    for between, suffix in ((False, ""), (True, ", between epochs")):
        own = [row for row in rows if row.between == between]
        names = [*PARTS, *sorted({row.part for row in own} - set(PARTS))]
        for part in (name for name in names if any(row.part == name for row in own)):
            worked = sum(row.worked_ns for row in own if row.part == part)
            idle = sum(row.idle_ns for row in own if row.part == part)
            figures = map(milliseconds, (worked + idle, worked, idle))
            found.add_row(part.replace("_", " ") + suffix, *figures, bar(share(idle, worked + idle)))
    return found
