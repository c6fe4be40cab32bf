"""What ran: each device's time and its kernels by category, idle causes, the longest kernels, the top operators."""

from collections.abc import Iterator

from toolkit.analyses.summary import Summary
from toolkit.analyses.traces import TraceAnalysis, TraceDevice
from toolkit.errors import printable
from toolkit.reports.html import charts
from toolkit.reports.html.content import Block, Cell, Chart, Section, Share, Table, Told, words
from toolkit.reports.tables import UNKNOWN, share

SHOWN = 20
TIMES = {
    "compute_ns": "compute",
    "exposed_comm_ns": "exposed communication",
    "exposed_memory_ns": "exposed memory",
    "idle_ns": "idle",
}


def section(summary: Summary, told: Told) -> Section | None:
    """Of all traces; None where none of them tells of devices or operators."""
    blocks = [block for place, trace in enumerate(summary.traces) for block in _blocks(place, trace, told)]
    return Section("devices", "Devices and kernels", blocks) if blocks else None


def _blocks(place: int, trace: TraceAnalysis, told: Told) -> Iterator[Block]:
    if trace.devices:
        yield _time(place, trace, told)
    for number, device in enumerate(trace.devices):
        yield _categories(place, number, device, told)
    for number, _ in enumerate(trace.idle_causes):
        yield _idle(place, number, trace, told)
    if trace.kernels:
        yield _kernels(place, trace, told)
    if trace.operators:
        yield _operators(place, trace, told)
    if trace.roofline:
        yield _roofline(place, trace, told)


def _time(place: int, trace: TraceAnalysis, told: Told) -> Chart:
    rows: list[list[Cell]] = [
        [
            f"device {printable(device.device)}",
            *(told("ms", "traces", place, "devices", number, name) for name in (*TIMES, "busy_ns", "span_ns")),
            told("count", "traces", place, "devices", number, "kernels"),
            told("count", "traces", place, "devices", number, "memcpys"),
        ]
        for number, device in enumerate(trace.devices)
    ]
    parts = {name: [getattr(device, field) / 1e6 for device in trace.devices] for field, name in TIMES.items()}
    return Chart(
        title="How long each device worked and idled in the profiled window",
        label="Stacked bars: compute, exposed communication, exposed memory traffic and idle time of each device.",
        data=charts.stacked([f"device {device.device}" for device in trace.devices], parts, unit="ms"),
        layout={"barmode": "stack", "height": 110 + 34 * len(rows), "xaxis": {"title": {"text": "ms"}}},
        table=Table("Device time, ms", ["device", *TIMES.values(), "busy", "span", "kernels", "copies"], rows),
        note=None if trace.trusted else f"NOT TRUSTED: {'; '.join(map(printable, trace.doubts))}",
    )


def _categories(place: int, number: int, device: TraceDevice, told: Told) -> Chart:
    ranked = sorted(device.categories.items(), key=lambda item: -item[1])
    rows: list[list[Cell]] = [
        [
            words(name),
            told("ms", "traces", place, "devices", number, "categories", name),
            Share(share(ns, sum(device.categories.values()))),
        ]
        for name, ns in ranked
    ]
    names = [name for name, _ in ranked]
    return Chart(
        title=f"Device {printable(device.device)}: time by kernel category",
        label=f"Bars of {len(ranked)} categories, most time first: {', '.join(map(words, names[:5]))}.",
        data=[charts.bars(names, [ns / 1e6 for _, ns in ranked], unit="ms", name="kernels")],
        layout={
            "height": 90 + 26 * len(ranked),
            "showlegend": False,
            "xaxis": {"title": {"text": "ms"}},
            "yaxis": charts.named_axis(names),
        },
        table=Table("Time by kernel category, ms (sums of durations)", ["kernel category", "ms", "share"], rows),
    )


def _idle(place: int, number: int, trace: TraceAnalysis, told: Told) -> Table:
    one = trace.idle_causes[number]
    at = ("traces", place, "idle_causes", number, "causes")
    rows: list[list[Cell]] = [
        [
            words(cause.cause),
            *(told("ms", *at, row, name) for name in ("ns", "longest_ns")),
            told("count", *at, row, "gaps"),
            Share(share(cause.ns, sum(each.ns for each in one.causes))),
            printable(cause.operator or UNKNOWN),
        ]
        for row, cause in enumerate(one.causes)
    ]
    title = f"Device {printable(one.device)}: what it waited for, ms"
    return Table(title, ["cause", "idle", "longest", "gaps", "share of idle", "mostly in"], rows)


def _kernels(place: int, trace: TraceAnalysis, told: Told) -> Table:
    rows: list[list[Cell]] = [
        [
            printable(one.name),
            printable(one.device),
            words(one.category),
            told("count", "traces", place, "kernels", row, "kernels"),
            told("ms", "traces", place, "kernels", row, "ns"),
        ]
        for row, one in enumerate(trace.kernels[:SHOWN])
    ]
    return Table("Longest kernels by name, ms", ["kernel", "device", "kernel category", "kernels", "ms"], rows)


def _operators(place: int, trace: TraceAnalysis, told: Told) -> Chart:
    shown = trace.operators[:SHOWN]
    names = [one.operator for one in shown]
    rows: list[list[Cell]] = [
        [
            printable(one.operator),
            told("count", "traces", place, "operators", row, "calls"),
            *(told("ms", "traces", place, "operators", row, name) for name in ("self_ns", "total_ns")),
            Share(one.share),
        ]
        for row, one in enumerate(shown)
    ]
    return Chart(
        title=f"Top operators on the host, by {words(trace.format)}",
        label=f"Bars of own time of {len(shown)} operators, most first.",
        data=[charts.bars(names, [one.self_ns / 1e6 for one in shown], unit="ms", name="own time")],
        layout={
            "height": 90 + 24 * len(shown),
            "showlegend": False,
            "xaxis": {"title": {"text": "ms, own time"}},
            "yaxis": charts.named_axis(names),
        },
        table=Table(
            "Host time by operator, all threads, ms", ["operator", "calls", "own", "total", "share of own"], rows
        ),
    )


def _roofline(place: int, trace: TraceAnalysis, told: Told) -> Table:
    at = ("traces", place, "roofline")
    rows: list[list[Cell]] = [
        [
            printable(one.operator),
            printable(one.device or "host"),
            printable(one.precision or UNKNOWN),
            told("ms", *at, row, "ns"),
            told("flops", *at, row, "flops_per_s"),
            told("number", *at, row, "intensity", why="its bytes are not told"),
            told("share", *at, row, "of_ceiling", why=one.reason),
        ]
        for row, one in enumerate(trace.roofline[:SHOWN])
    ]
    headers = ["operator", "device", "precision", "ms", "FLOP/s", "FLOPs a byte", "of what is possible"]
    return Table("Roofline: what operators whose shapes are known came to", headers, rows)
