"""Time by operator on the host: an operator's own time is its duration less that of the operators inside it."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import duckdb

# TensorFlow names an operator by its scope, then its type.
OPERATOR_TYPE = re.compile(r".*[^:]:([A-Za-z_]\w*)")

# One thread's operators, outer before inner where they start together.
OPERATORS = """
SELECT trace, thread, name, ts_ns, ts_ns + dur_ns FROM slices
WHERE kind = 'op' AND dur_ns IS NOT NULL
ORDER BY trace, thread, ts_ns, dur_ns DESC
"""


class OperatorTime(NamedTuple):
    """One operator in one trace: own and total nanoseconds over all threads."""

    trace: int
    operator: str
    calls: int
    self_ns: int
    total_ns: int


class _Slice(NamedTuple):
    trace: int
    thread: str
    name: str
    start_ns: int
    end_ns: int


def operator_times(connection: duckdb.DuckDBPyConnection) -> list[OperatorTime]:
    """Operators of every trace, most own time first. XPlane's `scope/op:Type` is counted under its type."""
    sums: dict[tuple[int, str], list[int]] = {}
    rows = map(_Slice._make, connection.execute(OPERATORS).fetchall())
    for slice_, self_ns in self_times(rows):
        entry = sums.setdefault((slice_.trace, operator_name(slice_.name)), [0, 0, 0])
        entry[0] += 1
        entry[1] += self_ns
        entry[2] += slice_.end_ns - slice_.start_ns
    times = [OperatorTime(trace, name, *figures) for (trace, name), figures in sums.items()]
    return sorted(times, key=lambda time: (time.trace, -time.self_ns, time.operator))


def operator_name(name: str) -> str:
    """`scope/op:Type` -> `Type`; every other name as it is (`aten::conv2d` holds no single colon)."""
    match = OPERATOR_TYPE.fullmatch(name)
    return match[1] if match else name


def self_times(slices: Iterable[_Slice]) -> Iterator[tuple[_Slice, int]]:
    """Each slice with its own nanoseconds. By thread and start, outer first; what outlasts a parent is clipped."""
    open_: list[tuple[_Slice, int]] = []
    for slice_ in slices:
        while open_ and not _holds(open_[-1][0], slice_):
            yield open_.pop()
        if open_:
            parent, self_ns = open_[-1]
            open_[-1] = (parent, self_ns - (min(slice_.end_ns, parent.end_ns) - slice_.start_ns))
        open_.append((slice_, slice_.end_ns - slice_.start_ns))
    yield from reversed(open_)


def _holds(outer: _Slice, inner: _Slice) -> bool:
    return (outer.trace, outer.thread) == (inner.trace, inner.thread) and inner.start_ns < outer.end_ns
