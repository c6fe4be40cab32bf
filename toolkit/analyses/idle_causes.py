"""What a device waited for: its idle time split exactly by what the host did meanwhile, and where to look for each."""

from collections import Counter
from collections.abc import Iterator

import duckdb
import numpy as np
from msgspec import Struct

from toolkit.analyses import runner
from toolkit.analyses.device_time import DeviceTime
from toolkit.analyses.intervals import Ns, Union, unions_of

DATA = "data"
CAUSES = (DATA, "sync", "launch", "elsewhere", "outside", "other")
# The host's doing, and so loading where it loads.
HOST_S = ("sync", "launch", "elsewhere")
# So many of the longest gaps tell which operator they are of.
TELLING = 20
FIRST = """
SELECT min(ts_ns) FROM slices WHERE trace = $1 AND device = $2 AND kind IN ('kernel', 'memcpy', 'memset')
"""
GAPS = """
SELECT start_ns, end_ns, (list_position($3, cause) - 1)::UTINYINT AS cause FROM device_gaps
WHERE trace = $1 AND device = $2 ORDER BY start_ns
"""
# Of the gaps that begin at these moments.
CALLS = """
SELECT call, call_ns, thread FROM device_gaps
WHERE trace = $1 AND device = $2 AND list_contains($3, start_ns) AND call IS NOT NULL
"""
# The outermost operator that holds each call; what PyTorch marks as one but runs nothing itself has a # in its name.
OPERATORS = """
SELECT min_by(slices.name, slices.ts_ns) FROM slices JOIN (SELECT unnest($2) AS call_ns, unnest($3) AS thread) AS calls
    ON slices.thread = calls.thread AND slices.ts_ns <= call_ns AND slices.ts_ns + slices.dur_ns >= call_ns
WHERE trace = $1 AND kind = 'op' AND NOT contains(name, '#') GROUP BY calls.call_ns, calls.thread
"""

# Its name, when it began, its thread.
Call = tuple[str, int, str | None]


class IdleCause(Struct, frozen=True, kw_only=True):
    """Idle time of one cause, by device_gaps, `data` being what of sync, launch and elsewhere lay beside loading.

    `gaps` holds any of it; the longest began `longest_at_ns` after the device's first work. `call` is the most frequent
    call and `operator` the most frequent operator around it among the longest gaps; None where the trace tells none.
    """

    cause: str
    ns: int
    gaps: int
    longest_ns: int
    longest_at_ns: int
    call: str | None
    operator: str | None


class IdleCauses(Struct, frozen=True, kw_only=True):
    """One device's idle time by cause, most first: they sum to its `idle_ns` exactly."""

    trace: int
    device: str
    span_ns: int
    causes: list[IdleCause]


def idle_causes(connection: duckdb.DuckDBPyConnection, times: list[DeviceTime]) -> list[IdleCauses]:
    """Of each of these devices. Asserts that the causes make up its idle time."""
    loading: dict[int, Union] = {}
    found = []
    if times:
        runner.keep(connection, "device_gaps")
    for time in times:
        if time.trace not in loading:
            (loading[time.trace],) = unions_of(connection, "loading", [DATA], trace=time.trace)
        causes = list(_causes(connection, time, loading[time.trace]))
        if sum(cause.ns for cause in causes) != time.idle_ns:
            raise AssertionError(f"{causes} do not make up the idle time of {time}")
        by_size = sorted(causes, key=lambda cause: -cause.ns)
        found.append(IdleCauses(trace=time.trace, device=time.device, span_ns=time.span_ns, causes=by_size))
    return found


def _causes(connection: duckdb.DuckDBPyConnection, time: DeviceTime, loading: Union) -> Iterator[IdleCause]:
    rows = connection.sql(GAPS, params=[time.trace, time.device, list(CAUSES)]).to_arrow_table()
    starts, ends, told = (np.asarray(rows[name]) for name in ("start_ns", "end_ns", "cause"))
    loaded = _covered(loading, ends) - _covered(loading, starts)
    loaded[~np.isin(told, [CAUSES.index(cause) for cause in HOST_S])] = 0
    ((first_ns,),) = connection.execute(FIRST, [time.trace, time.device]).fetchall()
    for number, cause in enumerate(CAUSES):
        ns = loaded if cause == DATA else np.where(told == number, ends - starts - loaded, 0)
        if ns.any():
            longest = int(ns.argmax())
            calls = _calls(connection, time, starts[_largest(ns)]) if cause != DATA else []
            yield IdleCause(
                cause=cause,
                ns=int(ns.sum()),
                gaps=int(np.count_nonzero(ns)),
                longest_ns=int(ns[longest]),
                longest_at_ns=int(starts[longest]) - first_ns,
                call=_most([name for name, *_ in calls]),
                operator=_most(_operators(connection, time.trace, calls)),
            )


def _covered(union: Union, moments: Ns) -> Ns:
    """How much of the union lies before each moment."""
    if not len(union.starts):
        return np.zeros_like(moments)
    before = np.concatenate(([0], np.cumsum(union.ends - union.starts)))
    place = np.searchsorted(union.starts, moments, side="right")
    last = np.maximum(place - 1, 0)
    beyond: Ns = np.maximum(union.ends[last] - moments, 0)
    return np.where(place > 0, before[place] - beyond, 0)


def _largest(ns: Ns) -> Ns:
    """Places of the TELLING largest, of those that are any."""
    largest = np.argpartition(-ns, min(TELLING, len(ns)) - 1)[:TELLING]
    found: Ns = largest[ns[largest] > 0]
    return found


def _calls(connection: duckdb.DuckDBPyConnection, time: DeviceTime, starts: Ns) -> list[Call]:
    """Calls of the gaps that begin at these moments."""
    return connection.execute(CALLS, [time.trace, time.device, starts.tolist()]).fetchall()


def _operators(connection: duckdb.DuckDBPyConnection, trace: int, calls: list[Call]) -> list[str]:
    known = [(call_ns, thread) for _, call_ns, thread in calls if thread is not None]
    parameters = [trace, *map(list, zip(*known, strict=True))]
    return [name for (name,) in connection.execute(OPERATORS, parameters).fetchall()] if known else []


def _most(names: list[str]) -> str | None:
    return Counter(names).most_common(1)[0][0] if names else None
