"""Kineto's events as columns of the store: spans to `slices`, `[memory]` instants to `allocations`.

Every list here has one entry an event, and a trace has millions: hence comprehensions and Arrow, and no call an event.
"""

from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.ingest.categories import CATEGORIES
from toolkit.ingest.columns import LONGEST_NS, Codes, Ns, ns_of_us, numbered, on_axis, repeating
from toolkit.ingest.kineto_events import Args, Instant, Memory, Named, Span
from toolkit.ingest.kineto_names import CATEGORY_TEXTS, Names
from toolkit.ingest.kineto_work import UNKNOWN, work_of

# Kineto's categories, as files of today and of 2020 write them, to the store's kinds.
HOST_KINDS = {
    "cpu_op": "op",
    "Operator": "op",
    "user_annotation": "annotation",
    "python_function": "python",
    "Python": "python",
    "overhead": "overhead",
    "cuda_runtime": "launch",
    "cuda_driver": "launch",
    "Runtime": "launch",
    "hip_runtime": "launch",
    "hip_driver": "launch",
    "xpu_runtime": "launch",
    "xpu_driver": "launch",
    "mtia_runtime": "launch",
    "privateuse1_runtime": "launch",
    "privateuse1_driver": "launch",
}
DEVICE_KINDS = {
    "kernel": "kernel",
    "Kernel": "kernel",
    "gpu_memcpy": "memcpy",
    "Memcpy": "memcpy",
    "gpu_memset": "memset",
    "Memset": "memset",
    "gpu_user_annotation": "device_annotation",
    "cuda_sync": "sync",
}
HOST, DEVICE = tuple(sorted(set(HOST_KINDS.values()))), tuple(sorted(set(DEVICE_KINDS.values())))
KINDS = (*HOST, *DEVICE)
KERNEL, OP = KINDS.index("kernel"), KINDS.index("op")
# By Kineto's category: the kind's number, one more for the profiler's own span around everything, which says nothing
# that its events do not; every other category has the last.
PROFILER, FOREIGN = len(KINDS), len(KINDS) + 1
CODES = {name: KINDS.index(kind) for name, kind in (HOST_KINDS | DEVICE_KINDS).items()} | {"Trace": PROFILER}
MEMORY_EVENT = "[memory]"
CPU_DEVICE_TYPE = 0

# Copies and sets are categories of their own; annotations and waits have none.
NO_CATEGORY = -1
_CATEGORY_OF_KIND = np.array(
    [CATEGORIES.index(kind) if kind in {"memcpy", "memset"} else NO_CATEGORY for kind in KINDS], dtype=np.int8
)
_KIND_TEXTS = pa.array(KINDS, pa.string())
_ACTIONS = pa.array(["alloc", "free"], pa.string())
_NO_ARGS, _NO_MEMORY = Args(), Memory()
_NO_SIZE = -(2**63)  # of no block, and its absolute value is no int64

Columns = dict[str, Any]
Item = TypeVar("Item")
Kinds = npt.NDArray[np.uint8]


class Timed(NamedTuple):
    """Spans of a usable start: kind (index into KINDS), start, duration (NULL where unusable); how many lack which."""

    spans: Sequence[Span[Any]]
    kinds: Kinds
    ts_ns: Ns
    dur_ns: pa.Int64Array
    without_ts: int
    without_dur: int


def kinds_of(spans: Sequence[Span[Any]]) -> Kinds:
    """Each span's kind as an index into KINDS, PROFILER or FOREIGN where its category has none."""
    try:
        kinds = bytes([CODES[span.cat] for span in spans])
    except KeyError:
        kinds = bytes([CODES.get(span.cat, FOREIGN) for span in spans])
    return np.frombuffer(kinds, dtype=np.uint8)


def timed(spans: Sequence[Span[Any]], kinds: Kinds, base_ns: int) -> Timed:
    """Puts spans on the axis: `base_ns` plus their decimal microseconds. No negative duration is usable."""
    ns, known = ns_of_us([span.ts for span in spans] + [span.dur for span in spans])
    ts_ns, dur_ns = ns[: len(spans)] + base_ns, ns[len(spans) :]
    usable = known[: len(spans)] & on_axis(ts_ns)
    lasting = known[len(spans) :] & (dur_ns >= 0) & (dur_ns < LONGEST_NS)
    if usable.all() and lasting.all():
        return Timed(spans, kinds, ts_ns, pa.array(dur_ns), 0, 0)
    durations = pa.array(dur_ns[usable], mask=~lasting[usable])
    lost = len(spans) - int(np.count_nonzero(usable))
    return Timed(chosen(spans, usable), kinds[usable], ts_ns[usable], durations, lost, durations.null_count)


