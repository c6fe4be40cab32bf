"""What a native trace alone shows of lost device time, whoever made it; one rule each. Of a trace's devices, the worst.

Shares are of a device's span, from its first work to its last. Profilers slow the host down more than the device, so
what the host is too slow for is less without one.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from toolkit.analyses.findings import NOTABLE, RECOMPILED, UNUSED, Rule, Stake, counted, cropped, ms, unused
from toolkit.analyses.idle_causes import IdleCause

if TYPE_CHECKING:
    from toolkit.analyses.traces import TraceAnalysis

# Under a profiler each launch takes the host up to twice as long.
LAUNCHES = 0.2
# From this share of the kernels' own time on, and of the span: the margin of every comparison.
SHORT, SHORT_OF_SPAN = 0.2, 0.03
LEVELS = ("total", "placed")


def _loading(trace: "TraceAnalysis") -> Iterator[Stake]:
    def told(device: str, cause: IdleCause) -> tuple[str, str]:
        title = f"Input-bound: device {device} idles {ms(cause.ns)} while the host loads batches"
        return title, f"{_longest(cause)}; loading is marked on the host (enumerate(DataLoader), IteratorGetNext)"

    yield from _of_cause(trace, "data", NOTABLE, told)


def _synchronising(trace: "TraceAnalysis") -> Iterator[Stake]:
    def told(device: str, cause: IdleCause) -> tuple[str, str]:
        by = f" in {cropped(cause.operator)}" if cause.operator else ""
        title = (
            f"Synchronising calls: device {device} idles {ms(cause.ns)} after the host waited for it ({cause.call}{by})"
        )
        return title, f"{_longest(cause)}, each beginning inside {cause.call}"

    yield from _of_cause(trace, "sync", NOTABLE, told)


def _launch_bound(trace: "TraceAnalysis") -> Iterator[Stake]:
    def told(device: str, cause: IdleCause) -> tuple[str, str]:
        title = f"Launch-bound: device {device} idles {ms(cause.ns)} for launches that come late, one by one"
        return title, f"{_longest(cause)}{_before(cause)}"

    yield from _of_cause(trace, "launch", LAUNCHES, told)


def _host_elsewhere(trace: "TraceAnalysis") -> Iterator[Stake]:
    def told(device: str, cause: IdleCause) -> tuple[str, str]:
        title = f"The host is elsewhere: device {device} idles {ms(cause.ns)} in gaps of over 1 ms without a launch"
        return title, f"{_longest(cause)}{_before(cause)}"

    yield from _of_cause(trace, "elsewhere", LAUNCHES, told)


def _small_kernels(trace: "TraceAnalysis") -> Iterator[Stake]:
    spans = {device.device: device.span_ns for device in trace.devices}
    rows = [
        row for row in trace.short_kernels
        if row.short_ns >= SHORT * row.kernel_ns and row.short_ns >= SHORT_OF_SPAN * spans[row.device] > 0
    ]  # fmt: skip
    for row in sorted(rows, key=lambda row: -row.short_ns)[:1]:
        many = f"{row.short_kernels:,} of {row.kernels:,} kernels on device {row.device} last under 10 µs"
        yield Stake(
            title=f"Small kernels: {many}, {ms(row.short_ns)} of {ms(row.kernel_ns)}",
            evidence=f"most of that time: {cropped(row.most_name or '')}",
            part=row.short_ns,
            whole=spans[row.device],
            of=f"device {row.device}'s span",
        )


def _exposed(what: str, field: str) -> Callable[["TraceAnalysis"], Iterator[Stake]]:
    def find(trace: "TraceAnalysis") -> Iterator[Stake]:
        rows = [device for device in trace.devices if getattr(device, field) >= NOTABLE * device.span_ns > 0]
        for device in sorted(rows, key=lambda row: -getattr(row, field))[:1]:
            ns = getattr(device, field)
            yield Stake(
                title=f"Exposed {what}: for {ms(ns)} device {device.device} does that and computes nothing",
                evidence=f"{device.comm_kernels:,} collectives, {device.memcpys:,} copies, {device.memsets:,} sets",
                part=ns,
                whole=device.span_ns,
                of=f"device {device.device}'s span",
            )

    return find


def _recompiled(trace: "TraceAnalysis") -> Iterator[Stake]:
    steps = [step for step in trace.compiled_steps if not step.first and step.usual_ns is not None]
    ns = sum(max(step.ns - (step.usual_ns or 0), 0) for step in steps)
    whole = sum(step.end_ns - step.start_ns for step in trace.steps)
    if steps and ns >= RECOMPILED * whole > 0:
        where = ", ".join(str(step.step) for step in steps[:5])
        yield Stake(
            title=f"Compiled in mid-run: {ms(ns)} in {counted(len(steps), 'step')} after the first",
            evidence=f"{cropped(steps[0].compiling)}, steps {where}; the usual one takes {ms(steps[0].usual_ns or 0)}",
            part=ns,
            whole=whole,
            of="the trace's steps",
        )


def _unused(trace: "TraceAnalysis") -> Iterator[Stake]:
    for series in trace.memory.series:
        in_use = series.peak.in_use_bytes if series.peak else None
        reserved = max((point.reserved_bytes or 0 for point in series.points), default=0)
        if series.basis in LEVELS and in_use:
            yield from unused(series.device, reserved, in_use, "by the trace's allocator events")


def _of_cause(
    trace: "TraceAnalysis", name: str, threshold: float, told: Callable[[str, IdleCause], tuple[str, str]]
) -> Iterator[Stake]:
    """The device that loses most to one cause of idleness."""
    rows = [
        (cause, device)
        for device in trace.idle_causes
        for cause in device.causes
        if cause.cause == name and cause.ns >= threshold * device.span_ns > 0
    ]
    for cause, device in sorted(rows, key=lambda row: -row[0].ns)[:1]:
        title, evidence = told(device.device, cause)
        of = f"device {device.device}'s span"
        yield Stake(title=title, evidence=evidence, part=cause.ns, whole=device.span_ns, of=of)


def _longest(cause: IdleCause) -> str:
    return f"{counted(cause.gaps, 'gap')}, the longest {ms(cause.longest_ns)} at +{ms(cause.longest_at_ns)} of the span"


def _before(cause: IdleCause) -> str:
    name = cause.operator or cause.call
    return f"; most of the longest end with {cropped(name)}" if name else ""


RULES = (
    Rule(
        "input_bound",
        _loading,
        "device idle time in which the host loaded a batch, and would have had to launch",
        f"{NOTABLE:.0%} of the device's span: less is within reach of noise",
        "Load in processes beside the loop (DataLoader num_workers, pin_memory, prefetch_factor; tf.data prefetch and"
        " num_parallel_calls), or do less for each sample.",
    ),
    Rule(
        "synchronising_calls",
        _synchronising,
        "device idle time that began while the host was in a call that waits for the device (cudaStreamSynchronize,"
        " hipMemcpyWithStream, …), until its next launch arrived; without what lies beside loading",
        f"{NOTABLE:.0%} of the device's span",
        "Keep .item(), .cpu(), .numpy(), print and conditions on tensors out of the loop: add up on the device, read"
        " once an epoch; copy with non_blocking=True from pinned memory. cuDNN's search for algorithms ends by itself.",
    ),
    Rule(
        "launch_bound",
        _launch_bound,
        "device idle time in gaps of up to 1 ms whose next work was launched only after the work before had ended",
        f"{LAUNCHES:.0%} of the device's span: a profiler makes launches up to twice as slow",
        "Launch less often: a larger batch, torch.compile (mode=reduce-overhead) or CUDA graphs, XLA, fused"
        " optimizers.",
    ),
    Rule(
        "host_elsewhere",
        _host_elsewhere,
        "device idle time in gaps of over 1 ms in which the host launched nothing, loaded nothing and waited for"
        " nothing on the device: compilation, cuDNN's search for algorithms, Python, other processes' work",
        f"{LAUNCHES:.0%} of the device's span",
        "Look at what the host's threads did in the longest gaps; py-spy (pyspy=true) or profile_stacks=true name it.",
    ),
    Rule(
        "small_kernels",
        _small_kernels,
        "the time of kernels under 10 µs, about what the host takes to launch one",
        f"{SHORT:.0%} of the kernels' own time, and {SHORT_OF_SPAN:.0%} of the device's span",
        "Fuse them (torch.compile, XLA), use foreach or fused optimizers, a larger batch, or CUDA graphs.",
    ),
    Rule(
        "exposed_communication",
        _exposed("communication", "exposed_comm_ns"),
        "time in which a device ran collectives and computed nothing",
        f"{NOTABLE:.0%} of the device's span",
        "Overlap it: larger or earlier buckets, gradient accumulation, fewer or compressed bytes; see who comes last.",
    ),
    Rule(
        "exposed_copies",
        _exposed("copying", "exposed_memory_ns"),
        "time in which a device copied or set memory and computed nothing",
        f"{NOTABLE:.0%} of the device's span",
        "Copy from pinned memory with non_blocking=True on a stream of its own, or keep the data on the device.",
    ),
    Rule(
        "recompilation",
        _recompiled,
        "the durations of marked steps after the trace's first in which JAX or torch.compile compiled, less the"
        " usual step's",
        f"{RECOMPILED:.0%} of the steps: the margin of every comparison",
        "Keep shapes constant: drop or pad the last part batch, dynamic=True in torch.compile; no Python numbers as"
        " arguments.",
    ),
    Rule(
        "reserved_unused",
        _unused,
        "most reserved by the allocator less most in use at once",
        f"{UNUSED:.0%} of what was reserved, and 1 GiB",
        "PyTorch: expandable_segments or a smaller max_split_size_mb; JAX: XLA_PYTHON_CLIENT_PREALLOCATE=false;"
        " TensorFlow: memory growth.",
    ),
)
