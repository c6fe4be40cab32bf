"""The diagnosis: each cause is found with its size, real traces show what is true of them, healthy ones nothing."""

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.device_slices import kernel, launch, span
from tests.stores import needs_traces, shared
from tests.test_allocator_memory import GPU, MIB, counters
from tests.test_analyses import MS, mark, store
from toolkit.analyses import runner
from toolkit.analyses.findings import Finding
from toolkit.analyses.summary import summarise
from toolkit.analyses.traces import analyse
from toolkit.ingest.store import StoreWriter, connect
from toolkit.reports.findings import finding_sections

# What is true of each trace, looked at by hand: resnet50_num_workers_0 is Kineto's own example of a loader that is too
# slow, owlv2's loader takes 142 ms a batch, cuDNN searches for algorithms in the one without steps, the small BERT runs
# one sentence at a time; those without any finding keep their devices at work for 97 % and more.
TRUE_OF = {
    "kineto/b200_eager_8gpu.pt.trace.json.gz": ["launch_bound", "small_kernels"],
    "kineto/mi300_bert_small.pt.trace.json.gz": ["launch_bound", "small_kernels"],
    "kineto/mi300_owlv2.pt.trace.json.gz": ["input_bound"],
    "kineto/mi300_timesformer.pt.trace.json.gz": [],
    "kineto/mi300_torch_compile_triton.pt.trace.json.gz": [],
    "kineto/old_resnet50_no_steps_5_streams.pt.trace.json.gz": ["host_elsewhere", "synchronising_calls"],
    "kineto/v100_ns_resolution_rank0.pt.trace.json.gz": [],
    "kineto/v100_resnet50_steps_memory.pt.trace.json.gz": ["input_bound"],
}


def of_slices(folder: Path, slices: Sequence[dict[str, Any]]) -> list[Finding]:
    """Findings of a trace of these slices."""
    with StoreWriter(folder) as writer:
        writer.append_rows("traces", [{"trace": 0, "path": "t", "format": "kineto", "events": len(slices)}])
        writer.append_rows("slices", [{"trace": 0} | one for one in slices])
    with connect(folder) as connection:
        (trace,) = analyse(connection)
    return trace.findings


def of_run(folder: Path, **tables: Sequence[dict[str, Any]]) -> list[Finding]:
    """Findings of a run of these rows."""
    with store(folder, **tables) as connection:
        return summarise(connection).findings


