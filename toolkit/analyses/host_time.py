"""Where operators spent the host's time: by step and by module. What directions and operators are told of, of places.

An operator that lies in another is part of that one, so that the time is what operators cover of each thread, the sum
of all operators' own times where they nest. It belongs to the step and to the innermost module in which it began.
"""

from collections.abc import Callable

import duckdb
import numpy as np
from msgspec import Struct

from toolkit.analyses.host_spans import HostSpans, numbers, resolved
from toolkit.ingest.columns import Numbering
from toolkit.ingest.nesting import LATEST_NS, NONE, Ns

TRACES = "SELECT DISTINCT trace FROM slices WHERE kind = 'op' ORDER BY trace"
# What operators cover of each thread, by those that reach beyond all before them. PyTorch's marks run nothing.
COVERED = r"""
WITH spans AS (
    SELECT coalesce(thread, '') AS thread, ts_ns, ts_ns + dur_ns AS end_ns, coalesce(module, '') AS module,
        coalesce(max(ts_ns + dur_ns) OVER (
            PARTITION BY thread ORDER BY ts_ns, dur_ns DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), ts_ns) AS covered_to_ns
    FROM slices WHERE trace = $1 AND kind = 'op' AND dur_ns > 0
        AND NOT regexp_matches(name, '^(ProfilerStep|enumerate\(Data(Loader|Pipe)\)|Optimizer\.(step|zero_grad))#')
)
SELECT thread, ts_ns AS start_ns, end_ns - greatest(ts_ns, covered_to_ns) AS ns, module
FROM spans WHERE end_ns > covered_to_ns
"""
MODULES = "kind = 'python' AND starts_with(name, 'nn.Module: ')"
STEPS = "SELECT step, host_start_ns, host_end_ns FROM marked_steps WHERE trace = $1 ORDER BY host_start_ns"


class HostPart(Struct, frozen=True, kw_only=True):
    """Operators' time on the host in one step or module; null is what lies in none, or is not told."""

    name: str | None
    ns: int
    share: float


class HostTime(Struct, frozen=True, kw_only=True):
    """What operators cover of all threads of one trace, most first: each list sums to `ns` exactly.

    `modules` are the innermost of PyTorch's `nn.Module: Name_n` (told where Python stacks were recorded), or compiled
    modules of XLA; what PyTorch's autograd runs on a thread of its own lies in none. `steps` are those marked.
    """

    trace: int
    ns: int
    modules: list[HostPart]
    steps: list[HostPart]


def host_times(connection: duckdb.DuckDBPyConnection) -> list[HostTime]:
    """Of every trace with operators. Asserts that each list holds all of the time."""
    times = [_time(connection, trace) for (trace,) in connection.execute(TRACES).fetchall()]
    return [time for time in times if time.ns]


def _time(connection: duckdb.DuckDBPyConnection, trace: int) -> HostTime:
    spans, names = HostSpans(connection, trace), Numbering[str]()
    table = connection.sql(COVERED, params=[trace]).to_arrow_table()
    threads = numbers(table["thread"].combine_chunks(), spans.threads).astype(np.int64)
    modules = numbers(table["module"].combine_chunks(), names).astype(np.int64)
    columns: list[Ns] = [threads, modules, *(np.asarray(table[name]) for name in ("start_ns", "ns"))]
    order = np.lexsort((columns[2], threads))
    thread, module, start, ns = (column[order] for column in columns)
    module = np.where(module == names[""], NONE, module)
    _find_modules(module, thread, start, spans, names)
    whole = int(ns.sum())
    return HostTime(
        trace=trace,
        ns=whole,
        modules=_parts(module, ns, whole, names.distinct.__getitem__),
        steps=_parts(_steps(connection, trace, start), ns, whole, str),
    )


def _find_modules(module: Ns, thread: Ns, start: Ns, spans: HostSpans, names: Numbering[str]) -> None:
    """Fills in the innermost `nn.Module` in which each operator began, in order of thread and start."""
    for _, nest, which in resolved(thread, start, spans.nests(MODULES, lambda _: True)):
        held = np.append(nest.spans.labels[0], NONE)[nest.innermost(start[which])]
        inside = held != NONE
        module[which][inside] = names.of(spans.names.distinct[number] for number in held[inside].tolist())


def _steps(connection: duckdb.DuckDBPyConnection, trace: int, start: Ns) -> Ns:
    """The number of the marked step in which each operator began; NONE where it began in none."""
    marked = np.array([(NONE, -LATEST_NS, -LATEST_NS), *connection.execute(STEPS, [trace]).fetchall()], dtype=np.int64)
    places = np.searchsorted(marked[:, 1], start, side="right") - 1
    return np.where(start < marked[places, 2], marked[places, 0], NONE)


def _parts(number: Ns, ns: Ns, whole: int, name: Callable[[int], str]) -> list[HostPart]:
    distinct, inverse = np.unique(number, return_inverse=True)
    sums = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(sums, inverse, ns)
    found = [
        HostPart(name=None if one == NONE else name(one), ns=part, share=part / whole if whole else 0.0)
        for one, part in zip(distinct.tolist(), sums.tolist(), strict=True)
    ]
    if sum(part.ns for part in found) != whole:
        raise AssertionError(f"operators' time by place is not their whole, {whole}")
    return sorted(found, key=lambda part: (-part.ns, part.name or ""))
