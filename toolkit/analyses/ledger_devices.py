"""The epoch ledger's other half, where there is a GPU: how long each device worked and idled in each part.

Only the profiled window tells what a device did, so a part is counted as far as it lies within that. A device works
where any kernel, copy or set of it runs; worked + idle is the part's time in the window, exactly.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
from msgspec import Struct

from toolkit.analyses import runner
from toolkit.analyses.device_time import PARTS
from toolkit.analyses.intervals import Union, unions_of

# What traces call the fetching of a batch inside a compiled step: TensorFlow's.
FETCHES = """
SELECT ts_ns, ts_ns + dur_ns AS end_ns FROM slices
WHERE pass_name = $1 AND dur_ns IS NOT NULL AND regexp_matches(name, '^IteratorGetNext(AsOptional)?Op::')
"""
COMPUTE = ("compute", "compile")
Key = tuple[str, int, bool, str]


class LedgerDevice(Struct, frozen=True, kw_only=True):
    """One part of an epoch, or of the gap after it (`between`), in the profiled window, beside one device.

    `worked_ns` + `idle_ns` is the part's time there exactly.
    """

    pass_name: str
    device: str
    epoch: int
    between: bool
    part: str
    worked_ns: int
    idle_ns: int


class FetchInCompute(Struct, frozen=True, kw_only=True):
    """What of the profiled window's `compute_ns` was waiting for the next batch, by the trace: `fetch_ns`.

    Where `fit` fetches inside its compiled step, no mark can tell it.
    """

    pass_name: str
    compute_ns: int
    fetch_ns: int


def ledger_devices(connection: duckdb.DuckDBPyConnection) -> list[LedgerDevice]:
    """Each part of each epoch and gap that the profiled window holds any of, by device; none without device work."""
    found = []
    for pass_name, spans in _windowed(connection).items():
        for device, busy in _busy(connection, pass_name):
            for (_, epoch, between, part), own in spans.items():
                worked_ns = _common_ns(own, busy)
                found.append(
                    LedgerDevice(
                        pass_name=pass_name, device=device, epoch=epoch, between=between, part=part,
                        worked_ns=worked_ns, idle_ns=own.ns - worked_ns,
                    )
                )  # fmt: skip
    return found


def fetches_in_compute(connection: duckdb.DuckDBPyConnection) -> list[FetchInCompute]:
    """One row a pass whose trace holds fetches inside `compute`."""
    found = []
    for pass_name, spans in _windowed(connection).items():
        rows = np.array(connection.execute(FETCHES, [pass_name]).fetchall(), dtype=np.int64).reshape(-1, 2)
        computing = [own for (_, _, between, part), own in spans.items() if part in COMPUTE and not between]
        fetches = Union(rows[:, 0], rows[:, 1])
        fetch_ns = sum(_common_ns(own, fetches) for own in computing)
        if fetch_ns:
            compute_ns = sum(own.ns for own in computing)
            found.append(FetchInCompute(pass_name=pass_name, compute_ns=compute_ns, fetch_ns=fetch_ns))
    return found


def _windowed(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[Key, Union]]:
    """By pass: the stretches of each part of each epoch and gap within its profiled window."""
    windows = {row["pass_name"]: (row["from_ns"], row["to_ns"]) for row in runner.run(connection, "trace_windows")}
    spans: defaultdict[Key, list[tuple[int, int]]] = defaultdict(list)
    for between, analysis in ((False, "ledger_spans"), (True, "gap_spans")):
        for row in runner.run(connection, analysis):
            if row["pass_name"] in windows:
                spans[row["pass_name"], row["epoch"], between, row["part"]].append((row["start_ns"], row["end_ns"]))
    found: dict[str, dict[Key, Union]] = {pass_name: {} for pass_name in windows}
    for key, own in spans.items():
        starts, ends = np.array(own, dtype=np.int64).T
        if (within := Union(starts, ends).within(*windows[key[0]])).ns:
            found[key[0]][key] = within
    return found


def _busy(connection: duckdb.DuckDBPyConnection, pass_name: str) -> Iterator[tuple[str, Union]]:
    query = "SELECT DISTINCT trace FROM traces WHERE pass_name = $1"
    traces = {trace for (trace,) in connection.execute(query, [pass_name]).fetchall()}
    rows: list[dict[str, Any]] = [row for row in runner.run(connection, "device_time") if row["trace"] in traces]
    for row in rows:
        parts = unions_of(connection, "device_work", list(PARTS.values()), trace=row["trace"], device=row["device"])
        yield row["device"], parts[0].with_(parts[1]).with_(parts[2])


def _common_ns(one: Union, other: Union) -> int:
    """How long both last at once."""
    if not len(one.starts):
        return 0
    other = other.within(int(one.starts[0]), int(one.ends[-1]))
    return one.ns + other.ns - one.with_(other).ns
