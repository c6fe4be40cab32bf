"""What asked for each allocation, while a trace was recorded: operator, or Python frame, and direction of training.

An allocation that does not tell it itself, as PyTorch's `[memory]` events do not, is that of the innermost operator
around it on its thread that does more than allocate.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import duckdb
import numpy as np
from msgspec import Struct

from toolkit.analyses.host_spans import BATCH_ROWS, HostSpans, numbers, resolved
from toolkit.analyses.launch_columns import gathered
from toolkit.analyses.operators import operator_name
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
from toolkit.ingest.columns import Numbering
from toolkit.ingest.nesting import NONE, Ns

TRACES = "SELECT DISTINCT trace FROM allocations WHERE action = 'alloc' ORDER BY trace"
# Equal layers of TensorFlow's differ by a number.
TOLD = """
SELECT device, allocator, coalesce(frame, regexp_replace(op, '_\\d+', '_*', 'g')) AS asked_by,
    count(*) AS allocations, sum(bytes) AS bytes
FROM allocations WHERE trace = $1 AND action = 'alloc' AND coalesce(frame, op) IS NOT NULL GROUP BY ALL
"""
UNTOLD = """
SELECT coalesce(thread, '') AS thread, ts_ns, bytes,
    coalesce(device, '') || chr(31) || coalesce(allocator, '') AS place
FROM allocations WHERE trace = $1 AND action = 'alloc' AND coalesce(frame, op) IS NULL
"""
ASKING = OPERATORS + " AND NOT only_allocates(name)"


class AllocatedBy(Struct, frozen=True, kw_only=True):
    """What one operator or Python frame allocated of one allocator; null where the trace does not tell.

    `bytes` is the sum of the blocks' sizes, given back or not.
    """

    trace: int
    device: str | None
    allocator: str | None
    asked_by: str | None
    direction: str | None
    allocations: int
    bytes: int


class _Asked(NamedTuple):
    """Allocations that do not say what asked for them, in order of thread and moment."""

    thread: Ns
    ts_ns: Ns
    bytes: Ns
    place: Ns


def allocated_by(connection: duckdb.DuckDBPyConnection) -> list[AllocatedBy]:
    """Every trace's, most bytes first; together they are each allocator's allocations."""
    others = foreign(connection)
    found = []
    for (trace,) in connection.execute(TRACES).fetchall():
        own = [*_told(connection, trace), *_untold(connection, trace, torch=trace not in others)]
        found += sorted(own, key=lambda row: (-row.bytes, row.asked_by or ""))
    return found


def _told(connection: duckdb.DuckDBPyConnection, trace: int) -> Iterator[AllocatedBy]:
    for device, allocator, asked_by, count, size in connection.execute(TOLD, [trace]).fetchall():
        yield AllocatedBy(
            trace=trace, device=device, allocator=allocator, asked_by=asked_by, direction=None,
            allocations=count, bytes=int(size or 0),
        )  # fmt: skip


def _untold(connection: duckdb.DuckDBPyConnection, trace: int, *, torch: bool) -> Iterator[AllocatedBy]:
    spans, places = HostSpans(connection, trace), Numbering[str]()
    asked = _asked(connection, trace, spans, places)
    names, directions = _origins(asked, spans, torch=torch)
    rows = np.stack((asked.place, names, directions))
    kinds, kind, counts = np.unique(rows, axis=1, return_inverse=True, return_counts=True)
    sizes: defaultdict[int, int] = defaultdict(int)
    for at, size in zip(kind.ravel().tolist(), asked.bytes.tolist(), strict=True):
        sizes[at] += size  # Python's integers: a hostile trace's sum may be beyond 64 bits
    for at, ((place, name, direction), count) in enumerate(zip(kinds.T.tolist(), counts.tolist(), strict=True)):
        device, _, allocator = places.distinct[place].partition("\x1f")
        yield AllocatedBy(
            trace=trace, device=device or None, allocator=allocator or None,
            asked_by=None if name == NONE else operator_name(spans.names.distinct[name]),
            direction=None if direction == NONE else NAMES[direction], allocations=count, bytes=sizes[at],
        )  # fmt: skip


def _asked(connection: duckdb.DuckDBPyConnection, trace: int, spans: HostSpans, places: Numbering[str]) -> _Asked:
    def columns(batch: Any) -> tuple[Any, ...]:
        told = batch["ts_ns"].fill_null(0), batch["bytes"].fill_null(0)
        return numbers(batch["thread"], spans.threads), *told, numbers(batch["place"], places)

    batches = connection.sql(UNTOLD, params=[trace]).to_arrow_reader(BATCH_ROWS)
    found = gathered(len(_Asked._fields), map(columns, batches))
    order = np.lexsort((found[1], found[0]))
    return _Asked(*(column[order] for column in found))


def _origins(asked: _Asked, spans: HostSpans, *, torch: bool) -> tuple[Ns, Ns]:
    """Names by their numbers, and directions by NAMES; NONE where not told."""
    names = np.full(len(asked.thread), NONE, dtype=np.int64)
    backward, optimizer = np.zeros((2, len(names)), dtype=bool)
    engines, optimizers = Engines(spans), Optimizers(spans)
    for thread, nest, which in resolved(asked.thread, asked.ts_ns, spans.nests(ASKING, is_operator)):
        place = nest.innermost(asked.ts_ns[which])
        names[which] = np.append(nest.spans.labels[0], NONE)[place]
        backward[which] = engines.within(thread, nest)[place]
        optimizer[which] = optimizers.hold(thread, asked.ts_ns[which])
    if not torch:
        return names, np.full_like(names, NONE)
    backward |= np.isin(asked.thread, list(engines.threads()))
    return names, np.select([optimizer, backward, names != NONE], [OPTIMIZER, BACKWARD, FORWARD], NONE)
