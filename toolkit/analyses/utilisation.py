"""Model FLOPs utilisation (MFU): what the model's arithmetic comes to a second, over what the device could do at most.

By the definition of PaLM (Chowdhery et al. 2022, appendix B): the FLOPs that the model needs, throughput times those of
one sample, whatever the framework really computed; so nothing that is computed twice counts. Forward and backward are
three times the forward pass, inference is one. The forward pass's are those of convolutions and matrix products, by the
description that the worker wrote of what ran.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from msgspec import Struct

from toolkit.analyses import runner
from toolkit.analyses.device_peaks import peak_of
from toolkit.analyses.differences import of_run
from toolkit.errors import HwprofError
from toolkit.spec import PASSES

TRAINING, INFERENCE = "training", "inference"
# Of one sample, in forward passes.
PASSES_OF = {TRAINING: 3, INFERENCE: 1}
_NAMES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float64": "fp64"}


class Work(Struct, frozen=True, kw_only=True):
    """What a run computed, and on what: FLOPs of one sample's forward pass, samples of an epoch, device, precision.

    `device` is the name that the framework gave a GPU, else the processor's model; null where neither tells.
    """

    forward_flops: int
    epoch_samples: int | None
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

    `sample_flops` are the model's FLOPs for a sample: three forward passes in training, one in inference. `mfu` is null
    where the device's peak at that precision is not known; `reason` then says so.
    """

    pass_name: str
    what: str
    epoch: int | None
    batch: int
    samples_per_s: float
    sample_flops: int
    flops_per_s: float
    device: str | None
    precision: str
    peak_flops_per_s: int | None
    peak_source: str | None
    mfu: float | None
    reason: str | None


def read(folder: Path) -> Work | None:
    """What a run's worker recorded; None where it ended before that, or counts no FLOPs."""
    try:
        forward_flops = sum(layer.flops for layer in of_run(folder).layers)
    except HwprofError:
        return None
    facts = next((found for name in PASSES if (found := _facts(folder / "raw" / name / "facts.json"))), None)
    if not forward_flops or facts is None:
        return None
    on_gpu = facts.get("device") == "cuda"
    return Work(
        forward_flops=forward_flops,
        epoch_samples=facts.get("train_samples"),
        on_gpu=on_gpu,
        device=facts.get("device_name") if on_gpu else facts.get("cpu"),
        precision=_precision(facts),
    )


def utilisations(connection: duckdb.DuckDBPyConnection, work: Work | None, batch: int | None) -> list[Utilisation]:
    """Of each whole epoch and each batch size of inference, in each pass; none where `work` is not known."""
    return [] if work is None else [*_training(connection, work, batch), *_inference(connection, work)]


def _training(connection: duckdb.DuckDBPyConnection, work: Work, batch: int | None) -> Iterator[Utilisation]:
    for row in runner.run(connection, "training") if batch else ():
        # an epoch's last batch may be a part of one
        samples = work.epoch_samples or row["steps"] * batch
        if row["ns"]:
            found = _Throughput(row["pass_name"], TRAINING, row["epoch"], batch or 0, samples * 1e9 / row["ns"])
            yield _utilisation(work, found)


def _inference(connection: duckdb.DuckDBPyConnection, work: Work) -> Iterator[Utilisation]:
    for row in runner.run(connection, "inference"):
        yield _utilisation(work, _Throughput(row["pass_name"], INFERENCE, None, row["batch"], row["samples_per_s"]))


def _utilisation(work: Work, found: _Throughput) -> Utilisation:
    sample_flops = PASSES_OF[found.what] * work.forward_flops
    peak = peak_of(work.device) if work.on_gpu else None
    most = peak.flops_per_s.get(work.precision) if peak else None
    return Utilisation(
        **found._asdict(),
        sample_flops=sample_flops,
        flops_per_s=found.samples_per_s * sample_flops,
        device=work.device,
        precision=work.precision,
        peak_flops_per_s=most,
        peak_source=peak.source if peak and most else None,
        mfu=found.samples_per_s * sample_flops / most if most else None,
        reason=None if most else _reason(work, known=peak is not None),
    )


def _reason(work: Work, *, known: bool) -> str:
    if not work.on_gpu:
        return "a processor does not tell its peak, which follows from clocks and units under load"
    if known:
        return f"{work.device}'s data sheet gives no peak of matrix products in {work.precision}"
    return f"no data sheet's peak is known of {work.device or 'a device without a name'}"


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _precision(facts: dict[str, Any]) -> str:
    """Of the arithmetic; TF32 where products or convolutions may take it, for then that is the ceiling."""
    told = str(facts.get("compute_dtype"))
    if told == "float32" and (facts.get("tf32_matmul") or facts.get("tf32_conv")):
        return "tf32"
    return _NAMES.get(told, told)
