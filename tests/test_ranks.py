"""Ranks of distributed jobs side by side: who is there, what is hidden, who waits for whom."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.test_analyze import written
from toolkit.commands.analyze import command
from toolkit.reports.ranks import ranges

ALL_REDUCE, ALL_GATHER = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(x)", "ncclDevKernel_AllGather_RING_LL(x)"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")


def trace(rank: int, *kernels: tuple[str, int, int], clock_us: int = 0, **more: Any) -> dict[str, Any]:
    """A rank's trace: (name, start, end) of its kernels in µs, on a clock of its own; in one step."""
    job = {"rank": rank, "world_size": 2, "backend": "nccl"} | more
    events: list[dict[str, Any]] = []
    for number, (name, start, end) in enumerate(kernels):
        own = {"ph": "X", "ts": clock_us + start, "dur": end - start}
        stream = 20 if "nccl" in name else 7
        args = {"correlation": number, "device": rank, "stream": stream}
        events.append(own | {"cat": "kernel", "name": name, "pid": rank, "tid": stream, "args": args})
        call = {"ph": "X", "ts": clock_us + start - 1, "dur": 1, "pid": 9, "tid": 9, "args": {"correlation": number}}
        events.append(call | {"cat": "cuda_runtime", "name": "cudaLaunchKernel"})
    step = {"ph": "X", "ts": clock_us, "dur": 100_000, "pid": 9, "tid": 9, "cat": "user_annotation"}
    events.append(step | {"name": "ProfilerStep#3"})
    return {"deviceProperties": [{"id": rank}], "distributedInfo": job, "traceEvents": events}


# Rank 1 computes longer, so rank 0 waits for it: 8 ms in the first collective, 3 ms in the second.
FAST = (("gemm", 10, 1_000), (ALL_REDUCE, 1_000, 11_000), ("gemm", 1_500, 2_500), (ALL_GATHER, 12_000, 16_000))
SLOW = (("gemm", 10, 9_000), (ALL_REDUCE, 9_000, 11_000), ("gemm", 11_000, 15_000), (ALL_GATHER, 15_000, 16_000))


def analysed(folder: Path, traces: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """The jobs in the JSON, and the report."""
    traces_folder = folder / "traces"
    traces_folder.mkdir()
    for number, one in enumerate(traces):
        written(traces_folder, f"worker{number}", one)
    report, as_json = (
        CliRunner().invoke(command, [str(traces_folder), *more], catch_exceptions=False).stdout
        for more in ([], ["--json"])
    )
    return json.loads(as_json)["jobs"], " ".join(report.split())


@pytest.mark.parametrize("clock_us", [0, 7, 10**12])
def test_the_rank_that_comes_last_is_the_straggler(tmp_path: Path, clock_us: int) -> None:
    """Whatever its clock: the others wait in their collectives for it, and it in none; said with the figures."""
    (job,), report = analysed(tmp_path, [trace(0, *FAST), trace(1, *SLOW, clock_us=clock_us)])
    assert (job["collectives"], job["compared"], job["stragglers"], job["missing"]) == (2, 2, [1], [])
    waits = [(rank["waited_ns"], rank["last_arrivals"], rank["held_up_ns"]) for rank in job["ranks"]]
    assert waits == [(11_000_000, 0, 0), (0, 2, 11_000_000)]
    hidden = [(rank["comm_ns"], rank["exposed_comm_ns"]) for rank in job["ranks"]]
    assert hidden == [(14_000_000, 13_000_000), (3_000_000, 3_000_000)]
    assert "Rank 1 is a straggler: it came last to 2 collectives, in which the others waited 11.00 ms" in report


def test_ranks_in_step_have_no_straggler(tmp_path: Path) -> None:
    """Less than 3 % of the span is no difference to claim."""
    (job,), report = analysed(tmp_path, [trace(0, *FAST), trace(1, *FAST)])
    assert job["stragglers"] == []
    assert "No straggler" in report


def test_missing_ranks_are_named(tmp_path: Path) -> None:
    """Of the world's size, those without a trace, neighbours together."""
    (job,), report = analysed(tmp_path, [trace(rank, *FAST, world_size=9) for rank in (2, 5)])
    assert job["missing"] == [0, 1, 3, 4, 6, 7, 8]
    assert "Missing of 9 ranks: 0–1, 3–4, 6–8" in report


def test_a_rank_that_is_there_twice_is_said(tmp_path: Path) -> None:
    """Which of its traces belongs to the others' is not told, so nobody is named."""
    (job,), report = analysed(tmp_path, [trace(0, *FAST), trace(0, *FAST, clock_us=10**6), trace(1, *SLOW)])
    assert (job["duplicates"], job["stragglers"]) == ([0], [])
    assert {rank["waited_ns"] for rank in job["ranks"]} == {None}
    assert "Ranks with several traces: 0" in report


def test_strangers_of_unknown_size_are_no_job(tmp_path: Path) -> None:
    """Every process without a group is rank 0: two of them are not one rank twice."""
    _, report = analysed(tmp_path, [trace(0, *FAST, world_size=None), trace(0, *SLOW, world_size=None)])
    assert "Ranks" not in report


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ((("gemm", 10, 20),), "not every rank ran a collective"),
        ((("gemm", 10, 20), (ALL_GATHER, 30, 40), (ALL_REDUCE, 50, 60)), "no step holds the same collectives"),
        ((("gemm", 10, 20), (ALL_REDUCE, 8_000, 8_500), (ALL_GATHER, 30_000, 31_000)), "do not end together"),
    ],
)
def test_collectives_that_do_not_line_up_name_nobody(tmp_path: Path, other: Any, reason: str) -> None:
    """Other collectives, in another order, or of another group: the reason is said."""
    (job,), report = analysed(tmp_path, [trace(0, *FAST), trace(1, *other)])
    assert (job["compared"], job["stragglers"]) == (0, [])
    assert reason in job["not_compared"]
    assert reason in report


def test_sends_and_receives_are_no_collectives(tmp_path: Path) -> None:
    """They end at different moments on the ranks that they join."""
    send = ("ncclDevKernel_SendRecv(x)", 20_000, 29_000)
    (job,), _ = analysed(tmp_path, [trace(0, *FAST, send), trace(1, *SLOW)])
    assert (job["compared"], job["stragglers"]) == (2, [1])


def test_jobs_are_told_apart_by_their_size(tmp_path: Path) -> None:
    """Each world has a table of its own; a rank alone has none, but who is missing is said."""
    others = [trace(0, *FAST, world_size=3), trace(0, *FAST) | {"distributedInfo": {}}]
    jobs, report = analysed(tmp_path, [trace(0, *FAST), trace(1, *SLOW), *others])
    assert [(job["world_size"], len(job["ranks"])) for job in jobs] == [(2, 2), (3, 1)]
    assert "Ranks, world size 2" in report
    assert "Ranks, world size 3" not in report
    assert "Missing of 3 ranks: 1–2" in report


def test_a_rank_without_a_device_is_there_all_the_same(tmp_path: Path) -> None:
    """Its figures are unknown, not 0."""
    (job,), _ = analysed(tmp_path, [trace(0, *FAST), trace(1)])
    assert [rank["span_ns"] is None for rank in job["ranks"]] == [False, True]


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([4], "4"), ([0, 1, 2], "0–2"), ([0, 2, 3, 9], "0, 2–3, 9")]
)  # fmt: skip
def test_neighbours_stand_together(numbers: list[int], text: str) -> None:
    """A thousand missing ranks are one word."""
    assert ranges(numbers) == text
