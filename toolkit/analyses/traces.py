"""What the analyses say of traces, whoever made them: the contract of `hwprof analyze --json`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
from msgspec import Struct, convert, structs, to_builtins

from toolkit.analyses import runner
from toolkit.analyses.device_time import DeviceFigures, device_time
from toolkit.analyses.kernel_attribution import kernel_attribution
from toolkit.analyses.operators import operator_times
from toolkit.analyses.step_parts import step_parts
from toolkit.analyses.streams import launches, stream_idle

TOP_OPERATORS = 20
TOP_FRAMES = 20
# What `memory` holds, and the analysis that it is.
MEMORY = {"allocators": "allocations", "segments": "segments"}


class TraceDevice(DeviceFigures, frozen=True, kw_only=True):
    """One device's time, and the time in which at least one collective ran, hidden by other kernels or not."""

    comm_ns: int


class TraceStep(Struct, frozen=True, kw_only=True):
    """A step that the profiler marked; `parts_ns` sums to its length."""

    step: int
    start_ns: int
    end_ns: int
    parts_ns: dict[str, int]


class TraceOperator(Struct, frozen=True, kw_only=True):
    """Host time of one operator over all threads; `self_ns` leaves out the operators inside it."""

    operator: str
    calls: int
    self_ns: int
    total_ns: int


class TraceFrame(Struct, frozen=True, kw_only=True):
    """A function in one thread's sampled stacks; `self_ns` leaves out what it called."""

    thread: str
    frame: str
    self_ns: int
    total_ns: int
    samples: int | None


class TraceAnalysis(Struct, frozen=True, kw_only=True):
    """One trace.

    Rows without a type of their own are described elsewhere: `streams` in idle.sql, `launches` in launches.sql,
    `kernels_by` in kernel_attribution.py, `memory` in allocations.sql and segments.sql.
    """

    path: str
    format: str
    rank: int | None
    world_size: int | None
    trusted: bool
    warnings: list[str]
    devices: list[TraceDevice]
    streams: list[dict[str, Any]]
    launches: list[dict[str, Any]]
    kernels_by: list[dict[str, Any]]
    steps: list[TraceStep]
    operators: list[TraceOperator]
    frames: list[TraceFrame]
    memory: dict[str, list[dict[str, Any]]]


class Ranks(Struct, frozen=True, kw_only=True):
    """A distributed job's ranks among the traces. `missing` is null where no trace tells the world's size."""

    ranks: list[int]
    world_size: int | None
    missing: list[int] | None


class Analysis(Struct, frozen=True, kw_only=True):
    """What `hwprof analyze --json` prints. `ranks` is null unless at least one trace tells its rank."""

    traces: list[TraceAnalysis]
    ranks: Ranks | None


def analyse(connection: duckdb.DuckDBPyConnection, path: str | None = None) -> list[TraceAnalysis]:
    """Every trace of a store; under `path`, where given, instead of the paths that the store knows."""
    by_trace = {
        "devices": _grouped(_devices(connection)),
        "streams": _grouped(map(structs.asdict, stream_idle(connection))),
        "launches": _grouped(map(structs.asdict, launches(connection))),
        "kernels_by": _grouped(map(to_builtins, kernel_attribution(connection))),
        "steps": _grouped(map(structs.asdict, step_parts(connection))),
        "operators": _grouped(time._asdict() for time in operator_times(connection)),
        **{name: _grouped(runner.run(connection, analysis)) for name, analysis in MEMORY.items()},
        "frames": _grouped(runner.run(connection, "stacks")),
        "cautions": _grouped(runner.run(connection, "warnings")),
    }
    traces = connection.execute("SELECT trace, path, format, rank, world_size FROM traces ORDER BY trace").fetchall()
    return [
        _trace({name: rows[number] for name, rows in by_trace.items()}, path or known_path, *figures)
        for number, known_path, *figures in traces
    ]


def ranks_of(traces: Sequence[TraceAnalysis]) -> Ranks | None:
    """The ranks among the traces, and those that the world's size says are missing."""
    ranks = sorted({trace.rank for trace in traces if trace.rank is not None})
    if not ranks:
        return None
    world_size = max((trace.world_size for trace in traces if trace.world_size is not None), default=None)
    missing = None if world_size is None else sorted(set(range(world_size)) - set(ranks))
    return Ranks(ranks=ranks, world_size=world_size, missing=missing)


def _trace(
    rows: dict[str, list[dict[str, Any]]], path: str, format_: str, rank: int | None, world_size: int | None
) -> TraceAnalysis:
    cautions = rows["cautions"]
    return TraceAnalysis(
        path=path,
        format=format_,
        rank=rank,
        world_size=world_size,
        trusted=not any(caution["untrusted"] for caution in cautions),
        warnings=[f"{caution['code']} ×{caution['count']}: {caution['message']}" for caution in cautions],
        devices=convert(rows["devices"], list[TraceDevice]),
        streams=[_without_trace(row) for row in rows["streams"]],
        launches=[_without_trace(row) for row in rows["launches"]],
        kernels_by=[_without_trace(row) for row in rows["kernels_by"]],
        steps=convert(rows["steps"], list[TraceStep]),
        operators=convert(rows["operators"][:TOP_OPERATORS], list[TraceOperator]),
        frames=convert(sorted(rows["frames"], key=_most_own)[:TOP_FRAMES], list[TraceFrame]),
        memory={name: [_without_trace(row) for row in rows[name]] for name in MEMORY},
    )


def _devices(connection: duckdb.DuckDBPyConnection) -> Iterable[dict[str, Any]]:
    communication = {(row["trace"], row["device"]): row["comm_ns"] for row in runner.run(connection, "communication")}
    for time in device_time(connection):
        yield structs.asdict(time) | {"comm_ns": communication.get((time.trace, time.device), 0)}


def _grouped(rows: Iterable[dict[str, Any]]) -> defaultdict[int, list[dict[str, Any]]]:
    """Rows by their trace."""
    groups: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["trace"]].append(row)
    return groups


def _most_own(row: dict[str, Any]) -> int:
    return -int(row["self_ns"])


def _without_trace(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"trace", "pass_name"}}
