"""The ranks of distributed jobs side by side: who is there, how much communication is hidden, and who waits for whom.

Ranks that join a collective leave it together, so the one whose kernel is the shortest came last, and what the kernels
of the others last longer is their waiting for it; PyTorch's TensorBoard plugin takes the shortest for the time of the
transfer likewise. Only durations are compared, so the ranks' clocks need not agree.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from toolkit.analyses import runner
from toolkit.analyses.traces import TraceAnalysis

# Ends of one collective that differ by less than this, once the clocks are put together, are taken for the same.
TOGETHER_NS = 100_000
# A rank for which the others wait this share of their mean span is a straggler: the margin of every comparison.
STRAGGLING = 0.03

Key = tuple[int, int | None]
Ns = npt.NDArray[np.int64]


class Collective(NamedTuple):
    """One kernel of a collective."""

    name: str
    end_ns: int
    dur_ns: int


Collectives = dict[Key, list[Collective]]


class Rank(Struct, frozen=True, kw_only=True):
    """One rank's trace; times are sums over its devices, null where it has none.

    `waited_ns` is how long its collectives lasted longer than the shortest of the same; `last_arrivals` in how many its
    own was the shortest, and `held_up_ns` how long the others waited in those on average. All three are null where the
    ranks' collectives do not line up.
    """

    rank: int
    path: str
    devices: list[str]
    span_ns: int | None
    compute_ns: int | None
    comm_ns: int | None
    exposed_comm_ns: int | None
    idle_ns: int | None
    waited_ns: int | None
    last_arrivals: int | None
    held_up_ns: int | None


class Job(Struct, frozen=True, kw_only=True):
    """The traces of one job: those that tell the same world size.

    `missing` is null where none tells the size; `duplicates` are ranks with several traces. Of `collectives` that the
    ranks have in common, waiting was compared in `compared`; `not_compared` says why in none. `stragglers` are the
    ranks that held up the others by at least STRAGGLING of their mean span.
    """

    world_size: int | None
    missing: list[int] | None
    duplicates: list[int]
    ranks: list[Rank]
    collectives: int
    compared: int
    not_compared: str | None
    stragglers: list[int]


class Analysis(Struct, frozen=True, kw_only=True):
    """What `hwprof analyze --json` prints; `forced` says what may not be compared and was by --force, else is null."""

    forced: str | None
    traces: list[TraceAnalysis]
    jobs: list[Job]


class _Waits(NamedTuple):
    collectives: int
    compared: int
    waited_ns: list[int]
    last_arrivals: list[int]
    held_up_ns: list[int]


def collectives(connection: duckdb.DuckDBPyConnection) -> defaultdict[int, Collectives]:
    """By trace of a store: its collectives by stream (counted from 0) and step, in order."""
    found: defaultdict[int, Collectives] = defaultdict(dict)
    streams: defaultdict[int, dict[tuple[str, str | None], int]] = defaultdict(dict)
    for row in runner.run(connection, "collectives"):
        known = streams[row["trace"]]
        stream = known.setdefault((row["device"], row["stream"]), len(known))
        own = found[row["trace"]].setdefault((stream, row["step"]), [])
        own.append(Collective(row["name"], row["ts_ns"] + row["dur_ns"], row["dur_ns"]))
    return found


def jobs(traces: Iterable[tuple[TraceAnalysis, Collectives]]) -> list[Job]:
    """The jobs that the traces tell of, by the size of their world."""
    by_size: defaultdict[int | None, list[tuple[TraceAnalysis, Collectives]]] = defaultdict(list)
    for trace, own in traces:
        if trace.rank is not None:
            by_size[trace.world_size].append((trace, own))
    sizes = sorted(by_size, key=lambda size: size or 0)
    return [_job(size, sorted(by_size[size], key=lambda pair: pair[0].rank or 0)) for size in sizes]


def _job(world_size: int | None, members: Sequence[tuple[TraceAnalysis, Collectives]]) -> Job:
    counts = Counter(trace.rank for trace, _ in members if trace.rank is not None)
    duplicates = sorted(rank for rank, count in counts.items() if count > 1)
    missing = None if world_size is None else sorted(set(range(world_size)) - counts.keys())
    waits, reason = _compared([own for _, own in members], duplicates)
    ranks = [_rank(trace, waits, place) for place, (trace, _) in enumerate(members)]
    spans = [rank.span_ns for rank in ranks if rank.span_ns]
    bar = STRAGGLING * sum(spans) / len(spans) if spans else 0
    return Job(
        world_size=world_size,
        missing=missing,
        duplicates=duplicates,
        ranks=ranks,
        collectives=waits.collectives if waits else 0,
        compared=waits.compared if waits else 0,
        not_compared=reason,
        stragglers=[rank.rank for rank in ranks if bar and (rank.held_up_ns or 0) >= bar],
    )


def _rank(trace: TraceAnalysis, waits: _Waits | None, place: int) -> Rank:
    def whole(figure: str) -> int | None:
        return sum(getattr(device, figure) for device in trace.devices) if trace.devices else None

    return Rank(
        rank=trace.rank or 0,
        path=trace.path,
        devices=[device.device for device in trace.devices],
        span_ns=whole("span_ns"),
        compute_ns=whole("compute_ns"),
        comm_ns=whole("comm_ns"),
        exposed_comm_ns=whole("exposed_comm_ns"),
        idle_ns=whole("idle_ns"),
        waited_ns=waits.waited_ns[place] if waits else None,
        last_arrivals=waits.last_arrivals[place] if waits else None,
        held_up_ns=waits.held_up_ns[place] if waits else None,
    )


def _compared(ranks: Sequence[Collectives], duplicates: Sequence[int]) -> tuple[_Waits | None, str | None]:
    """The waits of each rank, or why they cannot be told."""
    if len(ranks) <= 1:
        return None, "there is one rank only"
    if duplicates:
        return None, f"rank {duplicates[0]} has several traces, and which of them belongs to the others' is not told"
    if not all(ranks):
        return None, "not every rank ran a collective on a device"
    ends_ns, durations_ns = _lined_up(ranks)
    if not durations_ns.size:
        return None, "no step holds the same collectives in the same order on all of them; are they of one job?"
    waits = _waits(ends_ns, durations_ns)
    if 2 * waits.compared <= waits.collectives:
        return None, "collectives of the same place do not end together; are they of one group?"
    return waits, None


def _lined_up(ranks: Sequence[Collectives]) -> tuple[Ns, Ns]:
    """Ends and durations, a row a rank, of the streams and steps that hold the same collectives on every rank."""
    lists: list[list[Collective]] = [[] for _ in ranks]
    for key, first in ranks[0].items():
        own = [rank.get(key, []) for rank in ranks]
        names = [collective.name for collective in first]
        if all([collective.name for collective in members] == names for members in own):
            for whole, members in zip(lists, own, strict=True):
                whole.extend(members)
    ends = np.array([[collective.end_ns for collective in members] for members in lists], dtype=np.int64)
    return ends, np.array([[collective.dur_ns for collective in members] for members in lists], dtype=np.int64)


def _waits(ends_ns: Ns, durations_ns: Ns) -> _Waits:
    """Compares the collectives whose ends agree to TOGETHER_NS, or better than their durations differ."""
    offsets = ends_ns - ends_ns[0]
    clocks = np.sort(offsets, axis=1)[:, offsets.shape[1] // 2]  # the median, in integers
    apart = offsets - clocks[:, np.newaxis]
    waits = durations_ns - durations_ns.min(axis=0)
    together = np.ptp(apart, axis=0) <= np.maximum(TOGETHER_NS, waits.max(axis=0))
    waits = waits[:, together]
    last = waits.argmin(axis=0)
    mean_of_others = waits.sum(axis=0) // (len(waits) - 1)
    return _Waits(
        collectives=ends_ns.shape[1],
        compared=int(np.count_nonzero(together)),
        waited_ns=[int(own) for own in waits.sum(axis=1)],
        last_arrivals=[int(np.count_nonzero(last == rank)) for rank in range(len(waits))],
        held_up_ns=[int(mean_of_others[last == rank].sum()) for rank in range(len(waits))],
    )
