"""Time by operator on the host: an operator's own time is its duration less that of the operators inside it."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from toolkit.analyses.host_spans import HostSpans
from toolkit.ingest.nesting import NONE, Nest

# TensorFlow names an operator by its scope, then its type.
OPERATOR_TYPE = re.compile(r".*[^:]:([A-Za-z_]\w*)")
TRACES = "SELECT DISTINCT trace FROM slices WHERE kind = 'op' ORDER BY trace"


class OperatorTime(NamedTuple):
    """One operator in one trace: own and total nanoseconds over all threads."""

    trace: int
    operator: str
    calls: int
    self_ns: int
    total_ns: int


def operator_times(connection: duckdb.DuckDBPyConnection) -> list[OperatorTime]:
    """Operators of every trace, most own time first. XPlane's `scope/op:Type` is counted under its type."""
    times = []
    for (trace,) in connection.execute(TRACES).fetchall():
        sums: defaultdict[str, npt.NDArray[np.int64]] = defaultdict(lambda: np.zeros(3, dtype=np.int64))
        for name, figures in _by_name(connection, trace):
            sums[operator_name(name)] += figures
        times += [OperatorTime(trace, name, *figures.tolist()) for name, figures in sums.items()]
    return sorted(times, key=lambda time: (time.trace, -time.self_ns, time.operator))


def operator_name(name: str) -> str:
    """`scope/op:Type` -> `Type`; every other name as it is (`aten::conv2d` holds no single colon)."""
    match = OPERATOR_TYPE.fullmatch(name)
    return match[1] if match else name


def _by_name(connection: duckdb.DuckDBPyConnection, trace: int) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Calls, own and total time of one trace's operators of each name."""
    spans = HostSpans(connection, trace)
    figures = np.zeros((0, 3), dtype=np.int64)
    for _, nest in spans.nests("kind = 'op'", lambda _: True):
        figures = np.pad(figures, ((0, len(spans.names) - len(figures)), (0, 0)))
        _add(figures, nest)
    yield from zip(spans.names.distinct, figures, strict=True)


def _add(figures: npt.NDArray[np.int64], nest: Nest) -> None:
    """Adds a window's fresh spans; one that outlasts the one around it takes of that one's time only what it had."""
    (starts, ends, (names, *_)), fresh = nest.spans, nest.fresh
    durations = ends[fresh] - starts[fresh]
    np.add.at(figures, names[fresh], np.stack((np.ones_like(durations), durations, durations), axis=1))
    around = nest.parents[:-1][fresh]
    inside = around != NONE
    clipped = np.minimum(ends[fresh][inside], ends[around[inside]]) - starts[fresh][inside]
    np.subtract.at(figures, (names[around[inside]], 1), clipped)
