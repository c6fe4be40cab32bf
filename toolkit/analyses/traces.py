"""What the analyses say of native traces, whoever made them: each of `hwprof analyze --json` and of a run's summary."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from operator import attrgetter
from typing import Any, Protocol, TypeVar

import duckdb
from msgspec import Struct, convert, structs

from toolkit.analyses import identities, runner
from toolkit.analyses.allocated_by import AllocatedBy, allocated_by
from toolkit.analyses.cautions import Caution, cautions
from toolkit.analyses.device_time import DeviceTime, device_time
from toolkit.analyses.findings import Finding, findings
from toolkit.analyses.host_time import HostTime, host_times
from toolkit.analyses.idle_causes import IdleCauses, idle_causes
from toolkit.analyses.kernel_attribution import KernelAttribution
from toolkit.analyses.memory import MemorySeries, memory_series
from toolkit.analyses.operators import OperatorTime, operator_times
from toolkit.analyses.roofline import RooflinePart, rooflines
from toolkit.analyses.step_parts import StepParts, step_parts
from toolkit.analyses.streams import Launches, StreamIdle, launches, stream_idle
from toolkit.analyses.told_kernels import kernels_by
from toolkit.analyses.trace_findings import RULES

# Columns of the table `traces`.
TOLD = ("path", "pass_name", "format", "rank", "world_size", "gpus", "gpu_model", "events")
TOP_OPERATORS = 20
TOP_FRAMES = 20
TOP_KERNELS = 20
OTHER = "other"


class TraceDevice(DeviceTime, frozen=True, kw_only=True):
    """One device's time, and the time in which at least one collective ran, hidden by other kernels or not."""

    comm_ns: int


class Operator(Struct, frozen=True, kw_only=True):
    """Host time of one operator over all threads: `self_ns` leaves out the operators inside it.

    `total_ns` counts a call within one of the same name once. `share` is of the own time of all operators in the trace,
    those that are not listed too. `directions` is `self_ns` by direction of training, as far as the trace tells it.
    """

    operator: str
    calls: int
    self_ns: int
    total_ns: int
    share: float | None
    directions: dict[str, int]


class Direction(Struct, frozen=True, kw_only=True):
    """Own time of all operators on the host in one direction of training; null is what the trace does not tell."""

    direction: str | None
    self_ns: int
    share: float | None


class Annotation(Struct, frozen=True, kw_only=True):
    """What was marked on the host under one name, by annotations.sql; ranges may lie in each other."""

    name: str
    calls: int
    total_ns: int | None
    longest_ns: int


class Frame(Struct, frozen=True, kw_only=True):
    """A function in one thread's sampled stacks; `self_ns` leaves out what it called."""

    thread: str
    frame: str
    self_ns: int | None
    total_ns: int | None
    samples: int | None


class Kernel(Struct, frozen=True, kw_only=True):
    """All kernels of one name on one device; `ns` is the sum of their durations."""

    device: str
    name: str
    category: str
    kernels: int
    ns: int


class ShortKernels(Struct, frozen=True, kw_only=True):
    """A device's kernels under 10 µs, by short_kernels.sql."""

    device: str
    kernels: int
    kernel_ns: int
    short_kernels: int
    short_ns: int
    most_name: str | None


class CompiledMarkedStep(Struct, frozen=True, kw_only=True):
    """A marked step in which something was compiled, by compiled_marked_steps.sql."""

    step: int
    first: bool
    ns: int
    usual_ns: int | None
    compiling: str


class Allocator(Struct, frozen=True, kw_only=True):
    """What one allocator did while the trace was recorded, by allocations.sql."""

    device: str | None
    allocator: str | None
    allocations: int
    frees: int
    allocated_bytes: int
    largest_bytes: int | None
    peak_in_use_bytes: int | None
    peak_reserved_bytes: int | None
    peak_ts_ns: int | None


