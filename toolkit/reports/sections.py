"""The tables of one native trace, in the reports on runs and on traces that people bring alike."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table

from toolkit.analyses.kernel_attribution import KernelAttribution, KernelPart
from toolkit.analyses.step_parts import StepParts
from toolkit.analyses.traces import Annotation, Direction, Frame, Operator, Readings, TraceAnalysis
from toolkit.ingest import kineto
from toolkit.reports.devices import device_sections, kernel_tables
from toolkit.reports.host_time import class_of, host_time_tables
from toolkit.reports.memory import memory_tables
from toolkit.reports.roofline import roofline_table
from toolkit.reports.tables import UNKNOWN, Cropped, bar, microseconds, milliseconds, share, short_frame, shown, table

SHOWN_ROWS = 10
SHOWN_STREAMS = 8
SHOWN_PARTS = 6
# Unit in the store -> unit in the report, and one of the former in it.
READ_UNITS = {"mW": ("W", 1e-3), "B": ("MiB", 2.0**-20), "degC": ("°C", 1.0)}
OWN_MARKS = "hwprof."
# PyTorch numbers the modules of one class; the report sums them up by class.


def trace_sections(trace: TraceAnalysis) -> Iterable[RenderableType]:
    """Everything that the trace tells, from the device to the host to memory."""
    yield from device_sections(trace.devices)
    if trace.steps:
        yield _steps(trace.steps)
    if trace.streams:
        yield _streams(trace)
    yield from _launches(trace)
    busiest = max(trace.devices, key=lambda device: device.busy_ns, default=None)
    for attribution in trace.kernels_by:
        if busiest and attribution.device == busiest.device:
            yield from _kernels_by(attribution, trace.format)
            yield from kernel_tables(attribution.device, trace.kernels, trace.uncategorised)
    yield from _host_tables(trace)
    for device in dict.fromkeys(part.device for part in trace.roofline):
        if device is None or (busiest and device == busiest.device):
            yield roofline_table([part for part in trace.roofline if part.device == device])
    # a run's own marks stand in its ledger
    if annotations := [one for one in trace.annotations if not one.name.startswith(OWN_MARKS)]:
        yield _annotations(annotations)
    if trace.frames:
        yield _frames(trace.frames)
    yield from memory_tables(trace.memory)
    if trace.readings:
        yield _readings(trace.readings)


def _readings(readings: Sequence[Readings]) -> Table:
    """Each metric of each GPU, in the units that people know."""
    lasting = max(row.last_ns for row in readings) - min(row.first_ns for row in readings)
    found = table(
        f"Readings over {lasting / 1e9:,.1f} s", "metric", "gpu", "mean", "least", "most", "readings", "every, s"
    )
    for row in readings:
        unit, factor = READ_UNITS.get(row.unit, (row.unit, 1.0))
        figures = (f"{value * factor:,.2f}" for value in (row.mean, row.least, row.most))
        every = UNKNOWN if row.every_ns is None else f"{row.every_ns / 1e9:,.2f}"
        found.add_row(f"{row.metric}, {unit}", shown(row.device), *figures, f"{row.readings:,}", every)
    return found


def _steps(steps: Sequence[StepParts]) -> Table:
    """The mean step, the shortest and the longest; parts that no step has are left out."""
    lengths = [step.end_ns - step.start_ns for step in steps]
    shortest, longest = (steps[lengths.index(length)] for length in (min(lengths), max(lengths)))
    names = [name for name in steps[0].parts_ns if any(step.parts_ns[name] for step in steps)]
    titles = [f"mean of {len(steps)}", f"shortest: {shortest.step}", f"longest: {longest.step}"]
    if len(steps) == 1:
        titles = [f"step {steps[0].step}"]
    found = table("Steps, ms (a moment counts to the first of these that ran)", "part", *titles, "share of step")
    for name in names:
        whole = sum(step.parts_ns[name] for step in steps)
        figures = (whole // len(steps), shortest.parts_ns[name], longest.parts_ns[name])[: len(titles)]
        found.add_row(name, *map(milliseconds, figures), bar(share(whole, sum(lengths))))
    found.add_section()
    whole_steps = (sum(lengths) // len(steps), min(lengths), max(lengths))[: len(titles)]
    found.add_row("step", *map(milliseconds, whole_steps), "", style="bold")
    return found


def _streams(trace: TraceAnalysis) -> Table:
    titles = ("device", "stream", "pieces", "span", "idle", "host wait", "kernel wait", "other")
    found = table("Why each stream idled, ms", *titles)
    found.note = (
        "host wait: launched after the work before had ended; kernel wait: gaps under 30 ns; other: launched in time,"
        " yet not begun, or its launch not in the trace"
    )
    rows = sorted(trace.streams, key=lambda row: (row.device, -row.slices))
    for row in rows[:SHOWN_STREAMS]:
        times = (row.span_ns, row.idle_ns, row.host_wait_ns, row.kernel_wait_ns, row.other_ns)
        found.add_row(shown(row.device), shown(row.stream or "?"), f"{row.slices:,}", *map(milliseconds, times))
    if rest := rows[SHOWN_STREAMS:]:
        sums = [
            sum(getattr(row, f"{name}_ns") for row in rest) for name in ("idle", "host_wait", "kernel_wait", "other")
        ]
        pieces = sum(row.slices for row in rest)
        found.add_row("others", f"{len(rest)} more", f"{pieces:,}", "", *map(milliseconds, sums))
    return found


def _launches(trace: TraceAnalysis) -> Iterable[Table]:
    rows = [row for row in trace.launches if row.median_delay_ns is not None]
    if rows:
        titles = ("device", "launches", "median", "p90", "longest", "queued, median", "queued, most")
        found = table("From the launch to the start of its work, µs; launches queued before it", *titles)
        for row in rows:
            delays = map(microseconds, (row.median_delay_ns, row.p90_delay_ns, row.max_delay_ns))
            queues = (f"{row.median_queue:,}", f"{row.max_queue:,}")
            found.add_row(shown(row.device or "?"), f"{row.launches:,}", *delays, *queues)
        yield found


def _kernels_by(attribution: KernelAttribution, format_: str) -> Iterable[Table]:
    # XLA's compiled modules bear the names of functions; PyTorch's are instances of classes.
    modules = {"class of module": _by_class(attribution.modules)}
    several = {
        "direction": attribution.directions,
        "operator": attribution.operators,
        **(modules if format_ == kineto.FORMAT else {"compiled module": attribution.modules}),
        "step": attribution.steps,
    }
    for what, parts in several.items():
        if len(parts) > 1 and any(part.name is not None for part in parts):
            yield _parts(f"Device {attribution.device}: kernels by {what}, ms", what, parts, attribution)


def _parts(title: str, what: str, parts: Sequence[KernelPart], whole: KernelAttribution) -> Table:
    """The largest parts, the others together, and their sum, which is that of all kernels."""
    found = table(title, what, "kernels", "time", "share of all")
    for part in parts[:SHOWN_PARTS]:
        name = "not told" if part.name is None else shown(part.name)
        found.add_row(name, f"{part.kernels:,}", milliseconds(part.kernel_ns), bar(part.share))
    if rest := parts[SHOWN_PARTS:]:
        kernels, ns = sum(part.kernels for part in rest), sum(part.kernel_ns for part in rest)
        found.add_row(f"{len(rest)} more", f"{kernels:,}", milliseconds(ns), bar(share(ns, whole.kernel_sum_ns)))
    found.add_section()
    found.add_row("all", f"{whole.kernels:,}", milliseconds(whole.kernel_sum_ns), "", style="bold")
    return found


def _by_class(modules: Sequence[KernelPart]) -> list[KernelPart]:
    """Modules of one class as one part, under its name and their number."""
    classes: dict[str | None, list[KernelPart]] = {}
    for part in modules:
        classes.setdefault(class_of(part.name), []).append(part)
    counts = Counter({name: len(parts) for name, parts in classes.items()})
    merged = [
        KernelPart(
            name=None if name is None else f"{name} ×{counts[name]}",
            calls=None,
            kernels=sum(part.kernels for part in parts),
            kernel_ns=sum(part.kernel_ns for part in parts),
            share=sum(part.share or 0 for part in parts),
        )
        for name, parts in classes.items()
    ]
    return sorted(merged, key=lambda part: -part.kernel_ns)


def _host_tables(trace: TraceAnalysis) -> Iterable[Table]:
    """Time on the host by what it was spent in."""
    if len(trace.directions) > 1:
        yield _directions(trace.directions)
    if trace.operators:
        yield _operators(trace.operators)
    # beside kernels by module and step these would say little
    if trace.host_time and not trace.devices:
        yield from host_time_tables(trace.host_time, by_class=trace.format == kineto.FORMAT)


def _directions(directions: Sequence[Direction]) -> Table:
    found = table("Host time by direction, all threads, ms", "direction", "own time of operators", "share of own")
    for part in directions:
        found.add_row(part.direction or "not told", milliseconds(part.self_ns), bar(part.share))
    return found


def _operators(operators: Sequence[Operator]) -> Table:
    found = table("Host time by operator, all threads, ms", "operator", "calls", "own", "total", "share of own")
    found.note = "own: without the operators inside it"
    for operator in operators[:SHOWN_ROWS]:
        figures = [f"{operator.calls:,}", milliseconds(operator.self_ns), milliseconds(operator.total_ns)]
        found.add_row(shown(operator.operator), *figures, bar(operator.share))
    return found


def _annotations(annotations: Sequence[Annotation]) -> Table:
    found = table("Marked on the host, ms (ranges may hold each other)", "range", "times", "total", "longest")
    for one in annotations[:SHOWN_ROWS]:
        figures = [f"{one.calls:,}", milliseconds(one.total_ns), milliseconds(one.longest_ns)]
        found.add_row(Cropped(one.name), *figures)
    return found


def _thread(thread: str) -> str:
    """The name that Python gave the thread, where there is one in quotes."""
    named = re.search(r'"(.+)"', thread)
    return named[1] if named else thread


def _frames(frames: Sequence[Frame]) -> Table:
    found = table("Sampled stacks, ms", "function", "own", "total", "thread")
    for frame in frames[:SHOWN_ROWS]:
        figures = [milliseconds(frame.self_ns), milliseconds(frame.total_ns)]
        found.add_row(Cropped(short_frame(frame.frame)), *figures, Cropped(_thread(frame.thread)))
    return found
