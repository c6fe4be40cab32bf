"""Time by operator on the host: an operator's own time is its duration less that of the operators inside it."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from toolkit.analyses.host_spans import HostSpans
from toolkit.analyses.torch_directions import (
    BACKWARD,
    FORWARD,
    NAMES,
    OPERATORS,
    OPTIMIZER,
    Engines,
    Optimizers,
    foreign,
    is_operator,
)
from toolkit.ingest.nesting import NONE, Flags, Nest, Ns, Places

# TensorFlow names an operator by its scope, then its type.
OPERATOR_TYPE = re.compile(r".*[^:]:([A-Za-z_]\w*)")
TRACES = "SELECT DISTINCT trace FROM slices WHERE kind = 'op' ORDER BY trace"
CALLS, SELF, TOTAL = range(3)
# The last is what NONE finds.
_DIRECTIONS = (*NAMES, None)

Figures = npt.NDArray[np.int64]


class OperatorTime(NamedTuple):
    """One operator in one trace, over all threads, in ns.

    `total_ns` counts a call within one of the same name once. `directions` is `self_ns` by direction of training: that
    of None is what the trace does not tell.
    """

    trace: int
    operator: str
    calls: int
    self_ns: int
    total_ns: int
    directions: dict[str | None, int]


class _Key(NamedTuple):
    thread: int
    name: int
    direction: int


def operator_times(connection: duckdb.DuckDBPyConnection) -> list[OperatorTime]:
    """Operators of every trace, most own time first. XPlane's `scope/op:Type` is counted under its type.

    What PyTorch marks as an operator but runs nothing itself (`ProfilerStep#n`, `Optimizer.step#…`) is none.
    """
    others = foreign(connection)
    times = []
    for (trace,) in connection.execute(TRACES).fetchall():
        sums: defaultdict[str, Figures] = defaultdict(_nothing)
        directions: defaultdict[str, defaultdict[str | None, int]] = defaultdict(lambda: defaultdict(int))
        for name, direction, figures in _by_name(connection, trace, told=trace in others):
            sums[operator_name(name)] += figures
            directions[operator_name(name)][direction] += int(figures[SELF])
        times += [_time(trace, name, sums[name], directions[name]) for name in sums]
    return sorted(times, key=lambda time: (time.trace, -time.self_ns, time.operator))


def operator_name(name: str) -> str:
    """`scope/op:Type` -> `Type`; every other name as it is (`aten::conv2d` holds no single colon)."""
    match = OPERATOR_TYPE.fullmatch(name)
    return match[1] if match else name


def _time(trace: int, name: str, figures: Figures, directions: dict[str | None, int]) -> OperatorTime:
    calls, self_ns, total_ns = figures.tolist()
    return OperatorTime(trace, name, calls, self_ns, total_ns, directions)


def _nothing() -> Figures:
    return np.zeros(len((CALLS, SELF, TOTAL)), dtype=np.int64)


def _by_name(
    connection: duckdb.DuckDBPyConnection, trace: int, *, told: bool
) -> Iterator[tuple[str, str | None, Figures]]:
    """One trace's figures by name and direction; `told` is whether its operators say the latter themselves."""
    spans = HostSpans(connection, trace)
    engines, optimizers = Engines(spans), Optimizers(spans)
    sums: defaultdict[_Key, Figures] = defaultdict(_nothing)
    for thread, nest in spans.nests(OPERATORS, is_operator):
        names, *_, directions = nest.spans.labels
        if not told:
            cases = [optimizers.hold(thread, nest.spans.starts), engines.within(thread, nest)[:-1]]
            directions = np.select(cases, [OPTIMIZER, BACKWARD], FORWARD)
        kinds, kind = np.unique(names * len(_DIRECTIONS) + directions - NONE, return_inverse=True)
        for code, figures in zip(kinds.tolist(), _figures(nest, kind, len(kinds)), strict=True):
            name, direction = divmod(code, len(_DIRECTIONS))
            sums[_Key(thread, name, direction + NONE)] += figures
    engine = set() if told else engines.threads()
    for (thread, name, direction), figures in sums.items():
        known = BACKWARD if thread in engine and direction == FORWARD else direction
        yield spans.names.distinct[name], _DIRECTIONS[known], figures


def _figures(nest: Nest, kind: Places, kinds: int) -> Figures:
    """Of a window's fresh spans, by their kind; one that outlasts another around it takes of it only what it had."""
    (starts, ends, (names, *_)), fresh = nest.spans, nest.fresh
    figures = np.zeros((kinds, len(_nothing())), dtype=np.int64)
    durations = ends[fresh] - starts[fresh]
    totals = np.where(_again(names, starts, ends)[fresh], 0, durations)
    np.add.at(figures, kind[fresh], np.stack((np.ones_like(durations), durations, totals), axis=1))
    around = nest.parents[:-1][fresh]
    inside = around != NONE
    clipped = np.minimum(ends[fresh][inside], ends[around[inside]]) - starts[fresh][inside]
    np.subtract.at(figures, (kind[around[inside]], SELF), clipped)
    return figures


def _again(names: Ns, starts: Ns, ends: Ns) -> Flags:
    """Which spans, in order of their starts, begin while one of the same name runs."""
    order = np.argsort(names, kind="stable")
    distinct, rank = np.unique(ends[order], return_inverse=True)
    # each name's ends above all of the names' before it, so that one maximum runs through them all
    floor = names[order] * len(distinct)
    reached = np.append(NONE, np.maximum.accumulate(floor + rank)[:-1]) - floor
    found = np.zeros(len(names), dtype=bool)
    found[order] = (reached >= 0) & (distinct[np.maximum(reached, 0)] > starts[order])
    return found
