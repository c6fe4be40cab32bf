"""How the terminal reports show memory: each allocator over time, and what it held at its peak."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from toolkit.analyses.memory import MemoryHolder, MemorySeries
from toolkit.analyses.traces import Allocator, Live, Memory, Segments
from toolkit.errors import printable
from toolkit.reports.tables import (
    Cropped,
    Sparkline,
    bar,
    mebibytes,
    milliseconds,
    percent,
    share,
    short_frame,
    shown,
    table,
)

SHOWN_HOLDERS = 8
SHOWN_ASKING = 5
MODULE_PREFIX = "nn.Module: "
BASES = {
    "growth": "+ is growth since the profiler began; how much was in use before is not told",
    "placed": "counted back from the snapshot's segments, as asked for, before rounding",
    "relative": "+ is the change since the first event; how much was in use before is not told",
}


def memory_tables(memory: Memory) -> Iterable[Table]:
    """Over time, at the peak of the allocator with the highest, traffic, and the segments of a snapshot."""
    if memory.series:
        yield _over_time(memory.series)
        yield from _at_peak(memory.series)
        yield _traffic(memory.allocators)
        yield from _asked_for(memory)
    if memory.segments:
        yield _segments(memory.segments)
    if memory.live:
        yield _live(memory.live)


def _over_time(series: Sequence[MemorySeries]) -> Table:
    titles = ("allocator", "over time", "at first", "peak", "at, ms", "reserved")
    found = table("Memory in use, MiB (at: since the allocator's first event; reserved: the most)", *titles)
    for one in series:
        known = [(point, point.in_use_bytes) for point in one.points if point.in_use_bytes is not None]
        if one.peak is None or not known:
            continue
        first = one.points[0]
        timed = all(point.ts_ns is not None for point, _ in known)
        moments = [(point.ts_ns or 0) - (first.ts_ns or 0) if timed else point.event for point, _ in known]
        at = None if one.peak.ts_ns is None or first.ts_ns is None else one.peak.ts_ns - first.ts_ns
        reserved = [point.reserved_bytes for point in one.points if point.reserved_bytes is not None]
        # a change from what is not told must not look like the whole
        whole = one.basis in {"total", "placed"}
        peak = mebibytes(one.peak.in_use_bytes)
        found.add_row(
            shown(_name(one.allocator, one.device)), Sparkline(moments, [level for _, level in known]),
            mebibytes(first.in_use_bytes if whole else None), peak if whole else f"+{peak}", milliseconds(at),
            mebibytes(max(reserved, default=None)),
        )  # fmt: skip
    notes = list(_notes(series))
    found.note = "\n".join(notes) or None
    return found


def _notes(series: Sequence[MemorySeries]) -> Iterable[str]:
    """What the figures count from, and how far they are thinned."""
    for basis, meaning in BASES.items():
        own = [_name(one.allocator, one.device) for one in series if one.basis == basis]
        if own:
            yield f"{', '.join(own)}: {meaning}"
    if any(len(one.points) <= one.events for one in series):
        counts = f"{sum(len(one.points) for one in series):,} of {sum(one.events + 1 for one in series):,} moments"
        yield f"drawn: {counts}, the highest and lowest of each hundredth of the time"


def _at_peak(series: Sequence[MemorySeries]) -> Iterable[Table]:
    """Of the allocator with the highest peak: by what asked for it, then by module, phase and step."""
    told = [one for one in series if one.peak and any(holder.asked_by for holder in one.at_peak)]
    if not told:
        return
    one = max(told, key=lambda one: (one.peak and one.peak.in_use_bytes) or 0)
    whole = (one.peak and one.peak.in_use_bytes) or 0
    name = _name(one.allocator, one.device)
    yield _holders(f"{name}: in use at its peak, MiB", "asked for by", one.at_peak, one.at_peak_others_bytes, whole)
    for breakdown in one.at_peak_by:
        if len(breakdown.parts) > 1:
            title = f"{name}: in use at its peak by {breakdown.by} of its allocation, MiB"
            yield _holders(title, breakdown.by, breakdown.parts, breakdown.others_bytes, whole)


def _holders(title: str, what: str, holders: Sequence[MemoryHolder], others_bytes: int, whole: int) -> Table:
    """The largest, and the rest in one row."""
    found = table(title, what, "blocks", "in use", "share of peak")
    for holder in holders[:SHOWN_HOLDERS]:
        when = "" if holder.seen else ", before the first event"
        name = Cropped(short_frame((holder.asked_by or "not told").removeprefix(MODULE_PREFIX)) + when)
        blocks = "–" if holder.blocks is None else f"{holder.blocks:,}"
        found.add_row(name, blocks, mebibytes(holder.bytes), bar(share(holder.bytes, whole)))
    others = sum(holder.bytes for holder in holders[SHOWN_HOLDERS:]) + others_bytes
    if others:
        found.add_row("the rest", "", mebibytes(others), bar(share(others, whole)))
    return found


def _traffic(allocators: Sequence[Allocator]) -> Table:
    found = table("Allocations, MiB", "allocator", "allocations", "frees", "allocated", "largest")
    for one in allocators:
        sizes = map(mebibytes, (one.allocated_bytes, one.largest_bytes))
        found.add_row(shown(_name(one.allocator, one.device)), f"{one.allocations:,}", f"{one.frees:,}", *sizes)
    return found


def _asked_for(memory: Memory) -> Iterable[Table]:
    """Of the allocator with most traffic, where anything tells what asked for it."""
    if not any(one.asked_by for one in memory.allocated_by):
        return
    busiest = max(memory.allocators, key=lambda one: one.allocated_bytes)
    own = [one for one in memory.allocated_by if (one.device, one.allocator) == (busiest.device, busiest.allocator)]
    title = f"{_name(busiest.allocator, busiest.device)}: allocated while recorded, MiB"
    directed = len({one.direction for one in own}) > 1
    titles = ["direction"] if directed else []
    found = table(title, "asked for by", *titles, "allocations", "allocated", "share of all")
    for one in own[:SHOWN_ASKING]:
        name = Cropped(short_frame(one.asked_by or "not told"))
        direction = [one.direction or "not told"] if directed else []
        of_all = bar(share(one.bytes, busiest.allocated_bytes))
        found.add_row(name, *direction, f"{one.allocations:,}", mebibytes(one.bytes), of_all)
    others = busiest.allocated_bytes - sum(one.bytes for one in own[:SHOWN_ASKING])
    if others:
        blank = [""] if directed else []
        found.add_row("others", *blank, "", mebibytes(others), bar(share(others, busiest.allocated_bytes)))
    if memory.segments and any(one.asked_by is None for one in own):
        found.note = "not told: asked for without a Python frame, as by autograd's own threads"
    yield found


def _live(live: Sequence[Live]) -> Table:
    """The largest, and the rest in one row."""
    whole = sum(one.bytes for one in live)
    found = table("Alive when the profile was taken, MiB", "made by", "device", "buffers", "bytes", "share of all")
    for one in live[:SHOWN_HOLDERS]:
        name, of_all = Cropped(short_frame(one.frame or "not told")), bar(share(one.bytes, whole))
        found.add_row(name, shown(one.device or "–"), f"{one.blocks:,}", mebibytes(one.bytes), of_all)
    if rest := live[SHOWN_HOLDERS:]:
        size = sum(one.bytes for one in rest)
        found.add_row("the rest", "", f"{sum(one.blocks for one in rest):,}", mebibytes(size), bar(share(size, whole)))
    found.add_section()
    found.add_row("all", "", f"{sum(one.blocks for one in live):,}", mebibytes(whole), "", style="bold")
    return found


def _segments(segments: Sequence[Segments]) -> Table:
    titles = ("device", "segments", "reserved", "allocated", "inactive", "largest free", "split")
    found = table("Segments when the snapshot was taken, MiB", *titles)
    found.note = "split: inactive parts of split segments, which cannot be given back, over reserved"
    for one in segments:
        sizes = (one.reserved_bytes, one.allocated_bytes, one.inactive_bytes, one.largest_free_bytes)
        found.add_row(shown(one.device), f"{one.segments:,}", *map(mebibytes, sizes), percent(one.inactive_split_share))
    return found


def _name(allocator: str | None, device: str | None) -> str:
    """As the trace names the allocator; by its device where it does not. Headings and notes take it as it is."""
    if allocator:
        return printable(allocator)
    return "cpu" if device == "cpu" else printable(f"device {device}")
