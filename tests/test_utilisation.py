"""Model FLOPs utilisation: by its usual definition, against a peak that has a source, or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.made_runs import made_run
from toolkit.analyses.device_peaks import _PEAKS, peak_of
from toolkit.analyses.processes import samples_per_s
from toolkit.analyses.summary import summarise
from toolkit.analyses.training import trainings
from toolkit.analyses.utilisation import Utilisation, Work, read, utilisations
from toolkit.clock import ClockPair
from toolkit.commands.digest import digest
from toolkit.ingest.store import StoreWriter, connect
from toolkit.reports import summary_json
from toolkit.reports.utilisation import utilisation_lines

S = 1_000_000_000
H200 = Work(forward_flops=10**9, on_gpu=True, device="NVIDIA H200", precision="bf16")


def mark(id_: int, kind: str, name: str, *span: int, **more: Any) -> dict[str, Any]:
    """A row of `marks` over (start, end) in seconds."""
    start, end = span
    row = {"pass_name": "time", "id": id_, "kind": kind, "name": name, "complete": True}
    return row | {"ts_ns": start * S, "dur_ns": (end - start) * S} | more


# Two steps in 4 s, and a request of 8 samples in 2 s.
MARKS = [
    mark(1, "epoch", "train", 0, 5, epoch=1),
    mark(2, "step", "train", 0, 2, parent=1, epoch=1, step=1),
    mark(3, "step", "train", 2, 4, parent=1, epoch=1, step=2),
    mark(4, "request", "8", 10, 12),
]


def found(
    folder: Path, work: Work | None, batch: int | None = 32, epoch_samples: int | None = None
) -> list[Utilisation]:
    """Of MARKS."""
    with StoreWriter(folder) as writer:
        writer.append_rows("marks", MARKS)
    with connect(folder) as connection:
        training = trainings(connection, batch=batch, epoch_samples=epoch_samples)
        return utilisations(connection, work, training, batch)


def test_training_counts_three_forward_passes_and_inference_one(tmp_path: Path) -> None:
    """Of 1 GFLOP a sample, 16 samples a second are 48 GFLOP/s trained, and 4 are 4 GFLOP/s inferred."""
    training, inference = found(tmp_path, H200)
    assert (training.samples_per_s, training.flops_per_s) == (16, 48e9)
    assert (inference.samples_per_s, inference.flops_per_s) == (4, 4e9)
    assert training.mfu == pytest.approx(48e9 / 989.5e12)
    assert training.peak_source == "NVIDIA H200 Tensor Core GPU data sheet, 2024"


def test_an_epoch_counts_the_samples_that_it_had(tmp_path: Path) -> None:
    """Where the last batch was a part of one, its samples count, not the batch's size."""
    (training, _) = found(tmp_path, H200, epoch_samples=40)
    with connect(tmp_path) as connection:
        told = trainings(connection, batch=32, epoch_samples=40)
        asked, unknown = trainings(connection, batch=32), trainings(connection)
    assert training.samples_per_s == samples_per_s(told) == 10
    assert (samples_per_s(asked), samples_per_s(unknown)) == (16, None)


