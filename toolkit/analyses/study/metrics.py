"""What the claims of studies are about: the metrics of comparisons, and those that only publications tell."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from toolkit.analyses.processes import METRICS, RESIDENT, Metric, Process
from toolkit.own_spec import TIME

POWER = ("power_instant", "power", "power_average")


def _train_time(process: Process) -> float | None:
    stages = [entry.ns for entry in process.summary.stages if (entry.pass_name, entry.stage) == (TIME, "train")]
    return float(stages[0]) if stages else None


def without_validation(process: Process) -> float | None:
    """All epochs less their validation, ns; None where no epoch was whole."""
    epochs = [entry for entry in process.summary.epochs if entry.pass_name == TIME and entry.complete]
    return float(sum(entry.wall_ns - entry.parts_ns.get("validation", 0) for entry in epochs)) if epochs else None


def _scalar(*names: str) -> Callable[[Process], float | None]:
    def of(process: Process) -> float | None:
        told = [entry.value for entry in process.summary.scalars if entry.pass_name == TIME and entry.name in names]
        return told[-1] if told else None

    return of


def steps_an_epoch(process: Process) -> int | None:
    """Training steps of its first epoch, in the unprofiled pass."""
    return next((entry.steps for entry in process.summary.training if entry.pass_name == TIME), None)


def loss_sum(process: Process) -> float | None:
    """The last epoch's mean training loss, added up over its steps, as a loop that never divides prints it."""
    mean, steps = _scalar("train_loss")(process), steps_an_epoch(process)
    return None if mean is None or steps is None else mean * steps


def sampled(process: Process, metric: str, figure: str = "mean") -> float | None:
    """The host's reading over the whole unprofiled pass: its `mean`, `least` or `most`."""
    return _readings(process, metric, figure).get(None)


def of_gpus(process: Process, metric: str, figure: str, together: Callable[[Iterable[float]], float]) -> float | None:
    """NVML's reading over the same pass, of the GPUs in use; None where there is none, or one of them tells none."""
    told = _readings(process, metric, figure)
    mine = [told.get(index) for index in process.gpu_indices]
    known = [value for value in mine if value is not None]
    return together(known) if known and len(known) == len(mine) else None


def _readings(process: Process, metric: str, figure: str) -> dict[str | None, float]:
    """By device: None is the host, and NVML's are all that it shows, in use or not."""
    entries = (entry for entry in process.summary.samples if entry.pass_name == TIME and entry.epoch is None)
    return {entry.device: float(getattr(entry, figure)) for entry in entries if entry.metric == metric}


def _of_all_processors(process: Process) -> float | None:
    share, processors = sampled(process, "cpu"), process.facts.get("cpus")
    return share / processors if share is not None and processors else None


def _of_memory(process: Process) -> float | None:
    resident, whole = sampled(process, RESIDENT, "most"), process.facts.get("memory_bytes")
    return 100 * resident / whole if resident is not None and whole else None


def _power(process: Process) -> float | None:
    return next((told for metric in POWER if (told := of_gpus(process, metric, "mean", sum)) is not None), None)


def _image_latency(process: Process) -> float | None:
    latency = METRICS["latency"].of(process)
    batches: Sequence[int] = [entry.batch for entry in process.summary.inference if entry.pass_name == TIME]
    return latency / min(batches) if latency is not None and batches else None


def _gap_alone(process: Process) -> float | None:
    """The gap in the middle, less the validation in it, which computes."""
    gaps = [gap.gap_ns - gap.parts_ns.get("validation", 0) for gap in process.summary.gaps if gap.pass_name == TIME]
    return float(median(gaps)) if gaps else None


CLAIMED: Mapping[str, Metric] = {
    **METRICS,
    "train_time": Metric("ns", "lower", "the stage of training: all epochs, validation included", _train_time),
    "train_time_alone": Metric("ns", "lower", "all epochs less their validation", without_validation),
    "epoch_gap_alone": Metric("ns", "lower", "median time between epochs, less the validation in it", _gap_alone),
    "accuracy_before": Metric("share", "higher", "of the test images, before training", _scalar("accuracy_before")),
    "accuracy": Metric("share", "higher", "of the test images, after training", _scalar("accuracy_after")),
    "loss": Metric("number", "lower", "of the last epoch's steps, the mean over samples", _scalar("train_loss")),
    "loss_sum": Metric("number", "lower", "that mean times the epoch's steps", loss_sum),
    "test_loss": Metric("number", "lower", "of the test images after the last epoch", _scalar("validation_loss")),
    "cpu_one_core": Metric("%", "lower", "mean processor time, of one core", lambda it: sampled(it, "cpu")),
    "cpu_all_cores": Metric("%", "lower", "the same, of all cores that it may use", _of_all_processors),
    "memory_share": Metric("%", "lower", "most resident memory of the worker, of the machine's", _of_memory),
    "image_latency": Metric("ns", "lower", "the median request of the smallest batch, an image", _image_latency),
    "power": Metric("mW", "lower", "mean power of the GPUs in use, together", _power),
}  # fmt: skip
