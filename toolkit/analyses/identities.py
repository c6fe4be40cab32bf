"""Parts that must make up their whole, to the nanosecond, checked across analyses that count apart from each other."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from toolkit.analyses.device_time import DeviceTime
from toolkit.analyses.kernel_attribution import KernelAttribution
from toolkit.analyses.step_parts import StepParts
from toolkit.analyses.streams import StreamIdle


def check(
    devices: Sequence[DeviceTime],
    streams: Sequence[StreamIdle],
    attributions: Sequence[KernelAttribution],
    steps: Sequence[StepParts],
) -> None:
    """Raises AssertionError naming the first identity of one trace that does not hold."""
    for device in devices:
        own = [stream for stream in streams if stream.device == device.device]
        by = [attribution for attribution in attributions if attribution.device == device.device]
        for name, holds in [*_of_device(device), *_of_streams(device, own), *_of_kernels(device, by)]:
            if not holds:
                raise AssertionError(f"{name} does not hold of device {device.device}")
    for name, holds in _of_steps(steps):
        if not holds:
            raise AssertionError(f"{name} does not hold")


def _of_device(device: DeviceTime) -> Iterator[tuple[str, bool]]:
    parts = (device.compute_ns, device.exposed_comm_ns, device.exposed_memory_ns, device.idle_ns)
    yield "span = compute + exposed communication + exposed copies + idle", sum(parts) == device.span_ns
    yield "no part is negative", min(parts) >= 0
    yield "busy + idle = span", device.busy_ns + device.idle_ns == device.span_ns
    least = max(device.kernel_sum_ns, device.busy_ns)
    yield "categories hold all kernels and all of busy", sum(device.categories.values()) >= least


def _of_streams(device: DeviceTime, streams: Sequence[StreamIdle]) -> Iterator[tuple[str, bool]]:
    pieces = device.kernels + device.memcpys + device.memsets
    yield "streams' work = the device's work", sum(stream.slices for stream in streams) == pieces
    for stream in streams:
        waits = stream.host_wait_ns + stream.kernel_wait_ns + stream.other_ns
        yield f"idle = its causes, on stream {stream.stream}", waits == stream.idle_ns
        yield f"idle within the span, on stream {stream.stream}", 0 <= stream.idle_ns <= stream.span_ns
    busy = [stream.span_ns - stream.idle_ns for stream in streams]
    yield "busiest stream <= busy <= streams together", max(busy, default=0) <= device.busy_ns <= sum(busy)


def _of_kernels(device: DeviceTime, attributions: Sequence[KernelAttribution]) -> Iterator[tuple[str, bool]]:
    whole = device.kernels, device.kernel_sum_ns
    for by in attributions:
        for parts in (by.operators, by.outermost, by.directions, by.modules, by.steps):
            sums = sum(part.kernels for part in parts), sum(part.kernel_ns for part in parts)
            yield "kernels by what asked for them = kernels", sums == whole


def _of_steps(steps: Sequence[StepParts]) -> Iterator[tuple[str, bool]]:
    for step in steps:
        yield f"step {step.step} = its parts", sum(step.parts_ns.values()) == step.end_ns - step.start_ns
    yield "steps do not overlap", all(before.end_ns <= after.start_ns for before, after in pairwise(steps))
