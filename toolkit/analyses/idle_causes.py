"""What a device waited for: its idle time split exactly by what the host did meanwhile, and where to look for each."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
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
GAPS = "SELECT start_ns, end_ns, cause, call, call_ns, thread FROM ({}) WHERE trace = $1 AND device = $2"
# The outermost operator that holds each call; what PyTorch marks as one but runs nothing itself has a # in its name.
OPERATORS = """
SELECT min_by(slices.name, slices.ts_ns) FROM slices JOIN (SELECT unnest($2) AS call_ns, unnest($3) AS thread) AS calls
    ON slices.thread = calls.thread AND slices.ts_ns <= call_ns AND slices.ts_ns + slices.dur_ns >= call_ns
WHERE trace = $1 AND kind = 'op' AND NOT contains(name, '#') GROUP BY calls.call_ns, calls.thread
"""


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
    query = GAPS.format(runner.text("device_gaps"))
    rows = connection.sql(query, params=[time.trace, time.device]).to_arrow_table()
    starts, ends = (np.asarray(rows[name]).astype(np.int64) for name in ("start_ns", "end_ns"))
    told = np.array(rows["cause"].to_pylist(), dtype=object)
    loaded = _covered(loading, ends) - _covered(loading, starts)
    loaded[~np.isin(told, HOST_S)] = 0
    ((first_ns,),) = connection.execute(FIRST, [time.trace, time.device]).fetchall()
    for cause in CAUSES:
        ns = loaded if cause == DATA else np.where(told == cause, ends - starts - loaded, 0)
        if ns.any():
            longest = int(ns.argmax())
            calls = _calls(rows, ns) if cause != DATA else []
            yield IdleCause(
                cause=cause,
                ns=int(ns.sum()),
                gaps=int(np.count_nonzero(ns)),
                longest_ns=int(ns[longest]),
                longest_at_ns=int(starts[longest]) - first_ns,
                call=_most([call["call"] for call in calls]),
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


def _calls(rows: Any, ns: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Calls of the longest gaps."""
    longest = np.argsort(-ns, kind="stable")[:TELLING]
    picked = rows.select(["call", "call_ns", "thread"]).take(longest[ns[longest] > 0]).to_pylist()
    return [row for row in picked if row["call"] is not None]


def _operators(connection: duckdb.DuckDBPyConnection, trace: int, calls: list[dict[str, Any]]) -> list[str]:
    known = [call for call in calls if call["thread"] is not None]
    parameters = [trace, [call["call_ns"] for call in known], [call["thread"] for call in known]]
    return [name for (name,) in connection.execute(OPERATORS, parameters).fetchall()] if known else []


def _most(names: list[str]) -> str | None:
    return Counter(names).most_common(1)[0][0] if names else None
