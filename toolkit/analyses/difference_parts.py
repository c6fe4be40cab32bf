"""Which parts make up a difference: of the epoch, of the device's time, of what operators did on the host, of energy.

Each side is told by the one of its processes whose whole is the middle one, and not by medians of parts, which would
sum to nothing. So its parts sum to its whole, and the parts' differences to the difference, to the nanosecond and to
the microjoule.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median_low
from typing import Literal, NamedTuple

from msgspec import Struct

from toolkit.analyses.energy import Energy
from toolkit.analyses.processes import Process
from toolkit.own_spec import LOOP, TIMED

# Where the profiler's window lies.
PROFILED = ("profile", LOOP)
REST, IDLE, OVERLAP = "the rest", "idle", "at the same time as others"
UJ_PER_MJ = 1000
Unit = Literal["ns", "uJ"]


class Part(Struct, frozen=True, kw_only=True):
    """One part of both sides; `difference` is b - a. What a side does not have is 0 of it."""

    name: str
    a: int
    b: int
    difference: int


class PartTable(Struct, frozen=True, kw_only=True):
    """`parts`, the largest difference first, sum exactly to `a`, `b` and `difference`; of the runs named."""

    of: str
    unit: Unit
    a_run: str
    b_run: str
    a: int
    b: int
    difference: int
    parts: list[Part]


class Whole(NamedTuple):
    """A process's parts, which sum to the whole; `alike` has to be equal for two to be held to each other."""

    parts: Mapping[str, int]
    alike: int | None = None

    @property
    def whole(self) -> int:
        """Their sum."""
        return sum(self.parts.values())


def tables(a: Sequence[Process], b: Sequence[Process]) -> tuple[list[PartTable], list[str]]:
    """Of every total that both sides tell of as many steps, and notes on those that are not."""
    found, notes = [], []
    for of, (unit, read) in TOTALS.items():
        mine, its = (middle(side, read) for side in (a, b))
        if mine and its and mine[1].alike == its[1].alike:
            found.append(_table(of, unit, mine, its))
        elif mine and its:
            notes.append(f"{of}: not told, for the windows have {mine[1].alike} and {its[1].alike} steps")
        elif mine or its:
            notes.append(f"{of}: not told, for only one side has it")
    return found, notes


def middle(side: Sequence[Process], read: Callable[[Process], Whole | None]) -> tuple[str, Whole] | None:
    """Name and whole of the process whose whole is the middle one; None where none tells any."""
    told = [(whole.whole, process.name, whole) for process in side if (whole := read(process))]
    if not told:
        return None
    size = median_low(size for size, _, _ in told)
    return next((name, whole) for own, name, whole in told if own == size)


def _table(of: str, unit: Unit, a: tuple[str, Whole], b: tuple[str, Whole]) -> PartTable:
    (a_run, mine), (b_run, its) = a, b
    parts = [
        Part(name=name, a=mine.parts.get(name, 0), b=its.parts.get(name, 0), difference=difference)
        for name in dict.fromkeys((*mine.parts, *its.parts))
        for difference in [its.parts.get(name, 0) - mine.parts.get(name, 0)]
    ]
    if sum(part.difference for part in parts) != its.whole - mine.whole:
        raise AssertionError(f"{parts} do not make up {its.whole - mine.whole}")
    return PartTable(
        of=of, unit=unit, a_run=a_run, b_run=b_run, a=mine.whole, b=its.whole, difference=its.whole - mine.whole,
        parts=sorted((part for part in parts if part.a or part.b), key=lambda part: -abs(part.difference)),
    )  # fmt: skip


def _epoch(process: Process) -> Whole | None:
    """The middle one of the epochs after the first, of the first where there is no other."""
    epochs = [entry for entry in process.summary.epochs if entry.pass_name in TIMED and entry.complete]
    epochs = [entry for entry in epochs if entry.epoch > 1] or epochs
    if not epochs:
        return None
    middle = median_low(entry.wall_ns for entry in epochs)
    return Whole(next(entry.parts_ns for entry in epochs if entry.wall_ns == middle))


def _device(process: Process) -> Whole | None:
    """All devices of the profiled window: kernels by category, what ran at the same time taken off, and idle time."""
    traces = [trace for trace in process.summary.traces if trace.pass_name in PROFILED]
    devices = [device for trace in traces for device in trace.devices]
    if not devices:
        return None
    parts: Counter[str] = Counter()
    for device in devices:
        parts.update(device.categories)
    overlap = parts.total() - sum(device.busy_ns for device in devices)
    more = {OVERLAP: -overlap, IDLE: sum(device.idle_ns for device in devices)}
    return Whole({**parts, **more}, alike=sum(len(trace.steps) for trace in traces))


def _host(process: Process) -> Whole | None:
    """Operators' own time by direction of training, where no device ran and the trace tells directions."""
    traces = [trace for trace in process.summary.traces if trace.pass_name in PROFILED]
    if any(trace.devices for trace in traces):
        return None
    parts: Counter[str] = Counter()
    for direction in (direction for trace in traces for direction in trace.directions):
        parts[direction.direction or REST] += direction.self_ns
    return Whole(parts, alike=sum(len(trace.steps) for trace in traces)) if parts.keys() - {REST} else None


def _energy(process: Process) -> Whole | None:
    """The unprofiled pass by its stages, on the GPUs in use; a stage that no sensor resolves is in the rest."""
    mine = [
        entry for entry in process.summary.energy if entry.pass_name in TIMED and entry.device in process.gpu_indices
    ]
    runs = [_uj(entry) for entry in mine if entry.kind == "run"]
    whole = [uj for uj in runs if uj is not None]
    if not whole or len(whole) < len(runs):
        return None
    stages = _summed((entry.name, _uj(entry)) for entry in mine if entry.kind == "stage")
    return Whole({**stages, REST: sum(whole) - sum(stages.values())})


def _summed(entries: Iterable[tuple[str, int | None]]) -> dict[str, int]:
    """By name, without the names of which one entry is not told."""
    listed = list(entries)
    unknown = {name for name, uj in listed if uj is None}
    sums: Counter[str] = Counter()
    for name, uj in listed:
        sums[name] += uj or 0
    return {name: uj for name, uj in sums.items() if name not in unknown}


def _uj(entry: Energy) -> int | None:
    """By the counter, else by the integral of power."""
    mj = entry.counter_mj if entry.counter_mj is not None else entry.integral_mj
    return None if mj is None else round(mj * UJ_PER_MJ)


TOTALS: Mapping[str, tuple[Unit, Callable[[Process], Whole | None]]] = {
    "Epoch by ledger, time pass": ("ns", _epoch),
    "Device time by kernel category, profiled window": ("ns", _device),
    "Operators on the host by direction, profiled window": ("ns", _host),
    "Energy by stage, time pass": ("uJ", _energy),
}
