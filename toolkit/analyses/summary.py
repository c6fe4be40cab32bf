"""Everything that the analyses say of one run, as one typed object: what summary.json holds and every report draws."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

import duckdb
from msgspec import Meta, Struct, convert, structs

from toolkit.analyses import runner
from toolkit.analyses.allocator_memory import AllocatorMemory, allocator_memory
from toolkit.analyses.category_energy import CategoryEnergy, category_energies
from toolkit.analyses.cautions import Alignment, Caution, cautions
from toolkit.analyses.efficiency import Efficiency, efficiencies
from toolkit.analyses.energy import Energy, energies
from toolkit.analyses.findings import Finding
from toolkit.analyses.ledger_devices import FetchInCompute, LedgerDevice, fetches_in_compute, ledger_devices
from toolkit.analyses.matched import Matched
from toolkit.analyses.run_findings import diagnosis
from toolkit.analyses.runtime import Runtime
from toolkit.analyses.stack_windows import StackWindow, stack_windows
from toolkit.analyses.traces import TraceAnalysis, analyse
from toolkit.analyses.training import Training, trainings
from toolkit.analyses.utilisation import Utilisation, Work, utilisations

SCHEMA = 1
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


class OtherParts(Struct, frozen=True, kw_only=True):
    """What an epoch's `other` holds: the two sum to it exactly."""

    pass_name: str
    epoch: int
    inside_ns: Ns
    between_ns: Ns


class DataWait(Struct, frozen=True, kw_only=True):
    """Where an epoch's `data_wait` lies: in its steps, or around them, where the pipeline starts and ends."""

    pass_name: str
    epoch: int
    in_steps_ns: Ns
    around_ns: Ns


class Gap(Struct, frozen=True, kw_only=True):
    """From `epoch`'s last training step, done, to the first of the next: `parts_ns` sums to `gap_ns` exactly."""

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
    """Training steps of one epoch, or of all (`epoch` null); steps that compiled stand apart.

    So do those in the profiler's window, `profiled_steps`, of a pass that is not profiled otherwise.
    """

    pass_name: str
    epoch: int | None
    steps: int
    compiled_steps: int
    profiled_steps: int
    median_ns: MaybeNs
    p10_ns: MaybeNs
    p90_ns: MaybeNs


class ProfilerCost(Struct, frozen=True, kw_only=True):
    """A step under the profiler over a step without it, waits for the device shared out; the profiled window's own."""

    time_median_ns: Ns
    profile_median_ns: Ns
    ratio: float


class Latency(Struct, frozen=True, kw_only=True):
    """Inference requests of one batch size, host memory to host memory.

    `resident`: those whose input and answer stay on the device, so without the transfer; null where none were timed.
    """

    pass_name: str
    batch: int
    requests: int
    p50_ns: Ns
    p90_ns: Ns
    p99_ns: Ns
    worst_ns: Ns
    samples_per_s: float
    resident_requests: int
    resident_p50_ns: MaybeNs
    resident_p90_ns: MaybeNs
    resident_p99_ns: MaybeNs
    resident_worst_ns: MaybeNs
    resident_samples_per_s: float | None


class CompiledStep(Struct, frozen=True, kw_only=True):
    """A training step that traced or compiled a graph; `usual_ns` is the median of those of its pass that did not."""

    pass_name: str
    epoch: int
    step: int
    ns: Ns
    usual_ns: MaybeNs


class Resident(Struct, frozen=True, kw_only=True):
    """What the worker had resident in the host's memory when an epoch ended."""

    pass_name: str
    epoch: int
    bytes: int


class Scalar(Struct, frozen=True, kw_only=True):
    """A loss (mean over samples) or an accuracy (0 to 1); null where it was no number, as when training diverges."""

    pass_name: str
    epoch: int
    name: str
    value: float | None


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


class Baseline(Struct, frozen=True, kw_only=True):
    """What a GPU read before the worker started."""

    pass_name: str
    device: str
    metric: str
    unit: str
    value: float


class IdlePower(Struct, frozen=True, kw_only=True):
    """What a GPU drew before the worker started, with whatever else was running."""

    pass_name: str
    device: str
    metric: str
    readings: int
    mean_mw: float
    least_mw: float
    most_mw: float


class Throttling(Struct, frozen=True, kw_only=True):
    """A reason why a GPU's clocks were held down, and the share of readings in which it held."""

    pass_name: str
    device: str
    reason: str
    readings: int
    share: float


class Unavailable(Struct, frozen=True, kw_only=True):
    """What could not be had, and why; from a moment on, where it had been told before."""

    pass_name: str
    source: str
    device: str | None
    metric: str
    reason: str
    since_ns: MaybeNs