class Segments(Struct, frozen=True, kw_only=True):
    """What a CUDA allocator held when its snapshot was taken, by segments.sql."""

    device: str
    segments: int
    blocks: int
    reserved_bytes: int
    allocated_bytes: int
    active_bytes: int
    requested_bytes: int | None
    inactive_bytes: int
    largest_free_bytes: int
    inactive_split_bytes: int
    inactive_split_share: float | None


class Live(Struct, frozen=True, kw_only=True):
    """What one Python function had made that was alive when a JAX memory profile was taken, by live_blocks.sql."""

    device: str | None
    frame: str | None
    blocks: int
    bytes: int


class Memory(Struct, frozen=True, kw_only=True):
    """Memory as the trace tells it; `allocated_by` are those that asked for most bytes while it was recorded."""

    series: list[MemorySeries]
    allocators: list[Allocator]
    allocated_by: list[AllocatedBy]
    segments: list[Segments]
    live: list[Live]


class Readings(Struct, frozen=True, kw_only=True):
    """Readings of one metric of one GPU, of a file that is a table of them; `every_ns` is the mean time between two."""

    device: str
    metric: str
    unit: str
    readings: int
    mean: float
    least: float
    most: float
    every_ns: int | None
    first_ns: int
    last_ns: int


class TraceAnalysis(Struct, frozen=True, kw_only=True):
    """One trace. `doubts` are those of its `warnings` for which it is not trusted.

    `findings` are ranked, the largest share first. `kernels` are each device's longest, `uncategorised` the longest of
    those that no rule of categories.toml knows.
    """

    path: str
    pass_name: str | None
    format: str
    rank: int | None
    world_size: int | None
    gpus: int | None
    gpu_model: str | None
    events: int
    trusted: bool
    doubts: list[str]
    warnings: list[str]
    devices: list[TraceDevice]
    streams: list[StreamIdle]
    launches: list[Launches]
    idle_causes: list[IdleCauses]
    kernels: list[Kernel]
    short_kernels: list[ShortKernels]
    uncategorised: list[Kernel]
    kernels_by: list[KernelAttribution]
    steps: list[StepParts]
    compiled_steps: list[CompiledMarkedStep]
    operators: list[Operator]
    directions: list[Direction]
    host_time: HostTime | None
    roofline: list[RooflinePart]
    annotations: list[Annotation]
    frames: list[Frame]
    memory: Memory
    readings: list[Readings]
    findings: list[Finding] = []


class _OfTrace(Protocol):
    @property
    def trace(self) -> int | None: ...


T = TypeVar("T", bound=_OfTrace)


# Analyses whose rows each tell which trace they are of.
BY_TRACE = (
    "kernels", "short_kernels", "compiled_marked_steps", "annotations", "stacks",
    "allocations", "segments", "live_blocks", "trace_readings",
)  # fmt: skip


def analyse(connection: duckdb.DuckDBPyConnection) -> list[TraceAnalysis]:
    """Every trace of a store. Raises AssertionError where parts do not make up their whole."""
    rows = {name: _rows(connection, name) for name in BY_TRACE}
    told = _of(cautions(connection))
    devices, streams = _of(_devices(connection)), _of(stream_idle(connection))
    launched, attributed = _of(launches(connection)), _of(kernels_by(connection))
    waited = _of(idle_causes(connection, sorted(chain(*devices.values()), key=attrgetter("trace", "device"))))
    steps, operators = _of(step_parts(connection)), _of(operator_times(connection))
    bounded, places = _of(rooflines(connection)), _of(host_times(connection))
    series, asked = _of(memory_series(connection)), _of(allocated_by(connection))
    for trace in devices.keys() | steps.keys():
        identities.check(devices[trace], streams[trace], attributed[trace], steps[trace])
    query = f"SELECT trace, {', '.join(TOLD)} FROM traces ORDER BY trace"  # noqa: S608 - our own names
    analyses = [
        TraceAnalysis(
            **dict(zip(TOLD, told_of_it, strict=True)),
            trusted=not any(caution.untrusted for caution in told[trace]),
            doubts=[_sentence(caution) for caution in told[trace] if caution.untrusted],
            warnings=[_sentence(caution) for caution in told[trace]],
            devices=devices[trace],
            streams=streams[trace],
            launches=launched[trace],
            idle_causes=waited[trace],
            kernels=_longest(rows["kernels"][trace]),
            short_kernels=convert(rows["short_kernels"][trace], list[ShortKernels]),
            uncategorised=_longest([row for row in rows["kernels"][trace] if row["category"] == OTHER]),
            kernels_by=attributed[trace],
            steps=steps[trace],
            compiled_steps=convert(rows["compiled_marked_steps"][trace], list[CompiledMarkedStep]),
            operators=_operators(operators[trace]),
            directions=_directions(operators[trace]),
            host_time=next(iter(places[trace]), None),
            roofline=bounded[trace],
            annotations=convert(rows["annotations"][trace], list[Annotation]),
            frames=_frames(rows["stacks"][trace]),
            memory=_memory({name: rows[name][trace] for name in rows}, series[trace], asked[trace]),
            readings=convert(rows["trace_readings"][trace], list[Readings]),
        )
        for trace, *told_of_it in connection.execute(query).fetchall()
    ]
    return [structs.replace(analysis, findings=findings(RULES, analysis)) for analysis in analyses]