@pytest.mark.e2e
@pytest.mark.traces
@needs_traces
@pytest.mark.parametrize("file", TRUE_OF)
def test_a_real_trace_shows_what_is_true_of_it(file: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Findings of traces that others took, by rank; each with its figure, its evidence and its remedy."""
    with shared(file, tmp_path_factory) as connection:
        (trace,) = analyse(connection)
    assert [finding.code for finding in trace.findings] == TRUE_OF[file]
    for finding in trace.findings:
        assert (finding.at_stake_ns or finding.at_stake_bytes or 0) > 0
        assert 0 < finding.share <= 1
        assert finding.evidence
        assert finding.remedy


def item_in_the_loop(steps: int) -> tuple[list[dict[str, Any]], int]:
    """Steps of three kernels, an .item() before the third, and how long the device waits after those in all."""
    slices, waited = [], 0
    for step in range(steps):
        at, number = step * 10 * MS, step * 10
        slices += [launch(number + 1, at), launch(number + 2, at + 10)]
        slices += [kernel(number + 1, at + 1_000, at + 4 * MS), kernel(number + 2, at + 4 * MS, at + 6 * MS)]
        slices += [
            span("op", "aten::item", at + 20, at + 6 * MS + 500),
            span("op", "aten::_local_scalar_dense", at + 30, at + 6 * MS + 400),
            span("launch", "cudaMemcpyAsync", at + 40, at + 50, correlation=number + 3),
            kernel(number + 3, at + 6 * MS, at + 6 * MS + 100, kind="memcpy", name="Memcpy DtoH"),
            span("launch", "cudaStreamSynchronize", at + 60, at + 6 * MS + 300, correlation=number + 4),
        ]
        # the host works on the value for 2 ms before it launches the rest
        slices += [launch(number + 5, at + 8 * MS), kernel(number + 5, at + 8 * MS + 100, at + 10 * MS)]
        waited += 2 * MS
    return slices, waited


def test_an_item_in_the_loop_is_found_with_its_size(tmp_path: Path) -> None:
    """The device's idle time after each call that waited for it, to the nanosecond, named by call and operator."""
    slices, waited = item_in_the_loop(5)
    (found,) = of_slices(tmp_path, slices)
    assert (found.code, found.at_stake_ns) == ("synchronising_calls", waited)
    assert "cudaStreamSynchronize in aten::item" in found.title
    assert found.evidence.startswith("5 gaps")


def test_the_report_numbers_findings_and_obeys_no_name(tmp_path: Path) -> None:
    """Rank, size, share, evidence and remedy; what a trace calls its operators does nothing to a terminal."""
    slices, _ = item_in_the_loop(3)
    named = [row | {"name": "aten::\x1b[2Jitem"} if row["name"] == "aten::item" else row for row in slices]
    console = Console(width=200, file=StringIO(), color_system=None)
    for part in finding_sections(of_slices(tmp_path, named)):
        console.print(part)
    shown = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO of above
    assert " 1. Synchronising calls: device 0 idles 6.00 ms" in shown
    assert "aten::\\x1b[2Jitem" in shown
    assert "\x1b" not in shown
    assert "→ Keep .item()" in shown


def test_the_same_loop_without_the_item_is_healthy(tmp_path: Path) -> None:
    """Work that is launched ahead leaves nothing to find."""
    slices = [launch(number, number * 10) for number in range(1, 9)]
    slices += [kernel(number, number * MS, (number + 1) * MS) for number in range(1, 9)]
    assert of_slices(tmp_path, slices) == []


def test_each_gap_has_one_cause(tmp_path: Path) -> None:
    """By when its next work was launched, and by what the host was in as it began; together they are the idle time."""
    ms = MS
    slices = [
        launch(1, 0), kernel(1, 1 * ms, 2 * ms),
        # launched before the gap, and not in the trace: nobody's
        launch(2, 1 * ms), kernel(2, 3 * ms, 4 * ms), kernel(None, 5 * ms, 6 * ms),
        # launched late: within 1 ms, and after more
        launch(3, 6 * ms + 10), kernel(3, 7 * ms, 8 * ms), launch(4, 9 * ms), kernel(4, 10 * ms, 11 * ms),
        # in a call that waits as the gap begins; one that had returned by then; one that began in the gap
        span("launch", "cudaDeviceSynchronize", 10 * ms, 11 * ms + 5),
        launch(5, 11 * ms + 50), kernel(5, 14 * ms, 15 * ms),
        span("launch", "cudaEventSynchronize", 14 * ms, 15 * ms - 5),
        launch(6, 15 * ms + 9), kernel(6, 16 * ms, 17 * ms),
        span("launch", "cudaMemcpy", 18 * ms, 19 * ms), launch(7, 19 * ms), kernel(7, 20 * ms, 21 * ms),
        # the host does other things while another of its threads launches; the next launch is in time again
        launch(8, 20 * ms), kernel(8, 21 * ms, 22 * ms),
    ]  # fmt: skip
    with StoreWriter(tmp_path) as writer:
        writer.append_rows("slices", [{"trace": 0} | one for one in slices])
    with connect(tmp_path) as connection:
        gaps = runner.run(connection, "device_gaps")
    assert [(row["cause"], row["start_ns"] // ms, row["end_ns"] // ms) for row in gaps] == [
        ("other", 2, 3), ("other", 4, 5), ("launch", 6, 7), ("elsewhere", 8, 10), ("sync", 11, 14), ("launch", 15, 16),
        ("elsewhere", 17, 20),
    ]  # fmt: skip
    assert [row["call"] for row in gaps if row["cause"] == "sync"] == ["cudaDeviceSynchronize"]


def test_loading_beside_an_idle_device_is_input_bound(tmp_path: Path) -> None:
    """Idle time counts to loading as far as that lies beside it; the rest keeps its cause."""
    slices = [
        launch(1, 0), kernel(1, 100, 10 * MS), span("annotation", "enumerate(DataLoader)#x", 11 * MS, 16 * MS),
        launch(2, 17 * MS), kernel(2, 17 * MS + 50, 20 * MS),
    ]  # fmt: skip
    (found,) = of_slices(tmp_path, slices)
    assert (found.code, found.at_stake_ns) == ("input_bound", 5 * MS)


def test_gaps_outside_a_run_s_steps_are_nobody_s_fault(tmp_path: Path) -> None:
    """What lies between epochs is the ledger's to tell: no call there is a synchronising call in the loop."""
    slices, waited = item_in_the_loop(5)
    inside = [row | {"epoch": 1, "step": 1 + row["ts_ns"] // (10 * MS)} for row in slices]
    # the last kernels of two steps are the validation's
    outside = [
        row | {"step": None} if row["kind"] == "kernel" and row["correlation"] in (15, 25) else row for row in inside
    ]
    (found,) = of_slices(tmp_path, outside)
    assert (found.code, found.at_stake_ns) == ("synchronising_calls", waited - 2 * 2 * MS)


def test_a_step_that_compiles_later_is_found_in_a_trace(tmp_path: Path) -> None:
    """Marked steps that compiled, the first aside, by what they took beyond the usual one."""
    names = {1: "backend_compile_and_load", 3: "backend_compile_and_load"}
    lengths, at, slices = (50, 10, 40, 10, 12), 0, []
    for number, length in enumerate(lengths, start=1):
        slices.append(span("annotation", "train", at * MS, (at + length) * MS, step_num=number))
        if number in names:
            slices.append(span("annotation", names[number], at * MS + 1, at * MS + 5, thread="9/9"))
        at += length
    (found,) = of_slices(tmp_path, slices)
    assert (found.code, found.at_stake_ns) == ("recompilation", 30 * MS)


def epochs(count: int, *phases: tuple[str, int], compiled: Mapping[tuple[int, int], int] = {}) -> list[dict[str, Any]]:
    """Epochs of two steps of 10 ms of compute, then these phases of so many ms each.

    Steps that `compiled`, by (epoch, step), take so many.
    """
    rows: list[dict[str, Any]] = []
    at, id_ = 0, 1
    for epoch in range(1, count + 1):
        start, around = at, id_
        for number in (1, 2):
            end = at + compiled.get((epoch, number), 10)
            name = "compile" if (epoch, number) in compiled else "compute"
            rows += [mark(id_ + 1, around, "step", "train", at, end, epoch=epoch, step=number)]
            rows += [mark(id_ + 2, id_ + 1, "phase", name, at, end, epoch=epoch, step=number)]
            at, id_ = end, id_ + 2
        for name, length in phases:
            id_ += 1
            rows.append(mark(id_, around, "phase", name, at, at + length, epoch=epoch))
            at += length
        rows.append(mark(around, None, "epoch", "train", start, at, epoch=epoch))
        id_ += 1
    return rows


def test_parts_of_the_ledger_are_found_with_their_sizes_in_order(tmp_path: Path) -> None:
    """What comes back each epoch is that of the epochs after the first, the largest share first."""
    parts = ("validation", 8), ("data_wait", 12), ("callbacks", 9), ("checkpoint", 10), ("host_to_device", 11)
    found = of_run(tmp_path, marks=epochs(3, *parts))
    codes = ["input_bound", "transfer", "checkpoint", "callbacks", "validation"]
    assert [(finding.code, finding.at_stake_ns) for finding in found] == [
        (code, 2 * length * MS) for code, length in zip(codes, (12, 11, 10, 9, 8), strict=True)
    ]
    assert found[0].share == pytest.approx(12 / 70)
    assert found[0].evidence.endswith(
        "data_wait of the ledger, 12.00 ms of it an epoch for the pipeline to start and to end"
    )


def test_less_than_a_tenth_is_no_finding(tmp_path: Path) -> None:
    """A run with something of everything is healthy."""
    names = ("validation", "data_wait", "callbacks", "checkpoint", "host_to_device")
    assert of_run(tmp_path, marks=epochs(3, *((name, 2) for name in names))) == []


def test_waiting_for_data_beside_a_working_device_costs_nothing(tmp_path: Path) -> None:
    """On a GPU data_wait counts as far as the device idled in it, in the profiled window; none counts twice."""
    profile = [row | {"pass_name": "profile"} for row in epochs(2, ("data_wait", 20))]
    profile += [
        mark(98, None, "phase", "profiler", -2, -1, epoch=None, pass_name="profile"),
        mark(99, None, "phase", "profiler", 90, 91, epoch=None, pass_name="profile"),
    ]
    traces = [{"trace": 0, "pass_name": "profile", "path": "t", "format": "kineto", "events": 1}]
    # the device works through 15 of the 20 ms of the first epoch, which lie between the two, and none of the second's
    slices = [kernel(None, at * MS, end * MS, trace=0, pass_name="profile") for at, end in ((0, 35), (40, 60))]
    found = of_run(tmp_path, marks=epochs(3, ("data_wait", 20)) + profile, traces=traces, slices=slices)
    assert [(finding.code, finding.at_stake_ns) for finding in found] == [("input_bound", 2 * 20 * MS * 5 // 8)]


def test_compilation_in_mid_run_counts_without_the_usual_step(tmp_path: Path) -> None:
    """The first step's is another finding, each with its duration less that of the steps that did not compile."""
    rows = epochs(3, compiled={(1, 1): 40, (2, 2): 35, (3, 1): 12})
    found = {finding.code: finding.at_stake_ns for finding in of_run(tmp_path, marks=rows)}
    assert found == {"first_epoch_compile": 30 * MS, "recompilation": 27 * MS}


def test_memory_that_grows_in_every_epoch_is_found_with_its_size(tmp_path: Path) -> None:
    """By the framework's counter as each epoch ends; a level that settles, or swings, is no growth."""
    ends = [20 * epoch for epoch in range(1, 6)]

    def counters(levels: Sequence[int]) -> list[dict[str, Any]]:
        row = {"pass_name": "time", "source": "torch", "device": "0", "metric": "in_use", "unit": "B"}
        return [
            row | {"ts_ns": end * MS - 1, "value": float(level << 20)} for end, level in zip(ends, levels, strict=True)
        ]

    (found,) = of_run(tmp_path, marks=epochs(5), counters=counters((100, 110, 121, 130, 140)))
    assert (found.code, found.at_stake_bytes, found.share) == ("memory_growth", 40 << 20, pytest.approx(40 / 140))
    assert "10.0 MiB each epoch" in found.title
    (tmp_path / "healthy").mkdir()
    healthy = {"0": (100, 140, 140, 140, 140), "1": (100, 110, 100, 120, 110), "2": (100, 130, 131, 132, 133)}
    rows = [row | {"device": device} for device, levels in healthy.items() for row in counters(levels)]
    assert of_run(tmp_path / "healthy", marks=epochs(5), counters=rows) == []


@pytest.mark.parametrize(("peak_in_use", "found"), [(1000, [3000 * MIB]), (2500, [])])
def test_a_reservation_far_over_the_need_is_found_with_its_size(
    tmp_path: Path, peak_in_use: int, found: list[int]
) -> None:
    """TensorFlow's up-front reservation, for one; half of what was reserved, and a GiB, is to be unused."""
    told = counters("torch", in_use=900, reserved=4000, peak_in_use=peak_in_use, peak_reserved=4000)
    findings = of_run(tmp_path, marks=epochs(3), counters=told, gpus=[GPU])
    assert [finding.at_stake_bytes for finding in findings if finding.code == "reserved_unused"] == found


def test_a_gpu_that_is_held_down_is_found_with_its_time(tmp_path: Path) -> None:
    """By the readings in which a reason held that slows it at work: no idle GPU's low clocks, and no GPU of others."""
    row = {"pass_name": "time", "source": "nvml", "metric": "throttle_reasons", "unit": ""}
    masks = {"0": [0b100, 0b100, 0b1, 0b1], "1": [0b100, 0b100, 0b100, 0b100]}
    counters = [
        row | {"device": device, "ts_ns": (at * 10 + 5) * MS, "value": float(mask)}
        for device, own in masks.items()
        for at, mask in enumerate(own)
    ]
    gpus = [{"pass_name": "time", "device": device, "name": "T", "used": device == "0"} for device in masks]
    run = [mark(97, None, "run", "time", 0, 40, epoch=None), mark(98, 97, "stage", "train", 0, 40, epoch=None)]
    (found,) = of_run(tmp_path, marks=epochs(2) + run, counters=counters, gpus=gpus)
    assert (found.code, found.at_stake_ns) == ("throttling", 20 * MS)
