"""Everything that the analyses say of one run, as one typed object: what summary.json holds and every report draws."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import duckdb
from msgspec import Meta, Struct, convert

from toolkit.analyses import runner
from toolkit.analyses.device_time import DeviceTime, device_time
from toolkit.analyses.operators import OperatorTime, operator_times

SCHEMA = 1
TOP_OPERATORS = 20
# An annotation may begin before its bracket by this much before the trace counts as misplaced: ten times the error
# measured at the 99th percentile for the slowest of the three profilers.
ALIGNMENT_BOUND_NS = 30_000

Ns = Annotated[int, Meta(description="nanoseconds")]
T = TypeVar("T")
MaybeNs = Annotated[int | None, Meta(description="nanoseconds; null where unknown")]


class Epoch(Struct, frozen=True, kw_only=True):
    """The ledger of one epoch in one pass: `parts_ns` sums to `wall_ns` exactly."""

    pass_name: str
    epoch: int
    wall_ns: Ns
    complete: bool
    parts_ns: dict[str, int]


class Gap(Struct, frozen=True, kw_only=True):
    """From the last training step of `epoch` to the first of the next: `parts_ns` sums to `gap_ns` exactly."""

    pass_name: str
    epoch: int
    gap_ns: Ns
    parts_ns: dict[str, int]


class Stage(Struct, frozen=True, kw_only=True):
    """A stage of a pass: setup, evaluate_before, warmup, train, evaluate_after, inference."""

    pass_name: str
    stage: str
    ns: Ns
    complete: bool


class Steps(Struct, frozen=True, kw_only=True):
    """Training steps of one epoch, or of all (`epoch` null); steps that compiled stand apart."""

    pass_name: str
    epoch: int | None
    steps: int
    compiled_steps: int
    median_ns: MaybeNs
    p10_ns: MaybeNs
    p90_ns: MaybeNs


class Training(Struct, frozen=True, kw_only=True):
    """The training steps of one epoch as a whole: to the moment when the device had done them all."""

    pass_name: str
    epoch: int
    steps: int
    compiled_steps: int
    ns: Ns


class ProfilerCost(Struct, frozen=True, kw_only=True):
    """Median step under the profiler over median step without it; the profiled window's own steps."""

    time_median_ns: Ns
    profile_median_ns: Ns
    ratio: float


class Latency(Struct, frozen=True, kw_only=True):
    """Inference requests of one batch size, host memory to host memory."""

    pass_name: str
    batch: int
    requests: int
    p50_ns: Ns
    p90_ns: Ns
    worst_ns: Ns
    samples_per_s: float


class Scalar(Struct, frozen=True, kw_only=True):
    """A loss (mean over samples) or an accuracy (0 to 1); null where it was no number, as when training diverges."""

    pass_name: str
    epoch: int
    name: str
    value: float | None


class Operator(Struct, frozen=True, kw_only=True):
    """Host time of one operator over all threads: `self_ns` leaves out the operators inside it.

    `share` is of the own time of all operators in the trace, those that are not listed too.
    """

    trace: int
    operator: str
    calls: int
    self_ns: Ns
    total_ns: Ns
    share: float


class Allocator(Struct, frozen=True, kw_only=True):
    """What one allocator did while the trace was recorded."""

    trace: int
    pass_name: str | None
    device: str | None
    allocator: str | None
    allocations: int
    frees: int
    allocated_bytes: int
    largest_bytes: int | None
    peak_in_use_bytes: int | None
    peak_reserved_bytes: int | None
    peak_ts_ns: MaybeNs


class FrameworkMemory(Struct, frozen=True, kw_only=True):
    """A counter of the framework's own allocator, read at an epoch's end."""

    pass_name: str
    epoch: int
    device: str | None
    metric: str
    bytes: int


class Sample(Struct, frozen=True, kw_only=True):
    """A sampler's readings in one epoch, or in the whole pass (`epoch` null)."""

    pass_name: str
    epoch: int | None
    source: str
    device: str | None
    metric: str
    unit: str
    readings: int
    mean: float
    least: float
    most: float


class Unavailable(Struct, frozen=True, kw_only=True):
    """What could not be had, and why."""

    pass_name: str
    source: str
    device: str | None
    metric: str
    reason: str


class Alignment(Struct, frozen=True, kw_only=True):
    """How well a native trace lies on the run's clock, by annotations inside the worker's own clock reads."""

    trace: int
    pass_name: str
    brackets: int
    missing: int
    median_residual_ns: MaybeNs
    worst_residual_ns: MaybeNs
    violations: int
    worst_violation_ns: MaybeNs