def _memory(rows: Mapping[str, Any], series: list[MemorySeries], asked: list[AllocatedBy]) -> Memory:
    return Memory(
        series=series,
        allocators=convert(rows["allocations"], list[Allocator]),
        allocated_by=asked[:TOP_OPERATORS],
        segments=convert(rows["segments"], list[Segments]),
        live=convert(rows["live_blocks"], list[Live]),
    )


def _sentence(caution: Caution) -> str:
    return f"{caution.code} ×{caution.count}: {caution.message}"


def _devices(connection: duckdb.DuckDBPyConnection) -> list[TraceDevice]:
    communication = {(row["trace"], row["device"]): row["comm_ns"] for row in runner.run(connection, "communication")}
    return [
        TraceDevice(**structs.asdict(time), comm_ns=communication.get((time.trace, time.device), 0))
        for time in device_time(connection)
    ]


def _longest(rows: list[dict[str, Any]]) -> list[Kernel]:
    """The first TOP_KERNELS of each device; the rows come with the longest first."""
    devices: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        devices[row["device"]].append(row)
    return convert([row for own in devices.values() for row in own[:TOP_KERNELS]], list[Kernel])


def _operators(times: list[OperatorTime]) -> list[Operator]:
    whole = sum(time.self_ns for time in times)
    return [
        Operator(
            operator=time.operator,
            calls=time.calls,
            self_ns=time.self_ns,
            total_ns=time.total_ns,
            share=time.self_ns / whole if whole else None,
            directions={name: ns for name, ns in time.directions.items() if name},
        )
        for time in times[:TOP_OPERATORS]
    ]


def _directions(times: list[OperatorTime]) -> list[Direction]:
    """Most time first."""
    sums: Counter[str | None] = Counter()
    for time in times:
        sums.update(time.directions)
    whole = sums.total()
    return [
        Direction(direction=name, self_ns=ns, share=ns / whole if whole else None) for name, ns in sums.most_common()
    ]


def _frames(rows: list[dict[str, Any]]) -> list[Frame]:
    return convert(sorted(rows, key=lambda row: -(row["self_ns"] or 0))[:TOP_FRAMES], list[Frame])


def _rows(connection: duckdb.DuckDBPyConnection, analysis: str) -> defaultdict[int, list[dict[str, Any]]]:
    return _grouped(runner.run(connection, analysis))


def _grouped(rows: Iterable[dict[str, Any]]) -> defaultdict[int, list[dict[str, Any]]]:
    """Rows by their trace."""
    groups: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["trace"]].append(row)
    return groups


def _of(items: Iterable[T]) -> defaultdict[int | None, list[T]]:
    """Items by their trace; None are those of no trace in particular."""
    groups: defaultdict[int | None, list[T]] = defaultdict(list)
    for item in items:
        groups[item.trace].append(item)
    return groups