def slices(timed_spans: Timed, named: Codes, names: Names) -> Columns:
    """Columns of `slices`; `named` is each span's name by its number among `names`."""
    spans, kinds = timed_spans.spans, timed_spans.kinds
    args = [span.args or _NO_ARGS for span in spans]
    external = pa.array([arg.external for arg in args], pa.int64())
    if external.null_count:
        external = pc.coalesce(external, pa.array([arg.old_external for arg in args], pa.int64()))
    columns = {
        "ts_ns": pa.array(timed_spans.ts_ns),
        "dur_ns": timed_spans.dur_ns,
        "kind": numbered(kinds, _KIND_TEXTS),
        "name": names.texts(named),
        "correlation": pa.array([arg.correlation for arg in args], pa.int64()),
        "external_id": external,
    }
    on_host = kinds < len(HOST)
    if on_host.any():
        columns |= _spread({"thread": _threads(chosen(spans, on_host))}, on_host)
        columns |= _work(spans, args, np.flatnonzero((kinds == OP) & names.worked(named)))
    if not on_host.all():
        categories = _categories(kinds[~on_host], named[~on_host], names)
        columns |= _spread(_device_columns(chosen(spans, ~on_host), chosen(args, ~on_host), categories), ~on_host)
    return columns


def chosen(items: Sequence[Item], which: npt.NDArray[np.bool_]) -> Sequence[Item]:
    """Those of the items that `which` says."""
    return items if which.all() else list(compress(items, which.tobytes()))


def allocations(instants: Sequence[Instant[Any]], base_ns: int) -> tuple[Columns, int]:
    """Columns of `allocations`, and how many instants are left out because they tell no moment or no size."""
    ns, known = ns_of_us([instant.ts for instant in instants])
    args: Sequence[Memory] = [instant.args or _NO_MEMORY for instant in instants]
    given = pa.array([arg.bytes for arg in args], pa.int64())
    sizes = np.asarray(given.fill_null(_NO_SIZE))
    usable = known & on_axis(ns + base_ns) & (sizes != _NO_SIZE)
    if not usable.all():
        instants, args, sizes = chosen(instants, usable), chosen(args, usable), sizes[usable]
    columns = {
        "ts_ns": pa.array((ns + base_ns)[usable]),
        "thread": _threads(instants),
        "device": repeating(["cpu" if arg.device_type == CPU_DEVICE_TYPE else arg.device for arg in args], _text),
        "action": numbered(sizes < 0, _ACTIONS),
        "bytes": pa.array(abs(sizes)),
        "address": pa.array([arg.address for arg in args], pa.int64()),
        "in_use_bytes": pa.array([arg.allocated for arg in args], pa.int64()),
        # The host's allocator reserves nothing that it could tell, and says 0.
        "reserved_bytes": pa.array(
            [None if arg.device_type == CPU_DEVICE_TYPE else arg.reserved for arg in args], pa.int64()
        ),
    }
    return columns, len(known) - len(args)


def _spread(columns: Columns, rows: npt.NDArray[np.bool_]) -> Columns:
    """The columns' values in these rows, NULL in the others."""
    if rows.all():
        return columns
    places = pa.array(np.cumsum(rows, dtype=np.int32) - 1, mask=~rows)
    return {name: column.take(places) for name, column in columns.items()}


def _categories(kinds: Kinds, named: Codes, names: Names) -> pa.DictionaryArray:
    categories = _CATEGORY_OF_KIND[kinds]
    kernels = kinds == KERNEL
    categories[kernels] = names.categories(named[kernels])
    return numbered(categories, CATEGORY_TEXTS, categories != NO_CATEGORY)


def _device_columns(spans: Sequence[Span[Any]], args: Sequence[Args], categories: pa.StringArray) -> Columns:
    devices = [span.pid if arg.device is None else arg.device for span, arg in zip(spans, args, strict=True)]
    streams = [span.tid if arg.stream is None else arg.stream for span, arg in zip(spans, args, strict=True)]
    sizes = [arg.bytes if isinstance(arg.bytes, int) else None for arg in args]
    return {
        "category": categories,
        "device": repeating(devices, _text),
        "stream": repeating(streams, _text),
        "bytes": pa.array(sizes, pa.int64()),
    }


def _work(spans: Sequence[Span[Any]], args: Sequence[Args], places: Ns) -> Columns:
    """What the operators at these places computed, by their shapes; no columns where none tells it."""
    told = {place: work for place in places.tolist() if (work := work_of(spans[place].name, args[place]))}
    if not told:
        return {}
    rows = [told.get(place, UNKNOWN) for place in range(len(spans))]
    return {
        "flops": pa.array([row.flops for row in rows], pa.int64()),
        "accessed_bytes": pa.array([row.accessed_bytes for row in rows], pa.int64()),
        "precision": pa.array([row.precision for row in rows], pa.string()),
    }


def _threads(events: Sequence[Span[Any]] | Sequence[Instant[Any]]) -> pa.DictionaryArray:
    """Process and thread of each event, as process/thread."""
    pids, tids = [event.pid for event in events], [event.tid for event in events]
    if len(set(pids)) == 1:
        return repeating(tids, lambda tid: f"{_known(pids[0])}/{_known(tid)}")
    return repeating(list(zip(pids, tids, strict=True)), lambda both: f"{_known(both[0])}/{_known(both[1])}")


def _known(number: Named) -> Named:
    return "?" if number is None else number


def _text(number: Named) -> str | None:
    return None if number is None else str(number).removeprefix("stream ")
