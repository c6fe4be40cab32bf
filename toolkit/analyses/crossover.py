"""A processor beside a GPU in inference: latency by batch size on both, and from which batch on the GPU is faster.

One value stands for one process: its median latency at a batch size. At one batch size the ratio of throughputs is that
of latencies, upside down, so one crossover stands for both. Its interval is the set of batch sizes that the intervals
of those ratios do not rule out: from the least one above which the processor is nowhere shown to be faster, to the
least one from which on the GPU is shown to be faster throughout.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from toolkit.analyses.comparable import Side
from toolkit.analyses.processes import Process
from toolkit.analyses.statistics import LEVEL, Interval, Verdict, median_interval, ratio_interval, verdict
from toolkit.errors import HwprofError

# What a run records of a batch size that did not fit: source and metric of `unavailable`.
UNFIT_SOURCE, UNFIT_METRIC = "inference", "batch {}"
DEVICES = ("cpu", "cuda")
Outcome = Literal[
    "crossover",
    "gpu faster throughout",
    "processor faster throughout",
    "processor faster at the largest batch",
    "nothing to compare",
]
Values = Mapping[int, Sequence[float]]


class Point(Struct, frozen=True, kw_only=True):
    """One batch size: median latencies, ns, throughput at them, and the GPU's latency over the processor's.

    `faster` is `lower` where the GPU's latency is shown to be, `higher` where the processor's is. A device without a
    figure has its reason, such as that it was out of memory.
    """

    batch: int
    cpu_ns: Interval | None
    gpu_ns: Interval | None
    cpu_samples_per_s: float | None
    gpu_samples_per_s: float | None
    ratio: Interval | None
    faster: Verdict | None
    cpu_reason: str | None
    gpu_reason: str | None


class Crossover(Struct, frozen=True, kw_only=True):
    """With the transfer (host memory to host memory) or without: every batch size, and where the GPU overtakes.

    `batch` is the least measured from which on the GPU's median is lower throughout, `after` the measured one before
    it, where the processor is still as fast: the true crossover lies between. The interval goes from `low` to `high`:
    an end beyond the largest batch measured is null, and both are where there is no ratio, or one without an interval.
    """

    transfer: bool
    outcome: Outcome
    batch: int | None
    after: int | None
    low: int | None
    high: int | None
    level: float | None
    points: list[Point]


class DeviceComparison(Struct, frozen=True, kw_only=True):
    """Runs of inference on a processor and on a GPU. `forced`: why they should not be compared, where they are."""

    forced: str | None
    cpu_runs: list[str]
    gpu_runs: list[str]
    crossovers: list[Crossover]


def compare(sides: Sequence[Side], *, forced: str | None) -> DeviceComparison:
    """Two sides, one on the processor and one on a GPU, in either order. Raises HwprofError where they are not."""
    devices = {side.processes[0].device: side.processes for side in sides}
    if len(sides) != len(DEVICES) or set(devices) != set(DEVICES):
        told = " and ".join(str(side.processes[0].device) for side in sides)
        raise HwprofError(f"These are runs on {told}.", remedy="Give runs on the processor, and runs on a GPU.")
    cpu, gpu = (devices[name] for name in DEVICES)
    for processes in (cpu, gpu):
        if not any(process.summary.inference for process in processes):
            raise HwprofError(
                f"{processes[0].name} timed no inference.", remedy="Run it with task=infer, or infer_repeats above 0."
            )
    return DeviceComparison(
        forced=forced,
        cpu_runs=[process.name for process in cpu],
        gpu_runs=[process.name for process in gpu],
        crossovers=[
            crossover(
                _latencies(cpu, transfer=transfer),
                _latencies(gpu, transfer=transfer),
                transfer=transfer,
                reasons=(_reasons(cpu), _reasons(gpu)),
            )
            for transfer in (True, False)
        ],
    )


def same_program(sides: Sequence[Side], *, force: bool) -> str | None:
    """What the report must say where the sides are not one framework's, compiled in one way; None where they are.

    Raises HwprofError without `force`: Keras's own choice, for one, is XLA on a GPU and none on a processor.
    """
    one, other = (side.processes[0] for side in sides)
    told = {
        "framework": (one.spec.framework, other.spec.framework),
        "loop": (getattr(one.spec, "loop", None), getattr(other.spec, "loop", None)),
        "compile mode": (one.facts.get("compile"), other.facts.get("compile")),
    }
    apart = [f"{name} {a} and {b}" for name, (a, b) in told.items() if a is not None and b is not None and a != b]
    if not apart:
        return None
    problem = f"The sides run different programs: {', '.join(apart)}."
    if not force:
        raise HwprofError(problem, remedy="--force compares them all the same, and says so.")
    return f"Compared by --force. {problem}"


def crossover(
    cpu: Values, gpu: Values, *, transfer: bool, reasons: tuple[Mapping[int, str], Mapping[int, str]] = ({}, {})
) -> Crossover:
    """Of median latencies by batch size, ns, one a process; `reasons` by batch size why a device has none."""
    batches = sorted({*cpu, *gpu, *reasons[0], *reasons[1]})
    points = [_point(batch, cpu.get(batch, ()), gpu.get(batch, ()), reasons) for batch in batches]
    held = {point.batch: point.ratio for point in points if point.ratio is not None}
    batch = _from_on({at: ratio.estimate < 1 for at, ratio in held.items()})
    known = all(ratio.low is not None for ratio in held.values())
    levels = [ratio.level for ratio in held.values() if ratio.level is not None]
    return Crossover(
        transfer=transfer,
        outcome=_outcome(held, batch),
        batch=batch,
        after=max((at for at in held if batch is not None and at < batch), default=None),
        low=_from_on({at: not (ratio.low or 0) > 1 for at, ratio in held.items()}) if known else None,
        high=_from_on({at: (ratio.high or 1) < 1 for at, ratio in held.items()}) if known else None,
        level=min(levels, default=LEVEL) if known and held else None,
        points=points,
    )


def _from_on(holds: Mapping[int, bool]) -> int | None:
    """The least batch from which on it holds throughout; None where it does not at the largest."""
    found = None
    for batch in sorted(holds, reverse=True):
        if not holds[batch]:
            break
        found = batch
    return found


def _outcome(held: Mapping[int, Interval], batch: int | None) -> Outcome:
    if not held:
        return "nothing to compare"
    if batch == min(held):
        return "gpu faster throughout"
    if batch is not None:
        return "crossover"
    throughout = all(ratio.estimate >= 1 for ratio in held.values())
    return "processor faster throughout" if throughout else "processor faster at the largest batch"


def _point(
    batch: int, cpu: Sequence[float], gpu: Sequence[float], reasons: tuple[Mapping[int, str], Mapping[int, str]]
) -> Point:
    cpu_ns, gpu_ns = (median_interval(values) if values else None for values in (cpu, gpu))
    ratio = ratio_interval(cpu, gpu) if cpu and gpu else None
    return Point(
        batch=batch,
        cpu_ns=cpu_ns,
        gpu_ns=gpu_ns,
        cpu_samples_per_s=batch * 1e9 / cpu_ns.estimate if cpu_ns else None,
        gpu_samples_per_s=batch * 1e9 / gpu_ns.estimate if gpu_ns else None,
        ratio=ratio,
        faster=verdict(ratio) if ratio else None,
        cpu_reason=None if cpu else reasons[0].get(batch),
        gpu_reason=None if gpu else reasons[1].get(batch),
    )


def _latencies(processes: Sequence[Process], *, transfer: bool) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for process in processes:
        for entry in process.summary.inference:
            ns = entry.p50_ns if transfer else entry.resident_p50_ns
            if entry.pass_name == "time" and ns:
                found.setdefault(entry.batch, []).append(float(ns))
    return found


def _reasons(processes: Sequence[Process]) -> dict[int, str]:
    """By batch size, why it has no figure."""
    return {
        batch: entry.reason
        for process in processes
        for entry in process.summary.unavailable
        for batch in getattr(process.spec, "infer_batches", ())
        if (entry.source, entry.metric) == (UNFIT_SOURCE, UNFIT_METRIC.format(batch))
    }
