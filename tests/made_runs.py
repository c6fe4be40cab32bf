"""Run folders made by hand, whole enough to be compared: marks, samples and a profiled window as a run leaves them."""

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from msgspec import convert, structs

from tests.test_analyses import store
from toolkit.analyses import runner, summary
from toolkit.analyses.summary import Summary, summarise
from toolkit.analyses.training import trainings
from toolkit.reports.summary_json import encode
from toolkit.settings import check
from toolkit.spec import RunSpec

MS = 1_000_000
EPOCHS, STEPS = 2, 15
FACTS = {"cpu": "A processor", "cpus": 2, "memory_bytes": 8 << 30, "compute_dtype": "float32"}


def made_run(
    folder: Path,
    steps_ms: Sequence[float] | float = 10.0,
    *,
    resident_mib: float = 500.0,
    kernels: dict[str, int] | None = None,
    facts: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """A complete run whose steps take `steps_ms` each; `kernels` are ns by category of one GPU in the window."""
    (folder / "raw" / "time").mkdir(parents=True)
    spec = check(RunSpec(**({"model": "cifar_cnn", "steps": STEPS, "epochs": EPOCHS} | settings)))
    (folder / "spec.json").write_text(spec.as_json())
    end_as("complete", folder)
    (folder / "raw" / "launch.json").write_text(json.dumps({"device": "cpu", "gpus": [], "gpus_used": []}))
    (folder / "raw" / "time" / "facts.json").write_text(json.dumps(FACTS | (facts or {})))
    steps = tuple(np.ravel(steps_ms).tolist())
    for name, content in _stored(steps, spec.batch, resident_mib, tuple((kernels or {}).items())).items():
        (folder / name).write_bytes(content)
    return folder


def end_as(status: str, folder: Path) -> None:
    """The run ended so."""
    (folder / "run.json").write_text(json.dumps({"status": status, "reason": None, "exit_code": 0}))


@cache
def _stored(
    steps_ms: tuple[float, ...], batch: int, resident_mib: float, kernels: tuple[tuple[str, int], ...]
) -> dict[str, bytes]:
    """The files of a store, and its summary, by name: runs that differ in other settings alone have the same."""
    sample = {"pass_name": "time", "source": "host", "metric": "rss", "unit": "B", "value": resident_mib * 2**20}
    tables: dict[str, list[dict[str, Any]]] = {"marks": marks(steps_ms), "counters": [sample | {"ts_ns": 5}]}
    if kernels:
        tables |= {"traces": [TRACE], "slices": slices(dict(kernels))}
    return files_of(tables, lambda connection: _summary(connection, batch, of_trace=bool(kernels)))


def files_of(
    tables: dict[str, list[dict[str, Any]]], summed: Callable[[duckdb.DuckDBPyConnection], Summary]
) -> dict[str, bytes]:
    """What a run folder has of a store of these tables and of its summary: files by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with store(folder, **tables) as connection:
            (folder / "summary.json").write_text(encode(summed(connection)))
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _summary(connection: duckdb.DuckDBPyConnection, batch: int, *, of_trace: bool) -> Summary:
    """What the store says of itself; of a store without a trace only what one of marks and samples can differ in."""
    if of_trace:
        return summarise(connection, batch=batch)
    ledger = summary._ledger(runner.run(connection, "epoch_ledger"), "wall_ns")
    gaps = summary._ledger(runner.run(connection, "epoch_gaps"), "gap_ns")
    return structs.replace(
        _of_nothing(),
        epochs=[convert(row, summary.Epoch) for row in ledger],
        gaps=[convert(row, summary.Gap) for row in gaps],
        training=trainings(connection, batch=batch),
        samples=summary._rows(connection, "samples", summary.Sample),
    )


@cache
def _of_nothing() -> Summary:
    with tempfile.TemporaryDirectory() as folder, store(Path(folder)) as connection:
        return summarise(connection)


def marks(steps_ms: Sequence[float] | float) -> list[dict[str, Any]]:
    """EPOCHS epochs of STEPS steps, each with 1 ms of waiting for data; 5 ms of validation after each epoch."""
    durations = np.broadcast_to(np.asarray(steps_ms) * MS, EPOCHS * STEPS).astype(int).tolist()
    rows, at = [], 0
    for epoch in range(1, EPOCHS + 1):
        mine = durations[(epoch - 1) * STEPS : epoch * STEPS]
        whole = _mark(rows, "epoch train", at, sum(mine) + 5 * MS, parent=None, epoch=epoch)
        for step, ns in enumerate(mine, 1):
            parent = _mark(rows, "step train", at, ns, parent=whole, epoch=epoch, step=step)
            _mark(rows, "phase data_wait", at, MS, parent=parent, epoch=epoch, step=step)
            _mark(rows, "phase compute", at + MS, ns - MS, parent=parent, epoch=epoch, step=step)
            at += ns
        _mark(rows, "phase validation", at, 5 * MS, parent=whole, epoch=epoch)
        at += 5 * MS
    return rows


def slices(kernels: dict[str, int]) -> list[dict[str, Any]]:
    """Kernels of one GPU, one a category, 7 ns between them; one more runs beside the first."""
    kernel = {"trace": 0, "pass_name": "profile", "kind": "kernel", "device": "0", "thread": None, "correlation": None}
    rows, at = [], 0
    for category, ns in kernels.items():
        rows.append(kernel | {"name": category, "category": category, "stream": "7", "ts_ns": at, "dur_ns": ns})
        at += ns + 7
    return [*rows, rows[0] | {"stream": "8", "dur_ns": 3}]


TRACE = {"trace": 0, "path": "t.json", "pass_name": "profile", "format": "kineto", "events": 9}


def _mark(rows: list[dict[str, Any]], mark: str, start_ns: int, dur_ns: int, **more: Any) -> int:
    """Adds a mark, `kind name`, with the other columns that it has; its number."""
    kind, name = mark.split()
    row = {"pass_name": "time", "id": len(rows), "kind": kind, "name": name, "complete": True}
    rows.append(row | {"ts_ns": start_ns, "dur_ns": dur_ns} | more)
    return len(rows) - 1