def test_gpus_that_train_together_have_their_peaks_together(tmp_path: Path) -> None:
    """In training; requests go to one of them. A last layer that is trained alone adds its own gradients."""
    changed = {"devices": 2, "head_flops": 10**8}
    work = Work(**{name: getattr(H200, name) for name in H200.__struct_fields__} | changed)
    training, inference = found(tmp_path, work)
    assert training.flops_per_s == 16 * 1.1e9
    assert training.mfu == pytest.approx(16 * 1.1e9 / (2 * 989.5e12))
    assert inference.mfu == pytest.approx(4e9 / 989.5e12)
    assert "bf16 of 2 GPUs" in next(iter(utilisation_lines([training]))).plain


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"on_gpu": False, "device": "AMD EPYC"}, "a processor does not tell its peak"),
        ({"device": "NVIDIA B999"}, "no data sheet's peak is known of NVIDIA B999"),
        ({"device": None}, "no data sheet's peak is known of a device without a name"),
        ({"precision": "fp64"}, "NVIDIA H200's data sheet gives no peak of matrix products in fp64"),
        ({"device": "NVIDIA H200 MIG 1g.18gb"}, "no data sheet's peak is known of NVIDIA H200 MIG 1g.18gb"),
    ],
)
def test_an_unknown_peak_is_no_figure_but_a_reason(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    """FLOP/s are told all the same; the report says why there is no MFU."""
    work = Work(**{name: getattr(H200, name) for name in H200.__struct_fields__} | changed)
    entries = found(tmp_path, work)
    assert {(entry.mfu, entry.peak_flops_per_s, entry.peak_source) for entry in entries} == {(None, None, None)}
    assert all(entry.reason and entry.reason.startswith(reason) and entry.flops_per_s for entry in entries)
    assert all(f"no MFU: {reason}" in line.plain for line in utilisation_lines(entries))


def test_without_flops_nothing_is_said(tmp_path: Path) -> None:
    """A run whose worker wrote no description has no utilisation, and its summary stands."""
    assert read(tmp_path) is None
    assert found(tmp_path, None) == []
    with connect(tmp_path) as connection:
        assert summarise(connection).utilisation == []


def test_a_run_s_samples_are_those_that_its_worker_recorded(tmp_path: Path) -> None:
    """Where the dataset ends within a batch, the worker knows how many an epoch had."""
    made_run(tmp_path / "run", batch=32)
    raw = tmp_path / "run" / "raw" / "time"
    (raw / "facts.json").write_text(json.dumps({"train_samples": 40}))
    lines = [
        ["clock", *ClockPair(1_790_000_000 * S, 0)], ["mark", 1, None, "epoch", "train", 1, None, 0, 5 * S],
        ["mark", 2, 1, "step", "train", 1, 1, 0, 2 * S], ["mark", 3, 1, "step", "train", 1, 2, 2 * S, 4 * S],
    ]  # fmt: skip
    (raw / "worker.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    digest(tmp_path / "run")
    summary = summary_json.read(tmp_path / "run" / "summary.json")
    assert summary is not None
    assert [(epoch.steps, epoch.samples) for epoch in summary.training] == [(2, 40)]


@pytest.mark.parametrize(
    ("facts", "precision"),
    [
        ({"compute_dtype": "float32"}, "fp32"),
        ({"compute_dtype": "float32", "tf32_conv": True, "tf32_matmul": False}, "tf32"),
        ({"compute_dtype": "bfloat16", "tf32_matmul": True}, "bf16"),
    ],
)
def test_the_peak_is_that_of_the_fastest_arithmetic_allowed(
    tmp_path: Path, facts: dict[str, Any], precision: str
) -> None:
    """Where convolutions alone may take TF32, its peak is the ceiling."""
    layer = {"name": "a", "kind": "dense", "identity": "", "settings": {}, "tensors": {}, "fans": None, "flops": 7}
    told = {
        "version": 1,
        "framework": "torch",
        "model": "m",
        "mode": "matched",
        "sections": {},
        "layers": [layer, layer],
    }
    raw = tmp_path / "raw" / "time"
    raw.mkdir(parents=True)
    (raw / "description.json").write_text(json.dumps(told))
    (raw / "facts.json").write_text(json.dumps(facts | {"device": "cuda", "device_name": "Tesla T4"}))
    work = read(tmp_path)
    assert work is not None
    assert (work.forward_flops, work.device, work.precision) == (14, "Tesla T4", precision)


def test_every_peak_is_dense_plausible_and_has_a_dated_source() -> None:
    """Narrower arithmetic is no slower, bf16 at most twice TF32, and each entry names a document and its year."""
    for pattern, peak in _PEAKS:
        figures = [peak.flops_per_s[name] for name in ("fp32", "tf32", "bf16", "fp16") if name in peak.flops_per_s]
        assert figures == sorted(figures), pattern
        if "tf32" in peak.flops_per_s:
            assert peak.flops_per_s["bf16"] <= 2.02 * peak.flops_per_s["tf32"], pattern
        assert peak.source[-4:].isdigit(), pattern
        assert 2e11 < peak.bytes_per_s < 1e13, pattern


@pytest.mark.parametrize(
    ("name", "bf16"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12), ("A100-SXM4-40GB", 312e12), ("NVIDIA A10", 125e12), ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362.05e12), ("NVIDIA H100 80GB HBM3", 989.5e12), ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("AMD Instinct MI300X VF", 1307.4e12), ("NVIDIA A10G", None), ("NVIDIA GeForce RTX 4090 D", None),
    ],
)  # fmt: skip
def test_a_device_is_known_by_its_whole_name(name: str, bf16: float | None) -> None:
    """With and without the maker in front; a name that only begins alike is another device."""
    peak = peak_of(name)
    assert (peak and peak.flops_per_s["bf16"]) == bf16
