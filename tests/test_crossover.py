"""A processor beside a GPU in inference: where the GPU overtakes, with an interval that covers the truth."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs
from rich.console import Console

from tests.commands import Answer, hwprof
from tests.made_runs import made_run
from toolkit.analyses.crossover import Crossover, crossover
from toolkit.analyses.summary import Latency, Summary, Unavailable
from toolkit.reports.crossover import sentence
from toolkit.reports.summary_json import encode, read

MS = 1_000_000
BATCHES = (1, 2, 4, 8, 16, 32)
GPU = {"uuid": "GPU-1", "name": "NVIDIA H200", "number": 0}
Side = dict[int, list[float]]


def flat(times: dict[int, float], processes: int = 3) -> Side:
    """Latencies by batch, ms -> ns, all but the same in so many processes."""
    return {batch: [ms * MS * (1 + 0.001 * number) for number in range(processes)] for batch, ms in times.items()}


def found(cpu: dict[int, float], gpu: dict[int, float], processes: int = 3) -> Crossover:
    """Of such latencies."""
    return crossover(flat(cpu, processes), flat(gpu, processes), transfer=True)


def test_the_crossover_is_the_least_batch_from_which_on_the_gpu_is_faster() -> None:
    """Between it and the batch before it lies the truth; clear ratios pin it to one batch measured."""
    one = found({1: 1, 4: 3, 16: 12, 64: 50}, {1: 5, 4: 5, 16: 6, 64: 9})
    assert (one.outcome, one.batch, one.after, one.low, one.high) == ("crossover", 16, 4, 16, 16)
    assert sentence(one).startswith("From batch 16 on the GPU is faster; the crossover lies above 4 (95% interval")
    last = one.points[-1]
    assert (last.faster, last.gpu_samples_per_s) == ("lower", pytest.approx(64 / 0.009009))


@pytest.mark.parametrize(
    ("gpu", "outcome", "batch", "said"),
    [
        ({1: 0.5, 8: 1}, "gpu faster throughout", 1, "The GPU is faster at every batch measured, from 1 to 8"),
        ({1: 5, 8: 9}, "processor faster throughout", None, "No crossover: the processor is as fast at every batch"),
        (
            {1: 0.5, 8: 9},
            "processor faster at the largest batch",
            None,
            "No crossover: the processor is as fast at the",
        ),
        ({4: 1}, "nothing to compare", None, "No batch size was timed on both."),
    ],
)
def test_no_crossover_is_a_result(gpu: dict[int, float], outcome: str, batch: int | None, said: str) -> None:
    """Always faster, never, not from any batch on, and no batch in common: each is said in a sentence."""
    one = found({1: 1, 8: 8}, gpu)
    assert (one.outcome, one.batch) == (outcome, batch)
    assert sentence(one).startswith(said)


def test_what_the_ratios_leave_open_is_open() -> None:
    """Where no batch is shown to be faster on the GPU, there is no upper end; where all are slower, no interval."""
    noisy = {8: [1.0 * MS, 2.0 * MS, 0.5 * MS]}
    one = crossover(flat({1: 1}) | noisy, flat({1: 2}) | noisy, transfer=True)
    assert (one.low, one.high) == (8, None)
    never = found({1: 1, 8: 8}, {1: 5, 8: 90})
    assert (never.low, never.high) == (None, None)
    assert "interval: beyond the largest batch" in sentence(never)


def test_fewer_than_three_processes_have_no_interval() -> None:
    """The estimate stands, and the sentence says what an interval takes."""
    one = found({1: 1, 8: 8}, {1: 5, 8: 2}, processes=2)
    assert (one.batch, one.low, one.high, one.level) == (8, None, None, None)
    assert "no interval: it takes 3 runs on each" in sentence(one)


@pytest.mark.parametrize(("start_ms", "truth"), [(8.0, 8), (16.5, 32), (15.5, 16), (2.5, 2)])
def test_the_interval_covers_the_truth(start_ms: float, truth: int) -> None:
    """Of 200 experiments of five noisy processes a side, at least nine in ten hold the true batch, near ties too.

    On the processor a batch takes 1 ms and 1 ms a sample; on the GPU `start_ms` and 0.05 ms a sample.
    """
    assert min(batch for batch in BATCHES if 1 + batch > start_ms + 0.05 * batch) == truth
    draw = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        cpu, gpu = (
            {batch: list(ms(batch) * MS * draw.lognormal(0, 0.1, 5)) for batch in BATCHES}
            for ms in (lambda batch: 1.0 + batch, lambda batch: start_ms + 0.05 * batch)
        )
        one = crossover(cpu, gpu, transfer=True)
        covered += (one.low is not None and one.low <= truth) and (one.high is None or truth <= one.high)
    assert covered >= 180


def latency(batch: int, ms: float) -> Latency:
    """Requests that all take so long, half of it without the transfer."""
    whole, resident = round(ms * MS), round(ms * MS / 2)
    return Latency(
        pass_name="time", batch=batch, requests=10, p50_ns=whole, p90_ns=whole, p99_ns=whole, worst_ns=whole,
        samples_per_s=batch * 1e9 / whole, resident_requests=10, resident_p50_ns=resident, resident_p90_ns=resident,
        resident_p99_ns=resident, resident_worst_ns=resident, resident_samples_per_s=batch * 1e9 / resident,
    )  # fmt: skip


def summary_of(folder: Path) -> Summary:
    """That of a run folder."""
    summary = read(folder / "summary.json")
    assert summary is not None
    return summary


def on_gpu(folder: Path) -> None:
    """Makes it a run on a GPU."""
    launch = json.loads((folder / "raw" / "launch.json").read_text())
    told = launch | {"device": "cuda", "gpus": [GPU], "gpus_used": ["GPU-1"]}
    (folder / "raw" / "launch.json").write_text(json.dumps(told))


def infers(folder: Path, times: dict[int, float], *, gpu: bool, lacking: str = "", **settings: Any) -> Path:
    """A made run of inference; `lacking`: why batch 32 did not fit."""
    made_run(folder, task="infer", infer_batches=(1, 8, 32), **settings)
    missing = Unavailable(
        pass_name="time", source="inference", device=None, metric="batch 32", reason=lacking, since_ns=None
    )
    summary = structs.replace(
        summary_of(folder),
        inference=[latency(batch, ms) for batch, ms in times.items()],
        unavailable=[missing] if lacking else [],
    )
    (folder / "summary.json").write_text(encode(summary))
    if gpu:
        on_gpu(folder)
    return folder


def asked(*arguments: str | Path) -> Answer:
    """`hwprof crossover` with these."""
    return hwprof("crossover", *arguments)


def test_a_batch_that_ran_out_of_memory_is_named(tmp_path: Path) -> None:
    """The others decide; the table has the processor's figure, and the reason stands below."""
    cpu = infers(tmp_path / "a", {1: 2, 8: 9, 32: 30}, gpu=False)
    gpu = infers(tmp_path / "b", {1: 4, 8: 5}, gpu=True, lacking="out of memory: 3 GiB asked for")
    done = asked(gpu, cpu)
    assert done.returncode == 0, done.stderr
    assert "batch 32 on the GPU: out of memory: 3 GiB asked for" in done.stdout
    told = json.loads(asked(cpu, gpu, "--json").stdout)
    assert [one["batch"] for one in told["crossovers"]] == [8, 8]
    assert [one["transfer"] for one in told["crossovers"]] == [True, False]
    assert told["crossovers"][1]["points"][0]["cpu_ns"]["estimate"] == MS


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ({"gpu": False}, {"gpu": False}, "These are runs on cpu and cpu."),
        ({"gpu": False}, {"gpu": True, "precision": "bf16"}, "The sides differ in precision"),
        (
            {"gpu": False, "framework": "tf", "mode": "as-shipped"},
            {"gpu": True, "mode": "as-shipped"},
            "different programs: framework",
        ),
    ],
)
def test_what_is_no_such_pair_is_refused(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], problem: str
) -> None:
    """One device twice, another precision, another framework: exit code 2 and one line."""
    done = asked(infers(tmp_path / "a", {1: 2}, **first), infers(tmp_path / "b", {1: 1}, **second))
    assert done.returncode == 2
    assert problem in done.stderr


