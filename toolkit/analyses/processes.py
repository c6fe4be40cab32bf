"""What one run, a process of its own, comes to: one value a metric, unprofiled, and what it ran on."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from toolkit.analyses import runner
from toolkit.analyses.steady_state import Steady, steady_state
from toolkit.analyses.summary import Summary
from toolkit.analyses.training import Training
from toolkit.capture import runs
from toolkit.capture.files import read_object
from toolkit.ingest.store import connect
from toolkit.own_spec import TIMED, Spec, timed_pass

Unit = Literal["ns", "B", "mJ", "samples/s", "images/J", "ratio", "share", "number", "%", "mW"]
RESIDENT, USED = "rss", "memory_used"


class Process(NamedTuple):
    """One run: what was asked, what it says, what it ran on, and its steps' durations, none compiled or profiled.

    `durations` are ns on the host with their share of the wait for the device; `gpus` are names of those in use, and
    `gpu_indices` the same as samples call them.
    """

    folder: Path
    spec: Spec
    summary: Summary
    device: str | None
    gpus: Sequence[str]
    gpu_indices: Sequence[str]
    facts: Mapping[str, Any]
    durations: Sequence[int]
    steady: Steady

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name


class Metric(NamedTuple):
    """What is measured of a process: its unit, what is better, in words, and how it is read; None: not told."""

    unit: Unit
    better: Literal["lower", "higher"]
    meaning: str
    of: Callable[[Process], float | None]


def read(folder: Path, summary: Summary) -> Process:
    """The process of a run folder that has a store."""
    with connect(folder) as connection:
        rows = [
            row
            for row in runner.run(connection, "step_series")
            if row["pass_name"] in TIMED and not row["compiled"] and not row["profiled"]
        ]
        in_use = connection.execute("SELECT pass_name, device FROM used_gpus ORDER BY device").fetchall()
    durations = [row["host_ns"] + row["wait_ns"] for row in rows]
    spec, launched = runs.spec_of(folder), read_object(folder / runs.LAUNCH)
    used = launched.get("gpus_used", [])
    return Process(
        folder=folder,
        spec=spec,
        summary=summary,
        device=runs.device_of(folder),
        gpus=sorted(gpu["name"] for gpu in launched.get("gpus", []) if gpu["uuid"] in used),
        gpu_indices=[index for pass_name, index in in_use if pass_name in TIMED],
        facts=read_object(folder / "raw" / timed_pass(spec) / runs.FACTS),
        durations=durations,
        steady=steady_state(durations),
    )


def unprofiled(summary: Summary) -> list[Training]:
    """The epochs whose training steps tell the throughput: unprofiled, after the first where there are more."""
    epochs = [entry for entry in summary.training if entry.pass_name in TIMED and not entry.profiled_steps]
    return [entry for entry in epochs if entry.epoch > 1] or epochs


def samples_per_s(training: Sequence[Training]) -> float | None:
    """Throughput of these epochs together; None where there is none, or the samples of one are not known."""
    samples, ns = [entry.samples for entry in training], sum(entry.ns for entry in training)
    known = [each for each in samples if each is not None]
    return sum(known) * 1e9 / ns if ns and len(known) == len(samples) else None


def step_ns(training: Sequence[Training]) -> int | None:
    """What a step of these epochs takes, the device waited for; None where there is none."""
    steps = sum(entry.steps for entry in training)
    return sum(entry.ns for entry in training) // steps if steps else None


def _step_time(process: Process) -> float | None:
    steady = process.durations[process.steady.warmup_steps or 0 :]
    return median(steady) if steady else None


def _epoch_time(process: Process) -> float | None:
    return _median([entry.wall_ns for entry in process.summary.epochs if _later(entry)])


def _first_epoch(process: Process) -> float | None:
    first = (entry for entry in process.summary.epochs if entry.pass_name in TIMED and entry.epoch == 1)
    return next((float(entry.wall_ns) for entry in first if entry.complete), None)


def _epoch_gap(process: Process) -> float | None:
    return _median([entry.gap_ns for entry in process.summary.gaps if entry.pass_name in TIMED])


def _throughput(process: Process) -> float | None:
    if process.spec.task == "infer":
        return _inference(process)
    return samples_per_s(unprofiled(process.summary))


def _peak_memory(process: Process) -> float | None:
    whole = [entry for entry in process.summary.samples if entry.pass_name in TIMED and entry.epoch is None]
    if process.device != "cuda":
        return next((entry.most for entry in whole if entry.metric == RESIDENT), None)
    before = {
        entry.device: entry.value
        for entry in process.summary.baseline
        if entry.pass_name in TIMED and entry.metric == USED
    }
    mine = before.keys() & set(process.gpu_indices)
    return max(
        (entry.most - before[entry.device] for entry in whole if entry.metric == USED and entry.device in mine),
        default=None,
    )


def of_allocators(figure: str) -> Callable[[Process], float | None]:
    """Reads the most of a figure of the framework's allocators, unprofiled."""

    def of(process: Process) -> float | None:
        rows = [getattr(entry, figure) for entry in process.summary.allocators if entry.pass_name in TIMED]
        return max((row for row in rows if row is not None), default=None)

    return of


