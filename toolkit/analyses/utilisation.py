"""Model FLOPs utilisation (MFU): what the model's arithmetic comes to a second, over what the device could do at most.

By the definition of PaLM (Chowdhery et al. 2022, appendix B): the FLOPs that the model needs, throughput times those of
one sample, whatever the framework really computed; so nothing that is computed twice counts. Forward and backward are
three times the forward pass, inference is one; where the last layer alone is trained, it is one and that layer's
gradients. The forward pass's are those of convolutions and matrix products, by the description that the worker wrote of
what ran.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from msgspec import Struct

from toolkit.analyses import runner
from toolkit.analyses.device_peaks import peak_of
from toolkit.analyses.differences import of_run
from toolkit.analyses.training import Training
from toolkit.capture import runs
from toolkit.errors import HwprofError

TRAINING, INFERENCE = "training", "inference"
# Of one sample, in forward passes where all is trained.
TRAINING_PASSES = 3
_NAMES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float64": "fp64"}


class Work(Struct, frozen=True, kw_only=True):
    """What a run computed, and on what: FLOPs of one sample's forward pass, device, precision.

    `device` is the name that the framework gave a GPU, else the processor's model; null where neither tells.
    `head_flops` are those of the last layer where that alone is trained, `devices` how many GPUs train together.
    """

    forward_flops: int
    head_flops: int | None = None
    devices: int = 1
    on_gpu: bool
    device: str | None
    precision: str


class _Throughput(NamedTuple):
    pass_name: str
    what: str
    epoch: int | None
    batch: int
    samples_per_s: float


class Utilisation(Struct, frozen=True, kw_only=True):
    """Of an epoch's training steps, or of inference at one batch size (`epoch` null), host memory to host memory.

    `sample_flops` are the model's FLOPs for a sample, as `counted` says. `peak_flops_per_s` is that of all `devices`
    together. `mfu` is null where a device's peak at that precision is not known; `reason` then says so.
    """

    pass_name: str
    what: str
    epoch: int | None
    batch: int
    samples_per_s: float
    sample_flops: int
    counted: str
    flops_per_s: float
    device: str | None
    devices: int
    precision: str
    peak_flops_per_s: int | None
    peak_source: str | None
    mfu: float | None
    reason: str | None


def read(folder: Path) -> Work | None:
    """What a run's worker recorded; None where it ended before that, or counts no FLOPs."""
    try:
        flops = [layer.flops for layer in of_run(folder).layers]
    except HwprofError:
        return None
    facts = runs.facts_of(folder)
    if not any(flops) or not facts:
        return None
    on_gpu = facts.get("device") == "cuda"
    head_alone = facts.get("parameters_trained", facts.get("parameters")) != facts.get("parameters")
    return Work(
        forward_flops=sum(flops),
        head_flops=[each for each in flops if each][-1] if head_alone else None,
        devices=(facts.get("replicas") or {}).get("replicas", 1) if on_gpu else 1,
        on_gpu=on_gpu,
        device=facts.get("device_name") if on_gpu else facts.get("cpu"),
        precision=_precision(facts),
    )


def utilisations(
    connection: duckdb.DuckDBPyConnection, work: Work | None, trainings: Iterable[Training], batch: int | None
) -> list[Utilisation]:
    """Of each whole epoch and each batch size of inference, in each pass; none where `work` is not known."""
    return [] if work is None else [*_training(work, trainings, batch), *_inference(connection, work)]


def _training(work: Work, trainings: Iterable[Training], batch: int | None) -> Iterator[Utilisation]:
    for epoch in trainings if batch else ():
        if epoch.ns and epoch.samples:
            rate = epoch.samples * 1e9 / epoch.ns
            yield _utilisation(work, _Throughput(epoch.pass_name, TRAINING, epoch.epoch, batch or 0, rate))


def _inference(connection: duckdb.DuckDBPyConnection, work: Work) -> Iterator[Utilisation]:
    for row in runner.run(connection, "inference"):
        yield _utilisation(work, _Throughput(row["pass_name"], INFERENCE, None, row["batch"], row["samples_per_s"]))


def _utilisation(work: Work, found: _Throughput) -> Utilisation:
    sample_flops, counted = _sample_flops(work, found.what)
    devices = work.devices if found.what == TRAINING else 1
    peak = peak_of(work.device) if work.on_gpu else None
    one = peak.flops_per_s.get(work.precision) if peak else None
    most = one * devices if one else None
    return Utilisation(
        **found._asdict(),
        sample_flops=sample_flops,
        counted=counted,
        flops_per_s=found.samples_per_s * sample_flops,
        device=work.device,
        devices=devices,
        precision=work.precision,
        peak_flops_per_s=most,
        peak_source=peak.source if peak and most else None,
        mfu=found.samples_per_s * sample_flops / most if most else None,
        reason=None if most else _reason(work, known=peak is not None),
    )


def _sample_flops(work: Work, what: str) -> tuple[int, str]:
    """What the model needs for a sample, and how that is counted."""
    if what == INFERENCE:
        return work.forward_flops, "forward"
    if work.head_flops is None:
        return TRAINING_PASSES * work.forward_flops, f"{TRAINING_PASSES} × forward"
    return work.forward_flops + work.head_flops, "forward and the last layer's gradients"


def _reason(work: Work, *, known: bool) -> str:
    if not work.on_gpu:
        return "a processor does not tell its peak, which follows from clocks and units under load"
    if known:
        return f"{work.device}'s data sheet gives no peak of matrix products in {work.precision}"
    return f"no data sheet's peak is known of {work.device or 'a device without a name'}"


def _precision(facts: dict[str, Any]) -> str:
    """Of the arithmetic; TF32 where products or convolutions may take it, for then that is the ceiling."""
    told = str(facts.get("compute_dtype"))
    if told == "float32" and (facts.get("tf32_matmul") or facts.get("tf32_conv")):
        return "tf32"
    return _NAMES.get(told, told)
