"""The terminal report on traces that people bring."""

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from toolkit.analyses.traces import Analysis, TraceAnalysis
from toolkit.reports.devices import device_tables
from toolkit.reports.tables import bar, mebibytes, milliseconds, table

SHOWN_OPERATORS = 10


def report(analysis: Analysis) -> RenderableType:
    """Every trace, one after the other, then the ranks side by side where there are several."""
    parts = [part for trace in analysis.traces for part in _trace(trace)]
    return Group(*parts, *_ranks(analysis))


def _trace(trace: TraceAnalysis) -> Iterable[RenderableType]:
    verdict = Text("trusted", "green") if trace.trusted else Text("NOT TRUSTED", "bold red")
    rank = "" if trace.rank is None else f" · rank {trace.rank}"
    yield Text.assemble((trace.path, "bold"), f" · {trace.format}{rank} · ", verdict)
    for warning in trace.warnings:
        yield Text(f"  {warning}", "yellow")
    for device in trace.devices:
        yield from device_tables(device)
    if trace.streams:
        yield _streams(trace)
    yield from _launches(trace)
    for attribution in trace.kernels_by:
        yield from _kernels_by(attribution)
    if trace.steps:
        yield _steps(trace)
    if trace.operators:
        yield _operators(trace)
    if trace.frames:
        yield _frames(trace)
    if trace.memory["allocators"]:
        yield _allocators(trace)
    if trace.memory["segments"]:
        yield _segments(trace)


def _streams(trace: TraceAnalysis) -> Table:
    found = table(
        "Streams: why they idled, ms", "device", "stream", "span", "idle", "host wait", "kernel wait", "other"
    )
    for row in sorted(trace.streams, key=lambda row: -row["idle_ns"]):
        names = ("span_ns", "idle_ns", "host_wait_ns", "kernel_wait_ns", "other_ns")
        found.add_row(row["device"], row["stream"] or "?", *(milliseconds(row[name]) for name in names))
    return found


def _launches(trace: TraceAnalysis) -> Iterable[Text]:
    for row in trace.launches:
        if row["median_delay_ns"] is not None:
            delays = " / ".join(
                f"{row[name] / 1e3:,.1f}" for name in ("median_delay_ns", "p90_delay_ns", "max_delay_ns")
            )
            queue = f"{row['median_queue']} / {row['max_queue']}"
            told = f"{row['launches']:,} launches, delay to start median / p90 / most {delays} µs"
            yield Text(f"Device {row['device']}: {told}, queued before them median / most {queue}")


def _kernels_by(attribution: dict[str, Any]) -> Iterable[Table]:
    for what in ("direction", "operator", "module"):
        parts = attribution[f"{what}s"]
        if any(part["name"] is not None for part in parts):
            title = f"Device {attribution['device']}: kernels by {what}, ms"
            found = table(title, what, "time", "kernels", "share of all")
            for part in parts[:SHOWN_OPERATORS]:
                name = "not attributed" if part["name"] is None else escape(part["name"])
                figures = [milliseconds(part["kernel_ns"]), f"{part['kernels']:,}"]
                found.add_row(name, *figures, bar(part["share"] or 0.0))
            yield found


def _steps(trace: TraceAnalysis) -> Table:
    parts = list(trace.steps[0].parts_ns)
    found = table("Steps, ms", "step", *parts, "whole")
    for step in trace.steps:
        figures = [milliseconds(ns) for ns in step.parts_ns.values()]
        found.add_row(str(step.step), *figures, milliseconds(step.end_ns - step.start_ns))
    return found


def _operators(trace: TraceAnalysis) -> Table:
    found = table("Host time by operator, all threads, ms", "operator", "own", "total", "calls")
    for operator in trace.operators[:SHOWN_OPERATORS]:
        figures = [milliseconds(operator.self_ns), milliseconds(operator.total_ns), f"{operator.calls:,}"]
        found.add_row(escape(operator.operator), *figures)
    return found


def _frames(trace: TraceAnalysis) -> Table:
    found = table("Python stacks, ms", "function", "own", "total", "thread")
    for frame in trace.frames[:SHOWN_OPERATORS]:
        figures = [milliseconds(frame.self_ns), milliseconds(frame.total_ns)]
        found.add_row(escape(frame.frame), *figures, escape(frame.thread))
    return found


def _allocators(trace: TraceAnalysis) -> Table:
    found = table(
        "Allocator events, MiB", "allocator", "events", "allocated", "largest", "peak in use", "peak reserved"
    )
    for row in trace.memory["allocators"]:
        name = " ".join(escape(word) for word in (row["allocator"], row["device"]) if word)
        sizes = [row[size] for size in ("allocated_bytes", "largest_bytes", "peak_in_use_bytes", "peak_reserved_bytes")]
        found.add_row(name, f"{row['allocations'] + row['frees']:,}", *map(mebibytes, sizes))
    return found


def _segments(trace: TraceAnalysis) -> Table:
    titles = ("reserved", "allocated", "inactive", "largest free", "inactive split, share of reserved")
    found = table("Allocator segments, MiB", "device", "segments", *titles)
    for row in trace.memory["segments"]:
        sizes = [row[size] for size in ("reserved_bytes", "allocated_bytes", "inactive_bytes", "largest_free_bytes")]
        split = row["inactive_split_share"]
        shown = "–" if split is None else f"{split:.1%}"
        found.add_row(row["device"], f"{row['segments']:,}", *map(mebibytes, sizes), shown)
    return found


def _ranks(analysis: Analysis) -> Iterable[RenderableType]:
    """A row a rank: who computes, who waits in collectives, and how much of those other kernels hide."""
    ranked = [(trace.rank, device) for trace in analysis.traces if trace.rank is not None for device in trace.devices]
    if analysis.ranks is None or len(analysis.traces) == 1:
        return
    found = table("Ranks, ms", "rank", "device", "span", "compute", "communication", "exposed", "hidden", "idle")
    for rank, device in sorted(ranked, key=lambda entry: entry[0]):
        hidden = "–" if not device.comm_ns else f"{1 - device.exposed_comm_ns / device.comm_ns:.1%}"
        times = (device.span_ns, device.compute_ns, device.comm_ns, device.exposed_comm_ns)
        found.add_row(str(rank), device.device, *map(milliseconds, times), hidden, milliseconds(device.idle_ns))
    yield found
    if analysis.ranks.missing:
        missing = ", ".join(map(str, analysis.ranks.missing))
        yield Text(f"Missing of {analysis.ranks.world_size} ranks: {missing}", "bold red")
