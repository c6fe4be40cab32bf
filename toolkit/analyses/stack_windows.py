"""What Python did in each phase, between epochs and in each stage, as py-spy saw it."""

from collections import defaultdict

import duckdb
from msgspec import Struct

from toolkit.analyses import runner

TOP_FRAMES = 10
# Five samples: of less, edges that are known to an interval say nothing.
LEAST_NS = 50_000_000


class FrameTime(Struct, frozen=True, kw_only=True):
    """Own time of one function."""

    frame: str
    self_ns: int


class StackWindow(Struct, frozen=True, kw_only=True):
    """All phases or stages of one name, or all gaps between epochs, in one pass, on the worker's own thread.

    `sampled_ns`: how long py-spy saw the thread at work there, which leaves out where it slept; `frames`, most own time
    first, and `others_ns` sum to it exactly. Parts of under LEAST_NS are left out. `kind`: phase, gap or stage; phases
    lie inside of gaps and stages.
    """

    pass_name: str
    kind: str
    name: str
    sampled_ns: int
    frames: list[FrameTime]
    others_ns: int


def stack_windows(connection: duckdb.DuckDBPyConnection) -> list[StackWindow]:
    """Of a run whose stacks lie on its clock; of any other nothing."""
    rows: defaultdict[tuple[str, str, str], list[FrameTime]] = defaultdict(list)
    for row in runner.run(connection, "stack_windows"):
        rows[row["pass_name"], row["kind"], row["name"]].append(FrameTime(frame=row["frame"], self_ns=row["self_ns"]))
    found = [_window(*key, frames) for key, frames in rows.items()]
    return [window for window in found if window.sampled_ns >= LEAST_NS]


def _window(pass_name: str, kind: str, name: str, frames: list[FrameTime]) -> StackWindow:
    return StackWindow(
        pass_name=pass_name,
        kind=kind,
        name=name,
        sampled_ns=sum(frame.self_ns for frame in frames),
        frames=frames[:TOP_FRAMES],
        others_ns=sum(frame.self_ns for frame in frames[TOP_FRAMES:]),
    )
