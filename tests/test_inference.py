"""Latency of inference by batch size: percentiles, throughput, with the transfer and without, and how it is shown."""

from pathlib import Path
from typing import Any

from msgspec import convert
from rich.console import Console

from toolkit.analyses import runner
from toolkit.analyses.summary import Latency
from toolkit.ingest.store import StoreWriter, connect
from toolkit.reports.inference import inference_tables

MS = 1_000_000


def latencies(folder: Path, requests: dict[str, list[int]]) -> list[dict[str, Any]]:
    """The analysis of requests of 4 samples, durations in ms by kind."""
    marks = [
        {"pass_name": "time", "id": ms, "kind": kind, "name": "4", "ts_ns": 0, "dur_ns": ms * MS, "complete": True}
        for kind, durations in requests.items()
        for ms in durations
    ]
    with StoreWriter(folder) as writer:
        writer.append_rows("marks", marks)
    with connect(folder) as connection:
        return runner.run(connection, "inference")


def test_percentiles_are_of_requests_and_throughput_of_the_median(tmp_path: Path) -> None:
    """Of a hundred requests the n-th percentile is the n-th; those without transfer stand apart."""
    hundred = list(range(1, 101))
    (row,) = latencies(tmp_path, {"request": hundred, "resident_request": [2, 2, 8]})
    assert [row[f"{name}_ns"] // MS for name in ("p50", "p90", "p99", "worst")] == [50, 90, 99, 100]
    assert row["samples_per_s"] == 4 / 0.050
    assert [row[f"resident_{name}_ns"] // MS for name in ("p50", "p90", "p99", "worst")] == [2, 8, 8, 8]
    assert (row["resident_requests"], row["resident_samples_per_s"]) == (3, 4 / 0.002)


def test_what_was_not_timed_without_transfer_is_unknown_and_not_shown(tmp_path: Path) -> None:
    """A profiled pass times whole requests alone: no figure stands for the others, and no table."""
    (row,) = latencies(tmp_path, {"request": [5, 6]})
    assert (row["resident_requests"], row["resident_p50_ns"], row["resident_samples_per_s"]) == (0, None, None)
    console = Console(width=120, record=True)
    console.print(*inference_tables([convert(row, Latency)]))
    text = console.export_text()
    assert "without transfer" not in text
    assert "p99 of under 100 requests" in text
