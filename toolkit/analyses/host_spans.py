"""A trace's spans on the host, each thread's nested, a window at a time: bounded memory for traces of any size."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from toolkit.ingest.columns import Answers, Codes, Numbering
from toolkit.ingest.directions import DIRECTIONS
from toolkit.ingest.nesting import Flags, Nest, Ns, Spans, Sweep, in_order

BATCH_ROWS = 1 << 16
SPANS = "FROM slices WHERE trace = $1 AND dur_ns IS NOT NULL AND "
BOUNDS = "SELECT coalesce(thread, '') AS thread, ts_ns AS start_ns, ts_ns + dur_ns AS end_ns "
# What is not told is NONE.
DIRECTION = f"(coalesce(list_position({list(DIRECTIONS[1:])}, category), 0) - 1)::BIGINT AS direction"
COLUMNS = BOUNDS + f", name, external_id, {DIRECTION} "
# Outer before inner where they start together.
ORDER = " ORDER BY thread, start_ns, end_ns DESC, external_id NULLS FIRST, name"
NO_ID = np.iinfo(np.int64).min


class HostSpans:
    """Reads spans of one trace; threads and names have numbers, the same in every reading."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, trace: int) -> None:
        self._connection, self._trace = connection, trace
        self.threads, self.names = Numbering[str](), Numbering[str]()

    def nests(self, where: str, wanted: Callable[[str], bool]) -> Iterator[tuple[int, Nest]]:
        """Thread and window of the spans that an SQL condition names, the windows of each thread in their order.

        `wanted` is asked once of each name; spans of the others are left out. Labels are the name's number, the
        external id (NO_ID where there is none), the span's own number, and the direction that it tells itself: NONE or
        a place in DIRECTIONS[1:].
        """
        spans = SPANS + where
        query = COLUMNS + spans + ("" if self._in_order(BOUNDS + spans) else ORDER)
        sweeps: defaultdict[int, Sweep] = defaultdict(Sweep)
        answers, count = Answers(wanted, self.names), 0
        for batch in self._batches(query):
            names = numbers(batch["name"], self.names)
            ids = np.asarray(batch["external_id"].fill_null(NO_ID))
            own_numbers = np.arange(count, count + len(names))
            labels = (names.astype(np.int64), ids, own_numbers, np.asarray(batch["direction"]))
            found = Spans(*_bounds(batch), labels)
            chosen = answers.of(names).astype(bool)
            count += len(names)
            for thread, which in self._threads(batch):
                if (own := which & chosen).any():
                    yield thread, sweeps[thread].take(found.at(own))
        for thread, sweep in sweeps.items():
            yield thread, sweep.rest()

    def _in_order(self, query: str) -> bool:
        """Whether the store holds each thread's spans in their order, as it does those of PyTorch since 2022."""
        last: dict[int, Spans] = {}
        for batch in self._batches(query):
            for thread, which in self._threads(batch):
                spans = Spans(*_bounds(batch)).at(which)
                spans = last[thread].followed_by(spans) if thread in last else spans
                if not in_order(spans.starts, spans.ends):
                    return False
                last[thread] = spans.at(slice(-1, None))
        return True

    def _batches(self, query: str) -> Iterator[pa.RecordBatch]:
        yield from self._connection.sql(query, params=[self._trace]).to_arrow_reader(BATCH_ROWS)

    def _threads(self, batch: pa.RecordBatch) -> Iterator[tuple[int, Flags]]:
        threads = numbers(batch["thread"], self.threads)
        yield from ((int(thread), threads == thread) for thread in np.flatnonzero(np.bincount(threads)))


def resolved(threads: Ns, moments: Ns, nests: Iterable[tuple[int, Nest]]) -> Iterator[tuple[int, Nest, slice]]:
    """Thread, window, and the moments of the thread that the window is the first to know all about.

    `threads` and `moments`, which belong together, are in order of both.
    """
    done: dict[int, int] = {}
    for thread, nest in nests:
        start = done.get(thread, int(np.searchsorted(threads, thread)))
        end = int(np.searchsorted(threads, thread, side="right"))
        done[thread] = start + int(np.searchsorted(moments[start:end], nest.until_ns))
        yield thread, nest, slice(start, done[thread])


def numbers(texts: Any, numbering: Numbering[str]) -> Codes:
    """The number of each text of an Arrow column, none of them NULL."""
    encoded = texts.dictionary_encode()
    distinct = numbering.of(encoded.dictionary.to_pylist())
    found: Codes = distinct[np.asarray(encoded.indices)]
    return found


def _bounds(batch: pa.RecordBatch) -> tuple[Ns, Ns]:
    return np.asarray(batch["start_ns"]), np.asarray(batch["end_ns"])
