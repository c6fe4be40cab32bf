"""Kineto's events as columns of the store: spans to `slices`, `[memory]` instants to `allocations`.

Every list here has one entry an event, and a trace has millions: hence comprehensions and NumPy, and no call an event.
A column is numbers, UNTOLD where the event does not tell, or texts by their codes.
"""

from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from toolkit.ingest.categories import CATEGORIES, kernel_category
from toolkit.ingest.coded import Coded, coded
from toolkit.ingest.columns import LONGEST_NS, UNTOLD, Ns, integers, ns_of_us, on_axis
from toolkit.ingest.kineto_events import Args, Instant, Memory, Named, Span
from toolkit.ingest.kineto_work import UNKNOWN, is_known, work_of

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

# Copies and sets are categories of their own; annotations and waits have none, as the last of these.
_CATEGORIES = (*CATEGORIES, None)
_CATEGORY_OF_KIND = np.array(
    [CATEGORIES.index(kind) if kind in {"memcpy", "memset"} else len(CATEGORIES) for kind in KINDS], dtype=np.int8
)
_ACTIONS = ("alloc", "free")
_NO_ARGS, _NO_MEMORY = Args(), Memory()

Columns = dict[str, Any]
Item = TypeVar("Item")
Kinds = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


class Timed(NamedTuple):
    """Spans of a usable start: kind (index into KINDS), start, duration (UNTOLD: unusable); how many lack which."""

    spans: Sequence[Span[Any]]
    kinds: Kinds
    ts_ns: Ns
    dur_ns: Ns
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
        return Timed(spans, kinds, ts_ns, dur_ns, 0, 0)
    durations = np.where(lasting, dur_ns, UNTOLD)[usable]
    lost, without_dur = len(spans) - np.count_nonzero(usable), np.count_nonzero(durations == UNTOLD)
    return Timed(chosen(spans, usable), kinds[usable], ts_ns[usable], durations, int(lost), int(without_dur))


def slices(timed_spans: Timed, names: Coded) -> Columns:
    """Columns of `slices`; `names` has each span's."""
    spans, kinds = timed_spans.spans, timed_spans.kinds
    args = [span.args or _NO_ARGS for span in spans]
    columns: Columns = {
        "ts_ns": timed_spans.ts_ns,
        "dur_ns": timed_spans.dur_ns,
        "kind": Coded(kinds, KINDS),
        "name": names,
        "correlation": integers([arg.correlation for arg in args]),
        "external_id": _external_ids(args),
    }
    on_host = kinds < len(HOST)
    if on_host.any():
        columns["thread"] = _texts_of(on_host, _threads(chosen(spans, on_host)))
        operators = np.flatnonzero(kinds == OP)
        columns |= _work(spans, args, operators[names.answers(operators, is_known) == 1])
    if not on_host.all():
        columns["category"] = Coded(_categories(kinds, names), _CATEGORIES)
        columns |= _device_columns(chosen(spans, ~on_host), chosen(args, ~on_host), ~on_host)
    return columns


def chosen(items: Sequence[Item], which: Bools) -> Sequence[Item]:
    """Those of the items that `which` says."""
    return items if which.all() else list(compress(items, which.tobytes()))


def allocations(instants: Sequence[Instant[Any]], base_ns: int) -> tuple[Columns, int]:
    """Columns of `allocations`, and how many instants are left out because they tell no moment or no size."""
    ns, known = ns_of_us([instant.ts for instant in instants])
    ts_ns = ns + base_ns
    args: Sequence[Memory] = [instant.args or _NO_MEMORY for instant in instants]
    sizes = integers([arg.bytes for arg in args])
    usable = known & on_axis(ts_ns) & (sizes != UNTOLD)
    if not usable.all():
        instants, args = chosen(instants, usable), chosen(args, usable)
        ts_ns, sizes = ts_ns[usable], sizes[usable]
    on_cpu = integers([arg.device_type for arg in args]) == CPU_DEVICE_TYPE
    columns: Columns = {
        "ts_ns": ts_ns,
        "thread": _threads(instants),
        "device": coded([_device(arg) for arg in args], _text),
        "action": Coded((sizes < 0).astype(np.int8), _ACTIONS),
        "bytes": abs(sizes),
        "address": integers([arg.address for arg in args]),
        "in_use_bytes": integers([arg.allocated for arg in args]),
        # The host's allocator reserves nothing that it could tell, and says 0.
        "reserved_bytes": np.where(on_cpu, UNTOLD, integers([arg.reserved for arg in args])),
    }
    return columns, len(known) - len(args)