def _energy(figure: str) -> Callable[[Process], float | None]:
    def of(process: Process) -> float | None:
        entries = [entry for entry in process.summary.efficiency if entry.pass_name in TIMED]
        entries = [entry for entry in entries if entry.epoch > 1] or entries
        told = [getattr(entry, figure) for entry in entries if getattr(entry, figure) is not None]
        return median(told) if told and len(told) == len(entries) else None

    return of


def _latency(process: Process) -> float | None:
    requests = [entry for entry in process.summary.inference if entry.pass_name in TIMED]
    return float(min(requests, key=lambda entry: entry.batch).p50_ns) if requests else None


def _inference(process: Process) -> float | None:
    return max((entry.samples_per_s for entry in process.summary.inference if entry.pass_name in TIMED), default=None)


def _profiler_cost(process: Process) -> float | None:
    cost = process.summary.profiler_cost
    return cost.ratio if cost else None


def _later(entry: Any) -> bool:
    return bool(entry.pass_name in TIMED and entry.complete and entry.epoch > 1)


def _median(values: Sequence[int]) -> float | None:
    return float(median(values)) if values else None


METRICS: Mapping[str, Metric] = {
    "step_time": Metric("ns", "lower", "median step after warming up, its share of waits included", _step_time),
    "throughput": Metric(
        "samples/s",
        "higher",
        "of whole epochs after the first; of inference, at the median request",
        _throughput,
    ),
    "epoch_time": Metric("ns", "lower", "median epoch after the first, validation included", _epoch_time),
    "first_epoch": Metric("ns", "lower", "epoch 1", _first_epoch),
    "epoch_gap": Metric("ns", "lower", "median time between epochs", _epoch_gap),
    "peak_memory": Metric(
        "B", "lower", "most on the fullest GPU in use less what was before; else resident", _peak_memory
    ),
    "allocated_memory": Metric(
        "B", "lower", "most in use by the framework's allocator", of_allocators("peak_in_use_bytes")
    ),
    "reserved_memory": Metric("B", "lower", "most reserved by the allocator", of_allocators("peak_reserved_bytes")),
    "energy": Metric("mJ", "lower", "of a training step, on the GPUs in use", _energy("step_mj")),
    "images_per_joule": Metric("images/J", "higher", "of training, on the GPUs in use", _energy("images_per_joule")),
    "latency": Metric("ns", "lower", "median inference request of the smallest batch", _latency),
    "inference": Metric("samples/s", "higher", "inference at the batch that gives most", _inference),
    "profiler_cost": Metric("ratio", "lower", "a step under the profiler by one without", _profiler_cost),
}
