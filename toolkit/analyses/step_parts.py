"""Training steps and what each was spent on, by the rule that PyTorch's TensorBoard plugin published.

A step ends at the end of the last device slice launched in it, and the next one starts there. Within a step, a moment
belongs to the first of PARTS that ran; `Other` is when none did.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import Any

import duckdb
from msgspec import Struct

from toolkit.analyses import runner
from toolkit.analyses.intervals import Union, unions_of

PARTS = ("Kernel", "Memcpy", "Memset", "Communication", "Runtime", "DataLoader", "CPU Exec")
REST = "Other"


class StepParts(Struct, frozen=True, kw_only=True):
    """One step of one trace: `parts_ns`, in ns by PARTS and REST, sums to `end_ns - start_ns`."""

    trace: int
    step: int
    start_ns: int
    end_ns: int
    parts_ns: dict[str, int]


def step_parts(connection: duckdb.DuckDBPyConnection) -> list[StepParts]:
    """The steps of every trace that marks them. Asserts that the parts sum to the step."""
    rows = runner.run(connection, "profiler_steps")
    steps = []
    for trace, marked in groupby(rows, key=itemgetter("trace")):
        unions = unions_of(connection, "step_parts", PARTS, trace=trace)
        for row, start_ns, end_ns in _bounds(list(marked)):
            parts_ns = _parts(unions, start_ns, end_ns)
            if sum(parts_ns.values()) != end_ns - start_ns or min(parts_ns.values()) < 0:
                raise AssertionError(f"{parts_ns} do not make up step {row['step']} of trace {trace}")
            steps.append(StepParts(trace=trace, step=row["step"], start_ns=start_ns, end_ns=end_ns, parts_ns=parts_ns))
    return steps


def _bounds(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Each step with its start and end, moved to where its device work ends if the trace's steps launched any."""
    if all(row["device_end_ns"] is None for row in rows):
        yield from ((row, row["host_start_ns"], row["host_end_ns"]) for row in rows)
        return
    reached_ns = max(rows[0]["host_start_ns"], rows[0]["stray_end_ns"] or rows[0]["host_start_ns"])
    for row in rows:
        start_ns = max(reached_ns, row["host_start_ns"])
        reached_ns = max(start_ns, row["host_end_ns"], row["device_end_ns"] or start_ns)
        yield row, start_ns, reached_ns


def _parts(unions: Sequence[Union], start_ns: int, end_ns: int) -> dict[str, int]:
    """What each of PARTS covers of a step beyond those before it, and what none does."""
    cumulated = accumulate((union.within(start_ns, end_ns) for union in unions), Union.with_)
    covered_ns = [0, *(union.ns for union in cumulated), end_ns - start_ns]
    return dict(zip((*PARTS, REST), (after - before for before, after in pairwise(covered_ns)), strict=True))
