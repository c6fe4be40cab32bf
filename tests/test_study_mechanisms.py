"""What studies read off the processes of two sides: figures of the GPUs in use, and parts that sum to their whole."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import structs

from tests.made_runs import made_run
from toolkit.analyses.processes import Process, read
from toolkit.analyses.study.mechanism_rows import Mechanism
from toolkit.analyses.study.metrics import CLAIMED
from toolkit.analyses.study.resource_mechanisms import loss, percentages, power
from toolkit.analyses.study.time_mechanisms import between_epochs, tracing
from toolkit.analyses.summary import Gap, Latency, Sample, Scalar
from toolkit.commands.sides import summary_of
from toolkit.ingest.store import StoreWriter

Rows = dict[str, tuple[float | None, float | None]]
# Readings of GPUs 0 and 1 by metric: 0 is idle.
READ = {"power": (60_000.0, 300_000.0), "utilisation": (0.0, 90.0), "memory_used": (1e6, 9e6)}


@pytest.fixture
def process(tmp_path: Path) -> Process:
    """Of a run on a processor."""
    folder = made_run(tmp_path / "run")
    return read(folder, summary_of(folder))


def on_gpus(process: Process, *in_use: str, told: Sequence[str] = ("0", "1")) -> Process:
    """The process on a machine with two GPUs, of which it uses some, where the driver tells the readings of `told`."""
    samples = [
        Sample(pass_name="time", epoch=None, source="nvml", device=index, metric=metric, unit="", readings=9,
               mean=values[int(index)], least=values[int(index)], most=values[int(index)])
        for metric, values in READ.items() for index in told
    ]  # fmt: skip
    summary = structs.replace(process.summary, samples=[*process.summary.samples, *samples])
    return process._replace(summary=summary, gpu_indices=in_use)


def rows_of(told: Mechanism | None) -> Rows:
    """Its rows by name."""
    assert told
    return {row.what: (row.a, row.b) for row in told.rows}


def test_a_process_knows_the_gpus_that_it_was_given(tmp_path: Path) -> None:
    """As samples call them: not what else the driver shows, and each once however many passes there were."""
    folder = made_run(tmp_path / "run")
    gpus = [
        {"pass_name": pass_name, "device": index, "used": index == "1"}
        for pass_name in ("time", "profile") for index in ("0", "1")
    ]  # fmt: skip
    with StoreWriter(folder) as writer:
        writer.append_rows("gpus", gpus)
    assert read(folder, summary_of(folder)).gpu_indices == ["1"]


def test_power_is_of_the_gpus_in_use(process: Process) -> None:
    """Of the second alone where the first idles, of both together, and none on the processor or where one is silent."""
    watts = CLAIMED["power"].of
    assert watts(on_gpus(process, "1")) == 300_000
    assert watts(on_gpus(process, "0", "1")) == 360_000
    assert watts(on_gpus(process)) is None
    assert watts(on_gpus(process, "0", "1", told=("0",))) is None


def test_memory_and_utilisation_are_of_the_gpus_in_use(process: Process) -> None:
    """The fullest one's memory, the mean of their utilisation; of a side on the processor nothing."""
    sides = ([on_gpus(process)], [on_gpus(process, "0", "1")])
    assert rows_of(percentages(*sides))["GPU memory, most used on the fullest"] == (None, 9e6)
    assert rows_of(power(*sides))["mean GPU utilisation"] == (None, 45.0)


def test_the_parts_of_a_gap_sum_to_it(process: Process) -> None:
    """Of an even number of gaps and of processes, too: both are of one gap of one process."""
    parts = [{"validation": 3, "other": 4}, {"validation": 90, "other": 1}, {"checkpoint": 20}, {"other": 50}]
    gaps = [Gap(pass_name="time", epoch=place, gap_ns=sum(each.values()), parts_ns=each)
            for place, each in enumerate(parts, 1)]  # fmt: skip
    side = [
        process._replace(summary=structs.replace(process.summary, gaps=mine))
        for mine in (gaps[:2], gaps[1:], gaps[2:], gaps[3:])
    ]
    told = rows_of(between_epochs(side, side[2:]))
    wholes = told.pop("gap between epochs")
    assert wholes == (20, 20)
    of_it = [ends for name, ends in told.items() if name.startswith("of it")]
    assert tuple(sum(filter(None, each)) for each in zip(*of_it, strict=True)) == wholes


def test_a_loss_of_nothing_is_told(process: Process) -> None:
    """A network may learn its images by heart: there is a figure, and no factor."""
    scalars = [Scalar(pass_name="time", epoch=2, name="train_loss", value=value) for value in (0.5, 0.0)]
    sides = [[process._replace(summary=structs.replace(process.summary, scalars=[each]))] for each in scalars]
    told = loss(*sides)
    assert rows_of(told)["loss, mean over samples"] == (0.5, 0.0)
    assert told
    assert "7.5 beside 0.000, for 15 steps" in told.says


def test_what_comes_before_a_request_is_unknown_where_it_is_not_told(process: Process) -> None:
    """The request itself is told; of a stage that is not, no number is said."""
    request = Latency(
        pass_name="time", batch=1, requests=9, p50_ns=100, p90_ns=100, p99_ns=100, worst_ns=100, samples_per_s=1e7,
        resident_requests=0, resident_p50_ns=None, resident_p90_ns=None, resident_p99_ns=None, resident_worst_ns=None,
        resident_samples_per_s=None,
    )  # fmt: skip
    told = process._replace(summary=structs.replace(process.summary, inference=[request], stages=[]))
    found = tracing([told], [told])
    assert found
    assert "is worth – requests on side a and – on side b" in found.says