@pytest.mark.e2e
def test_a_real_run_on_the_processor_stands_beside_one_on_a_gpu(tmp_path: Path) -> None:
    """It is held to a copy of itself that says it ran on a GPU, twice as fast at batch 4 and half as fast at 1."""
    few = {"framework": "torch", "model": "cifar_cnn", "task": "infer", "infer_batches": "1,4", "infer_repeats": "3"}
    more = {"passes": "time", "device": "cpu", "runtime": "local", "threads": "1"}
    settings = [text for name, value in (few | more).items() for text in ("--set", f"{name}={value}")]
    run = [Path(sys.executable).parent / "hwprof", "run", "--runs", tmp_path, *settings]
    subprocess.run(run, check=True, capture_output=True)
    (cpu,) = tmp_path.iterdir()
    gpu = tmp_path / "gpu"
    subprocess.run(["cp", "-r", cpu, gpu], check=True)
    summary = summary_of(gpu)
    factors = {1: 2.0, 4: 0.5}
    scaled = [structs.replace(one, p50_ns=round(one.p50_ns * factors[one.batch])) for one in summary.inference]
    (gpu / "summary.json").write_text(encode(structs.replace(summary, inference=scaled)))
    on_gpu(gpu)
    done = asked(cpu, gpu, "--json")
    assert done.returncode == 0, done.stderr
    with_transfer, without = msgspec.json.decode(done.stdout)["crossovers"]
    assert (with_transfer["outcome"], with_transfer["batch"], with_transfer["after"]) == ("crossover", 4, 1)
    assert [point["batch"] for point in without["points"]] == [1, 4]
    console = Console(width=120, record=True)
    console.print(asked(cpu, gpu).stdout)
    assert "From batch 4 on the GPU is faster" in console.export_text()
