"""How the terminal report shows a run's memory by allocator: one row each, and why a figure is not there."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from toolkit.analyses.allocator_memory import FIGURES, GROWTH, AllocatorMemory
from toolkit.reports.tables import UNKNOWN, mebibytes, percent, shown, table

MARKS = {"counters": "", "live_arrays": "ᵃ", "trace": "ᵗ", "snapshot": "ˢ"}
MEANINGS = {
    "ᵃ": "ᵃ sum of the live arrays, for the allocator tells nothing",
    "ᵗ": "ᵗ by the trace, of its window",
    "ˢ": "ˢ by the allocator's snapshot at the window's end",
}
TITLES = {
    "in_use_bytes": "in use",
    "reserved_bytes": "reserved",
    "peak_in_use_bytes": "peak in use",
    "growth_events": "growth events",
    "largest_free_bytes": "largest free block",
    "fragmentation": "fragmentation",
    "device_bytes": "on the device",
    "unexplained_bytes": "unexplained",
}


def allocator_tables(allocators: Sequence[AllocatorMemory]) -> Iterable[Table | Text]:
    """One table of those that tell anything, with its legend; then the reasons for what is missing."""
    telling = [row for row in allocators if row.told_by]
    if telling:
        names = (f"{shown(row.allocator)}{_where(row)}, {row.pass_name}" for row in telling)
        found = table("Memory by allocator, MiB (when it last told)", "", *names)
        for figure, title in TITLES.items():
            found.add_row(title, *(_figure(row, figure) for row in telling))
        found.note = "\n".join(_legend(telling))
        yield found
    for line in _reasons(allocators):
        yield Text(line, "dim")


def _where(row: AllocatorMemory) -> str:
    return "" if row.device in (None, "cpu") else f" gpu {row.device}"


def _figure(row: AllocatorMemory, name: str) -> str:
    value = getattr(row, name)
    if value is None:
        return UNKNOWN
    mark = MARKS[row.told_by[name]] if name in FIGURES else ""
    if name == "growth_events":
        return f"{value:,}{mark}"
    if name == "fragmentation":
        return f"{percent(value)}{mark}"
    counted = row.basis == GROWTH and name in ("in_use_bytes", "peak_in_use_bytes")
    return f"{'+' if counted else ''}{mebibytes(value)}{mark}"


def _legend(rows: Sequence[AllocatorMemory]) -> Iterable[str]:
    marks = {MARKS[teller] for row in rows for teller in row.told_by.values()}
    yield from (meaning for mark, meaning in MEANINGS.items() if mark in marks)
    if any(row.basis == GROWTH for row in rows):
        yield "+ growth since the profiler began; how much was in use before is not told"
    definitions = {row.fragmentation_is for row in rows if row.fragmentation_is}
    yield from (f"fragmentation: {definition}" for definition in sorted(definitions))
    yield "on the device: of a GPU, by NVML less what was before the worker; of the host, the worker's resident memory"
    yield "unexplained: that less reserved (less in use, where nothing is reserved): context, libraries, others"


def _reasons(rows: Sequence[AllocatorMemory]) -> Iterable[str]:
    """A line an allocator: each reason once, with the figures that it holds for."""
    for row in rows:
        by_reason: defaultdict[str, list[str]] = defaultdict(list)
        for name, reason in row.reasons.items():
            if name in TITLES and name != "unexplained_bytes":
                by_reason[reason].append(TITLES[name])
        if by_reason:
            said = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
            yield f"Not told of {row.allocator}, {row.pass_name} pass: {said}"
