"""How the terminal shows a processor beside a GPU in inference."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.analyses.crossover import Crossover, DeviceComparison, Point
from toolkit.analyses.statistics import HIGHER, LEAST_PROCESSES, LOWER, MARGIN, Interval
from toolkit.reports.tables import UNKNOWN, milliseconds, shown, table

FASTER = {LOWER: "GPU", HIGHER: "processor"}


def report(found: DeviceComparison) -> RenderableType:
    """With the transfer, then without."""
    return Group(*_sections(found))


def _sections(found: DeviceComparison) -> Iterable[RenderableType]:
    if found.forced:
        yield Text(found.forced, "bold red")
    yield Text(f"Processor: {', '.join(found.cpu_runs)}\nGPU: {', '.join(found.gpu_runs)}", "dim")
    for crossover in found.crossovers:
        if any(point.ratio or point.cpu_reason or point.gpu_reason for point in crossover.points):
            yield _table(crossover)
            yield Text.assemble((sentence(crossover), "bold"), "\n")
            yield from _unfit(crossover.points)


def sentence(found: Crossover) -> str:
    """Where the GPU overtakes, with the interval."""
    measured = [point.batch for point in found.points if point.ratio]
    if not measured:
        return "No batch size was timed on both."
    if found.outcome == "gpu faster throughout":
        said = f"The GPU is faster at every batch measured, from {measured[0]} to {measured[-1]}"
    elif found.batch is None:
        throughout = found.outcome == "processor faster throughout"
        where = (
            f"every batch measured, to {measured[-1]}" if throughout else f"the largest batch measured, {measured[-1]}"
        )
        said = f"No crossover: the processor is as fast at {where}"
    else:
        said = f"From batch {found.batch} on the GPU is faster; the crossover lies above {found.after}"
    return f"{said} ({_interval(found)})."


def _interval(found: Crossover) -> str:
    if found.level is None:
        return f"no interval: it takes {LEAST_PROCESSES} runs on each, fresh processes"
    if found.low is None:
        return f"{found.level:.0%} interval: beyond the largest batch measured"
    if found.high is None:
        return f"{found.level:.0%} interval: {found.low} or more, open above"
    return f"{found.level:.0%} interval: batch {found.low} to {found.high}"


def _table(crossover: Crossover) -> Table:
    how = (
        "host memory to host memory" if crossover.transfer else "without transfer: input and answer stay on the device"
    )
    titles = ("batch", "processor, ms", "GPU, ms", "processor/s", "GPU/s", "GPU over processor", "interval", "faster")
    found = table(f"Inference, {how}", *titles)
    found.note = f"medians over processes; /s: samples a second; a difference is shown beyond {MARGIN:.0%}"
    for point in crossover.points:
        found.add_row(
            str(point.batch), _ms(point.cpu_ns), _ms(point.gpu_ns), _rate(point.cpu_samples_per_s),
            _rate(point.gpu_samples_per_s), *_ratio(point), faster(point),
        )  # fmt: skip
    return found


def _unfit(points: Sequence[Point]) -> Iterable[Text]:
    for point in points:
        for device, reason in (("processor", point.cpu_reason), ("GPU", point.gpu_reason)):
            if reason:
                yield Text(f"batch {point.batch} on the {device}: {shown(reason)}", "yellow")


def _ms(ns: Interval | None) -> str:
    return UNKNOWN if ns is None else milliseconds(round(ns.estimate))


def _rate(per_s: float | None) -> str:
    return UNKNOWN if per_s is None else f"{per_s:,.0f}"


def faster(point: Point) -> str:
    """Which device is shown to be faster at a batch size, or that none is."""
    return UNKNOWN if point.faster is None else FASTER.get(point.faster, point.faster)


def _ratio(point: Point) -> tuple[str, str]:
    ratio = point.ratio
    if ratio is None:
        return UNKNOWN, UNKNOWN
    known = ratio.low is not None and ratio.high is not None
    return f"{ratio.estimate:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}" if known else UNKNOWN
