"""In a sweep of inference over both devices: from which batch on the GPU is faster, by its other settings."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from toolkit.analyses.crossover import DEVICES, Crossover, crossover
from toolkit.capture.matrix import Point


class SweepCrossover(Struct, frozen=True, kw_only=True):
    """Points that differ in device and batch alone; `settings` are their other ones. Requests with the transfer.

    `note`: in what the devices' programs differ besides, so that it is no crossover of devices alone; null: in nothing.
    """

    settings: dict[str, str]
    note: str | None
    crossover: Crossover


class Measured(NamedTuple):
    """Of a point: a latency for each process, ns; the compile mode that it ran in; and why it has none."""

    latencies: Sequence[float]
    compiled: str | None
    reason: str | None


def crossovers(points: Sequence[Point], measured: Mapping[int, Measured]) -> list[SweepCrossover]:
    """One for each group that has points on both devices; `measured` is by the point's number."""
    groups: defaultdict[tuple[tuple[str, str], ...], list[Point]] = defaultdict(list)
    for point in points:
        if point.spec and point.spec.task == "infer":
            others = [(name, text) for name, text in point.settings.items() if name not in {"batch", "device"}]
            groups[tuple(others)].append(point)
    return [
        _crossover(dict(settings), mine, measured)
        for settings, mine in groups.items()
        if {point.spec.device for point in mine if point.spec} >= set(DEVICES)
    ]


def _crossover(settings: dict[str, str], points: Sequence[Point], measured: Mapping[int, Measured]) -> SweepCrossover:
    sides = [_side(points, device, measured) for device in DEVICES]
    (cpu, cpu_why), (gpu, gpu_why) = (
        (
            {batch: one.latencies for batch, one in side.items() if one.latencies},
            {batch: one.reason for batch, one in side.items() if one.reason},
        )
        for side in sides
    )
    return SweepCrossover(
        settings=settings,
        note=_apart(*({one.compiled for one in side.values() if one.compiled} for side in sides)),
        crossover=crossover(cpu, gpu, transfer=True, reasons=(cpu_why, gpu_why)),
    )


def _side(points: Sequence[Point], device: str, measured: Mapping[int, Measured]) -> dict[int, Measured]:
    return {point.spec.batch: measured[point.number] for point in points if point.spec and point.spec.device == device}


def _apart(cpu: set[str], gpu: set[str]) -> str | None:
    """Keras's own choice, for one, is XLA on a GPU and none on a processor."""
    if not cpu or not gpu or cpu == gpu:
        return None
    return f"the devices run different programs: compile mode {'/'.join(sorted(cpu))} and {'/'.join(sorted(gpu))}"
