"""Memory: each allocator in use, reserved, on the device and unexplained; over time; and who held it at the peak."""

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.analyses.memory import MemorySeries
from toolkit.analyses.summary import Summary
from toolkit.analyses.timeline import ReadingSeries, Timeline
from toolkit.errors import printable
from toolkit.reports.html import charts
from toolkit.reports.html.content import Block, Cell, Chart, Section, Share, Table, Told
from toolkit.reports.memory import BASES
from toolkit.reports.tables import mebibytes, share, short_frame

MIB = 2**20
SHOWN = 12
# Bases that count from nothing.
WHOLE = ("total", "placed")
LEVELS = {
    "in_use_bytes": "in use",
    "reserved_bytes": "reserved",
    "peak_in_use_bytes": "peak in use",
    "largest_free_bytes": "largest free",
    "device_bytes": "on the device",
    "unexplained_bytes": "unexplained",
}


def section(summary: Summary, told: Told, timelines: list[Timeline], gpus: Mapping[str, str]) -> Section | None:
    """None where nothing is known of memory; `gpus` are NVML's of the framework's device 0, by pass."""
    blocks = [*_blocks(summary, told, timelines, gpus)]
    return Section("memory", "Memory", blocks) if blocks else None


def _blocks(summary: Summary, told: Told, timelines: list[Timeline], gpus: Mapping[str, str]) -> Iterator[Block]:
    if summary.allocators:
        yield _levels(summary, told)
    for place, trace in enumerate(summary.traces):
        readings = [one for timeline in timelines if timeline.pass_name == trace.pass_name for one in timeline.readings]
        for number, series in enumerate(trace.memory.series):
            if any(point.in_use_bytes is not None for point in series.points):
                yield _over_time(series, _seen(series, readings, gpus))
                if series.at_peak:
                    yield _holders(place, number, series, told)


def _levels(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = []
    for place, one in enumerate(summary.allocators):
        figures = [told("mib", "allocators", place, name, why=one.reasons.get(name)) for name in LEVELS]
        fragmentation = told("share", "allocators", place, "fragmentation", why=one.reasons.get("fragmentation"))
        where = "host" if one.device in {"cpu", None} else f"GPU {one.device}"
        growth = ", growth in the window" if one.basis == "growth" else ""
        rows.append([f"{printable(one.allocator)}, {where}, {one.pass_name} pass{growth}", *figures, fragmentation])
    return Table(
        "Memory by allocator when it last told, MiB",
        ["allocator", *LEVELS.values(), "fragmentation"],
        rows,
    )


def _over_time(series: MemorySeries, readings: list[ReadingSeries]) -> Chart:
    timed = all(point.ts_ns is not None for point in series.points)
    since_ns = series.points[0].ts_ns or 0
    xs = [((point.ts_ns or 0) - since_ns) / 1e6 if timed else float(point.event) for point in series.points]
    data = [
        charts.line(
            name,
            xs,
            [None if level is None else level / MIB for level in levels],
            unit="MiB",
            place=place,
            dash=place,
            stepped=True,
        )
        for place, (name, levels) in enumerate(
            (
                ("in use", [point.in_use_bytes for point in series.points]),
                ("reserved", [point.reserved_bytes for point in series.points]),
            )
        )
        if any(level is not None for level in levels)
    ]
    outside = [*_outside(readings, since_ns, (xs[0], xs[-1]))] if timed else []
    where = "the host" if series.device == "cpu" else f"device {printable(series.device or '?')}"
    told = f"{printable(series.allocator)} of {where}" if series.allocator else f"allocator of {where}"
    known = [point.in_use_bytes for point in series.points if point.in_use_bytes is not None]
    rows: list[list[Cell]] = [
        ["in use, least", mebibytes(min(known))],
        ["in use, most", mebibytes(max(known))],
        ["events", f"{series.events:,}"],
    ]
    return Chart(
        title=f"Memory over time: {told}",
        label=f"Lines of memory in MiB: {', '.join(str(trace['name']) for trace in (*data, *outside))}.",
        data=[*data, *outside],
        layout={
            "height": 440 if outside else 300,
            "hovermode": "closest",
            **_axes(series.basis, outside=bool(outside)),
            "xaxis": {"title": {"text": "ms since the allocator's first event" if timed else "event"}},
        },
        table=Table(f"What the chart of {told} spans, MiB", ["level", "figure"], rows),
        note="; ".join(filter(None, [BASES.get(series.basis), _thinned(series)])) or None,
    )


def _axes(basis: str, *, outside: bool) -> dict[str, Any]:
    """What counts from an unknown level lies below what the driver or the system saw, on a scale of its own."""
    own = "MiB" if basis in WHOLE else "change, MiB"
    below = {"title": {"text": own}, "rangemode": "tozero", "domain": [0, 0.56] if outside else [0, 1]}
    above = {"title": {"text": "seen from outside, MiB"}, "domain": [0.62, 1], "nticks": 5}
    return {"yaxis": below, **({"yaxis2": above} if outside else {})}


def _seen(series: MemorySeries, readings: list[ReadingSeries], gpus: Mapping[str, str]) -> list[ReadingSeries]:
    """What the driver, or the system, tells of where the series lies; nothing where that is no GPU of `gpus`."""
    if series.device == "cpu":
        return [one for one in readings if one.metric == "rss"]
    own = [one for one in readings if one.metric == "memory_used" and series.device == "0"]
    return [one for one in own if one.device == gpus.get(one.pass_name)]


def _outside(readings: list[ReadingSeries], since_ns: int, ends: tuple[float, float]) -> Iterator[charts.Trace]:
    """What was seen in the same time."""
    for one in readings:
        placed = [((point.ts_ns - since_ns) / 1e6, point.value / MIB) for point in one.points]
        inside = [(at, value) for at, value in placed if ends[0] <= at <= ends[1]]
        if inside:
            name = "resident, the whole worker" if one.device is None else "used on the device, by NVML"
            yield charts.line(
                name, [at for at, _ in inside], [value for _, value in inside], unit="MiB", place=2, axis="y2"
            )


def _thinned(series: MemorySeries) -> str | None:
    if len(series.points) > series.events:
        return None
    drawn = f"{len(series.points):,} of {series.events + 1:,} moments"
    return f"drawn: {drawn}, the highest and lowest of each hundredth of the time"


def _holders(place: int, number: int, series: MemorySeries, told: Told) -> Table:
    at = ("traces", place, "memory", "series", number, "at_peak")
    whole = (series.peak and series.peak.in_use_bytes) or 0
    rows: list[list[Cell]] = [
        [
            printable(short_frame(one.asked_by or "not told")),
            told("count", *at, row, "blocks", why="only a sum is known"),
            told("mib", *at, row, "bytes"),
            Share(share(one.bytes, whole)),
        ]
        for row, one in enumerate(series.at_peak[:SHOWN])
    ]
    title = f"{printable(series.allocator or 'allocator')}: in use at its peak, MiB"
    return Table(title, ["asked for by", "blocks", "in use", "share of peak"], rows)