class Summary(Struct, frozen=True, kw_only=True):
    """All figures of one run. Unknown is null, with its reason in `unavailable`."""

    schema: int
    runtime: Runtime | None
    matched: Matched | None
    trusted: bool
    warnings: list[Caution]
    findings: list[Finding]
    profiler_cost: ProfilerCost | None
    stages: list[Stage]
    epochs: list[Epoch]
    other_parts: list[OtherParts]
    data_waits: list[DataWait]
    gaps: list[Gap]
    ledger_devices: list[LedgerDevice]
    fetches_in_compute: list[FetchInCompute]
    training: list[Training]
    steps: list[Steps]
    compiled_steps: list[CompiledStep]
    inference: list[Latency]
    utilisation: list[Utilisation]
    scalars: list[Scalar]
    traces: list[TraceAnalysis]
    allocators: list[AllocatorMemory]
    stacks: list[StackWindow]
    framework_memory: list[FrameworkMemory]
    resident: list[Resident]
    samples: list[Sample]
    baseline: list[Baseline]
    idle_power: list[IdlePower]
    energy: list[Energy]
    efficiency: list[Efficiency]
    category_energy: list[CategoryEnergy]
    throttling: list[Throttling]
    unavailable: list[Unavailable]
    alignment: list[Alignment]


# Parts of the summary that are the rows of the analysis of their name.
AS_THEY_ARE: Mapping[str, type[Struct]] = {
    "stages": Stage,
    "other_parts": OtherParts,
    "data_waits": DataWait,
    "compiled_steps": CompiledStep,
    "inference": Latency,
    "scalars": Scalar,
    "framework_memory": FrameworkMemory,
    "resident": Resident,
    "samples": Sample,
    "baseline": Baseline,
    "idle_power": IdlePower,
    "throttling": Throttling,
    "unavailable": Unavailable,
    "alignment": Alignment,
}


def summarise(  # noqa: PLR0913 - by keyword, each what a store does not hold
    connection: duckdb.DuckDBPyConnection,
    *,
    runtime: Runtime | None = None,
    matched: Matched | None = None,
    batch: int | None = None,
    epoch_samples: int | None = None,
    work: Work | None = None,
) -> Summary:
    """Runs every analysis over a run's store, of `batch` samples a step. Asserts that each ledger sums to its whole.

    `epoch_samples` are those of an epoch and `work` what the run computed, where its worker recorded them.
    """
    warnings = cautions(connection)
    training = trainings(connection, batch=batch, epoch_samples=epoch_samples)
    energy = energies(connection)
    summary = Summary(
        schema=SCHEMA,
        runtime=runtime,
        matched=matched,
        trusted=not any(warning.untrusted for warning in warnings),
        warnings=warnings,
        findings=[],
        profiler_cost=_profiler_cost(runner.run(connection, "profiler_cost")),
        epochs=[convert(row, Epoch) for row in _ledger(runner.run(connection, "epoch_ledger"), "wall_ns")],
        gaps=[convert(row, Gap) for row in _ledger(runner.run(connection, "epoch_gaps"), "gap_ns")],
        ledger_devices=ledger_devices(connection),
        fetches_in_compute=fetches_in_compute(connection),
        steps=_rows(connection, "step_times", Steps),
        training=training,
        utilisation=utilisations(connection, work, training, batch),
        traces=analyse(connection),
        allocators=allocator_memory(connection),
        stacks=stack_windows(connection),
        # Of thousands of short steps no sensor tells one; a step that has a figure is long.
        energy=[entry for entry in energy if entry.told or entry.kind != "step"],
        efficiency=efficiencies(connection, energy, training),
        category_energy=category_energies(connection),
        **_as_they_are(connection),
    )
    return structs.replace(summary, findings=diagnosis(summary))


def _rows(connection: duckdb.DuckDBPyConnection, analysis: str, kind: type[T]) -> list[T]:
    return [convert(row, kind) for row in runner.run(connection, analysis)]


def _as_they_are(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    return {name: _rows(connection, name, kind) for name, kind in AS_THEY_ARE.items()}


def _ledger(rows: Iterable[dict[str, Any]], whole: str) -> list[dict[str, Any]]:
    """Rows of one part each, gathered: one entry a (pass, epoch) with its parts."""
    entries: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        part, ns = row.pop("part"), row.pop("ns")
        entries.setdefault((row["pass_name"], row["epoch"]), row | {"parts_ns": {}})["parts_ns"][part] = ns
    for entry in entries.values():
        if sum(entry["parts_ns"].values()) != entry[whole] or min(entry["parts_ns"].values()) < 0:
            raise AssertionError(f"parts do not make up {whole}: {entry}")
    return list(entries.values())


def _profiler_cost(rows: list[dict[str, Any]]) -> ProfilerCost | None:
    return convert(rows[0], ProfilerCost) if rows else None