class Caution(Struct, frozen=True, kw_only=True):
    """Something that a reader must know; `untrusted` where it puts the figures in doubt."""

    trace: int | None
    pass_name: str | None
    code: str
    count: int
    message: str
    untrusted: bool


class Summary(Struct, frozen=True, kw_only=True):
    """All figures of one run. Unknown is null, with its reason in `unavailable`."""

    schema: int
    trusted: bool
    warnings: list[Caution]
    profiler_cost: ProfilerCost | None
    stages: list[Stage]
    epochs: list[Epoch]
    gaps: list[Gap]
    training: list[Training]
    steps: list[Steps]
    inference: list[Latency]
    scalars: list[Scalar]
    operators: list[Operator]
    devices: list[DeviceTime]
    allocators: list[Allocator]
    framework_memory: list[FrameworkMemory]
    samples: list[Sample]
    unavailable: list[Unavailable]
    alignment: list[Alignment]


def summarise(connection: duckdb.DuckDBPyConnection) -> Summary:
    """Runs every analysis over a run's store. Asserts that each ledger sums to its whole."""
    alignment = _rows(connection, "alignment", Alignment)
    warnings = _rows(connection, "warnings", Caution)
    warnings += [warning for entry in alignment for warning in _alignment_warnings(entry)]
    warnings += _rows(connection, "unfinished", Caution)
    return Summary(
        schema=SCHEMA,
        trusted=not any(warning.untrusted for warning in warnings),
        warnings=warnings,
        profiler_cost=_profiler_cost(runner.run(connection, "profiler_cost")),
        stages=_rows(connection, "stages", Stage),
        epochs=[convert(row, Epoch) for row in _ledger(runner.run(connection, "epoch_ledger"), "wall_ns")],
        gaps=[convert(row, Gap) for row in _ledger(runner.run(connection, "epoch_gaps"), "gap_ns")],
        training=_rows(connection, "training", Training),
        steps=_rows(connection, "step_times", Steps),
        inference=_rows(connection, "inference", Latency),
        scalars=_rows(connection, "scalars", Scalar),
        operators=_top_operators(connection),
        devices=device_time(connection),
        allocators=_rows(connection, "allocations", Allocator),
        framework_memory=_rows(connection, "framework_memory", FrameworkMemory),
        samples=_rows(connection, "samples", Sample),
        unavailable=_rows(connection, "unavailable", Unavailable),
        alignment=alignment,
    )


def _rows(connection: duckdb.DuckDBPyConnection, analysis: str, kind: type[T]) -> list[T]:
    return [convert(row, kind) for row in runner.run(connection, analysis)]


def _ledger(rows: Iterable[dict[str, Any]], whole: str) -> list[dict[str, Any]]:
    """Rows of one part each, gathered: one entry a (pass, epoch) with its parts."""
    entries: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        part, ns = row.pop("part"), row.pop("ns")
        entries.setdefault((row["pass_name"], row["epoch"]), row | {"parts_ns": {}})["parts_ns"][part] = ns
    for entry in entries.values():
        if sum(entry["parts_ns"].values()) != entry[whole]:
            raise AssertionError(f"parts do not sum to {whole}: {entry}")
    return list(entries.values())


def _top_operators(connection: duckdb.DuckDBPyConnection) -> list[Operator]:
    by_trace: dict[int, list[OperatorTime]] = defaultdict(list)
    for time in operator_times(connection):
        by_trace[time.trace].append(time)
    top = []
    for times in by_trace.values():
        whole = sum(time.self_ns for time in times)
        top += [Operator(**time._asdict(), share=time.self_ns / whole) for time in times[:TOP_OPERATORS] if whole]
    return top


def _profiler_cost(rows: list[dict[str, Any]]) -> ProfilerCost | None:
    return convert(rows[0], ProfilerCost) if rows else None


def _alignment_warnings(entry: Alignment) -> list[Caution]:
    found = []
    if entry.brackets == 0:
        found.append(
            ("no_alignment", 1, "The trace holds none of the worker's annotations, so its place in time is unproven.")
        )
    elif (entry.worst_violation_ns or 0) > ALIGNMENT_BOUND_NS:
        message = f"Annotations lie outside the worker's clock reads by up to {entry.worst_violation_ns} ns."
        found.append(("clock_violation", entry.violations, message))
    if entry.missing:
        found.append(
            ("missing_annotations", entry.missing, "Marks of the profiled window that the trace does not hold.")
        )
    return [
        Caution(trace=entry.trace, pass_name=entry.pass_name, code=code, count=count, message=message, untrusted=True)
        for code, count, message in found
    ]