def _device(arg: Memory) -> Named:
    return "cpu" if arg.device_type == CPU_DEVICE_TYPE else arg.device


def _external_ids(args: Sequence[Args]) -> Ns:
    """Today's, else those of 2020."""
    ids = integers([arg.external for arg in args])
    untold = np.flatnonzero(ids == UNTOLD)
    ids[untold] = integers([args[place].old_external for place in untold.tolist()])
    return ids


def _numbers_of(rows: Bools, numbers: Ns) -> Ns:
    """A column with the numbers in these rows, UNTOLD in the others."""
    column = np.full(len(rows), UNTOLD)
    column[rows] = numbers
    return column


def _texts_of(rows: Bools, texts: Coded) -> Coded:
    """A column with the texts in these rows, NULL in the others."""
    column = np.full(len(rows), len(texts.values), np.int32)
    column[rows] = texts.codes
    return Coded(column, [*texts.values, None])


def _categories(kinds: Kinds, names: Coded) -> npt.NDArray[np.int8]:
    """Each span's, as an index into _CATEGORIES."""
    categories: npt.NDArray[np.int8] = _CATEGORY_OF_KIND[kinds]
    kernels = kinds == KERNEL
    categories[kernels] = names.answers(kernels, _category_of)
    return categories


def _category_of(name: str) -> int:
    return CATEGORIES.index(kernel_category(name))


def _device_columns(spans: Sequence[Span[Any]], args: Sequence[Args], rows: Bools) -> Columns:
    devices = [span.pid if arg.device is None else arg.device for span, arg in zip(spans, args, strict=True)]
    streams = [span.tid if arg.stream is None else arg.stream for span, arg in zip(spans, args, strict=True)]
    sizes = [arg.bytes if isinstance(arg.bytes, int) else None for arg in args]
    return {
        "device": _texts_of(rows, coded(devices, _text)),
        "stream": _texts_of(rows, coded(streams, _text)),
        "bytes": _numbers_of(rows, integers(sizes)),
    }


def _work(spans: Sequence[Span[Any]], args: Sequence[Args], places: npt.NDArray[np.intp]) -> Columns:
    """What the operators at these places computed, by their shapes; no columns where none tells it."""
    told = {place: work for place in places.tolist() if (work := work_of(spans[place].name, args[place]))}
    if not told:
        return {}
    rows = [told.get(place, UNKNOWN) for place in range(len(spans))]
    return {
        "flops": integers([row.flops for row in rows]),
        "accessed_bytes": integers([row.accessed_bytes for row in rows]),
        "precision": coded([row.precision for row in rows], lambda precision: precision),
    }


def _threads(events: Sequence[Span[Any]] | Sequence[Instant[Any]]) -> Coded:
    """Process and thread of each event, as process/thread."""
    pids, tids = [event.pid for event in events], [event.tid for event in events]
    if len(set(pids)) == 1:
        return coded(tids, lambda tid: f"{_known(pids[0])}/{_known(tid)}")
    return coded(zip(pids, tids, strict=True), lambda both: f"{_known(both[0])}/{_known(both[1])}")


def _known(number: Named) -> Named:
    return "?" if number is None else number


def _text(number: Named) -> str | None:
    return None if number is None else str(number).removeprefix("stream ")
