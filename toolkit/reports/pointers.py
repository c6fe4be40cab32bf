"""What to look at next in a trace: at most three sentences, each with the figure that says why."""

from collections.abc import Iterator
from itertools import islice

from toolkit.analyses.kernel_attribution import KernelAttribution
from toolkit.analyses.memory import MemorySeries
from toolkit.analyses.traces import OTHER, Segments, TraceAnalysis, TraceDevice
from toolkit.reports.tables import mebibytes, milliseconds, percent, share, short_frame, shown

MOST = 3
# From this share of a device's span on, a part of it is worth a look; of its work, a category.
NOTABLE = 0.1
IDLE = 0.2
# Of the idle time: a smaller share explains no more than the rest does.
MOST_OF_IT = 0.5
# Reserved over in use at the peak, from which on the reservation is worth a look, and how much it must be.
OVERHANG, OVERHANG_BYTES = 1.5, 1 << 30
# From this share of what is reserved on, what is free of it.
FREE = 0.5


def pointers(trace: TraceAnalysis) -> list[str]:
    """The sentences for one trace, what most decides first."""
    return list(islice(_all(trace), MOST))


def _all(trace: TraceAnalysis) -> Iterator[str]:
    if trace.doubts:
        yield "The warnings above: until they are explained, the figures below are in doubt."
    if trace.devices:
        device = max(trace.devices, key=lambda device: device.busy_ns)
        yield from _of_device(trace, device)
    else:
        yield from _of_host(trace)
    yield from _memory(trace)


def _of_host(trace: TraceAnalysis) -> Iterator[str]:
    if trace.steps:
        parts = {name: sum(step.parts_ns[name] for step in trace.steps) for name in trace.steps[0].parts_ns}
        largest = max(parts, key=lambda name: parts[name])
        yield f"Steps: {largest} takes {percent(share(parts[largest], sum(parts.values())))} of them."
    if trace.operators:
        top = trace.operators[0]
        of_own = f"{milliseconds(top.self_ns)} ms, {percent(top.share)} of all operators' own time"
        yield f"Operators on the host, for the trace holds no device work: {shown(top.operator)} takes most ({of_own})."
    if trace.frames:
        frame = trace.frames[0]
        yield f"Where most samples fell: {shown(short_frame(frame.frame))}, {milliseconds(frame.self_ns)} ms."


def _of_device(trace: TraceAnalysis, device: TraceDevice) -> Iterator[str]:
    span_ns = device.span_ns or 1
    whole = sum(device.categories.values()) or 1
    idle = device.idle_ns / span_ns
    if idle >= IDLE:
        name, why = shown(device.device), _why_idle(trace, device)
        yield f"Idle: device {name} does nothing for {percent(idle)} of its span{why}."
    if device.categories.get(OTHER, 0) / whole >= NOTABLE:
        yield f"Kernels of no known category: {percent(device.categories[OTHER] / whole)} of the work (listed below)."
    category, ns = next(iter(device.categories.items()), (OTHER, 0))
    if ns:
        yield f"Work: {category} is {percent(ns / whole)} of it{_asked_by(trace, device)}."


def _why_idle(trace: TraceAnalysis, device: TraceDevice) -> str:
    own = [stream for stream in trace.streams if stream.device == device.device and stream.idle_ns]
    if not own:
        return ""
    # of the device's idle time, the stream that was at work over most of its span tells most
    longest = max(own, key=lambda stream: (stream.span_ns, stream.slices))
    waited = longest.host_wait_ns / longest.idle_ns
    stream = shown(longest.stream or "?")
    told = f". Of the idle time of stream {stream}, {percent(waited)} is waiting for the host to launch"
    if waited < MOST_OF_IT:
        return told
    loading = sum(step.parts_ns["DataLoader"] for step in trace.steps)
    steps = sum(step.end_ns - step.start_ns for step in trace.steps) or 1
    if loading / steps >= NOTABLE:
        return f"{told}; the data loader takes {percent(loading / steps)} of the steps"
    if trace.operators:
        top = trace.operators[0]
        return f"{told}; on the host, {shown(top.operator)} takes most ({percent(top.share)} of operators' own time)"
    return told


def _asked_by(trace: TraceAnalysis, device: TraceDevice) -> str:
    found: KernelAttribution | None = next((row for row in trace.kernels_by if row.device == device.device), None)
    named = [part for part in found.operators if part.name] if found else []
    if not named:
        return ""
    return f"; of the operators, {shown(named[0].name or '')} asked for most kernel time ({percent(named[0].share)})"


def _memory(trace: TraceAnalysis) -> Iterator[str]:
    for series in trace.memory.series:
        yield from _held(series)
        reserved = max((point.reserved_bytes or 0 for point in series.points), default=0)
        in_use = (series.peak and series.peak.in_use_bytes) or 0
        if series.basis in {"total", "placed"} and reserved >= max(OVERHANG_BYTES, OVERHANG * in_use):
            yield (
                f"Memory: {mebibytes(reserved)} MiB reserved on device {shown(series.device or '?')}, though never"
                f" more than {mebibytes(in_use)} MiB in use."
            )
    for segments in trace.memory.segments:
        yield from _free(segments)


def _free(segments: Segments) -> Iterator[str]:
    """What lies idle in a snapshot, where that is much."""
    free, reserved = segments.inactive_bytes, segments.reserved_bytes
    if free >= max(OVERHANG_BYTES, reserved * FREE):
        back = mebibytes(free - segments.inactive_split_bytes)
        yield (
            f"Free when the snapshot was taken: {mebibytes(free)} of {mebibytes(reserved)} MiB reserved on device"
            f" {shown(segments.device)}, in blocks of at most {mebibytes(segments.largest_free_bytes)} MiB;"
            f" torch.cuda.empty_cache() could give back {back} MiB of it."
        )


def _held(series: MemorySeries) -> Iterator[str]:
    """Only of snapshots: in other traces, time comes first."""
    named = [holder for holder in series.at_peak if holder.asked_by]
    if series.basis == "placed" and series.peak and named:
        of_peak = percent(share(named[0].bytes, series.peak.in_use_bytes or 0))
        by, peak = shown(short_frame(named[0].asked_by or "")), mebibytes(series.peak.in_use_bytes)
        yield f"The peak of device {shown(series.device or '?')}, {peak} MiB: {of_peak} of it for {by}."
