"""One trace's device work and the calls that launched it, as arrays: millions of both in some tens of bytes each."""

from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from toolkit.analyses.host_spans import BATCH_ROWS, NO_ID, numbers
from toolkit.ingest.columns import Numbering
from toolkit.ingest.nesting import NONE, Flags, Ns, Places

KERNELS = """
SELECT device, correlation, coalesce(dur_ns, 0) AS ns FROM slices
WHERE trace = $1 AND kind = 'kernel' AND device IS NOT NULL
"""
WORK = """
SELECT device, coalesce('#' || stream, '') AS stream, correlation, ts_ns AS start_ns FROM slices
WHERE trace = $1 AND kind IN ('kernel', 'memcpy', 'memset') AND device IS NOT NULL
"""
LAUNCHES = """
SELECT correlation, coalesce(thread, '') AS thread, thread IS NOT NULL AS on_thread,
    ts_ns AS start_ns, ts_ns + coalesce(dur_ns, 0) AS end_ns, external_id
FROM slices WHERE trace = $1 AND kind = 'launch' AND correlation IS NOT NULL
"""

STARTS = """
SELECT correlation, ts_ns AS start_ns FROM slices WHERE trace = $1 AND kind = 'launch' AND correlation IS NOT NULL
"""


class Kernels(NamedTuple):
    """Kernels: device by its number, duration (0 where unknown), correlation (NO_ID where there is none)."""

    device: Ns
    ns: Ns
    correlation: Ns


class Work(NamedTuple):
    """Kernels, copies and sets: stream (its device's number << 32 | its own), start, correlation (NO_ID for none)."""

    stream: Ns
    start_ns: Ns
    correlation: Ns


class Launches(NamedTuple):
    """Calls that launched device work, one a correlation, by thread (NONE where it is not told) and start.

    `external_id` is NO_ID where the trace names no operator, or only repeats the correlation.
    """

    thread: Ns
    start_ns: Ns
    end_ns: Ns
    correlation: Ns
    external_id: Ns

    def of(self, correlation: Ns) -> Places:
        """The launch of each correlation; NONE where the trace lacks it."""
        order = np.append(np.argsort(self.correlation), NONE)
        places = order[np.searchsorted(self.correlation, correlation, sorter=order[:-1])]
        return np.where(np.append(self.correlation, NO_ID)[places] == correlation, places, NONE)


def kernels_of(connection: duckdb.DuckDBPyConnection, trace: int, devices: Numbering[str]) -> Kernels:
    """The kernels of one trace."""
    batches = connection.sql(KERNELS, params=[trace]).to_arrow_reader(BATCH_ROWS)
    columns = (
        (numbers(batch["device"], devices), batch["ns"], batch["correlation"].fill_null(NO_ID)) for batch in batches
    )
    return Kernels(*gathered(len(Kernels._fields), columns))


def work_of(connection: duckdb.DuckDBPyConnection, trace: int, devices: Numbering[str]) -> Work:
    """The device work of one trace."""
    streams = Numbering[str]()

    def columns(batch: pa.RecordBatch) -> tuple[Any, ...]:
        device, stream = numbers(batch["device"], devices).astype(np.int64), numbers(batch["stream"], streams)
        return device << 32 | stream, batch["start_ns"], batch["correlation"].fill_null(NO_ID)

    batches = connection.sql(WORK, params=[trace]).to_arrow_reader(BATCH_ROWS)
    return Work(*gathered(len(Work._fields), map(columns, batches)))


def launches_of(
    connection: duckdb.DuckDBPyConnection, trace: int, correlation: Ns, threads: Numbering[str]
) -> Launches:
    """The launches of these correlations. Where a call of the runtime makes one of the driver, the outer one counts."""
    columns = gathered(len(Launches._fields), _calls(connection, trace, _distinct(correlation), threads))
    thread, start_ns, end_ns, own, _ = columns
    first = _first(own, start_ns, end_ns)
    chosen = first[np.lexsort((start_ns[first], thread[first]))]
    del thread, start_ns, end_ns, own, first
    return Launches(*(columns.pop(0)[chosen] for _ in Launches._fields))


def launch_starts(connection: duckdb.DuckDBPyConnection, trace: int, correlation: Ns) -> tuple[Ns, Ns]:
    """Those of the correlations that the trace has launches of, in order, and when their first launch started."""
    wanted = _distinct(correlation)

    def columns(batch: pa.RecordBatch) -> tuple[Ns, Ns]:
        own, start_ns = np.asarray(batch["correlation"]), np.asarray(batch["start_ns"])
        which = among(wanted, own)
        return own[which], start_ns[which]

    batches = connection.sql(STARTS, params=[trace]).to_arrow_reader(BATCH_ROWS)
    own, start_ns = gathered(2, map(columns, batches))
    first = _first(own, start_ns)
    return own[first], start_ns[first]


def _distinct(correlation: Ns) -> Ns:
    return np.unique(correlation[correlation != NO_ID])


def _first(correlation: Ns, start_ns: Ns, end_ns: Ns | None = None) -> Places:
    """The first call of each correlation, in order of those; of those that start together, the last to end."""
    order: Places = np.lexsort((start_ns, correlation) if end_ns is None else (-end_ns, start_ns, correlation))
    first: Places = order[np.append(True, np.diff(correlation[order]) != 0)[: len(order)]]
    return first


def among(ordered: Ns, correlation: Ns) -> Flags:
    """Which correlations are among some that are in order."""
    found: Flags = np.append(ordered, NO_ID)[np.searchsorted(ordered, correlation)] == correlation
    known: Flags = found & (correlation != NO_ID)
    return known


def _calls(
    connection: duckdb.DuckDBPyConnection, trace: int, wanted: Ns, threads: Numbering[str]
) -> Iterator[tuple[Any, ...]]:
    """Calls of the wanted correlations, which are in order."""
    for batch in connection.sql(LAUNCHES, params=[trace]).to_arrow_reader(BATCH_ROWS):
        correlation, external_id = np.asarray(batch["correlation"]), np.asarray(batch["external_id"].fill_null(NO_ID))
        which = among(wanted, correlation)
        columns = (
            np.where(batch["on_thread"], numbers(batch["thread"], threads), NONE),
            np.asarray(batch["start_ns"]),
            np.asarray(batch["end_ns"]),
            correlation,
            np.where(external_id == correlation, NO_ID, external_id),
        )
        yield tuple(column[which] for column in columns)


def gathered(width: int, batches: Iterable[tuple[Any, ...]]) -> list[Ns]:
    """Columns of all batches. An array grows in place, where joining a list of them would hold all twice."""
    columns = [array("q") for _ in range(width)]
    for batch in batches:
        for column, more in zip(columns, batch, strict=True):
            column.frombytes(np.asarray(more, dtype=np.int64).tobytes())
    return [np.frombuffer(column, dtype=np.int64) for column in columns]
