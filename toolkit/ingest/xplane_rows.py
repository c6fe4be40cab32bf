"""Batches of XPlane events as columns of the store: device work, host slices, allocations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from toolkit.ingest import xplane_names
from toolkit.ingest.xplane_events import Batch, Bools, Codes, Stats
from toolkit.ingest.xplane_names import ANNOTATION, DEVICE_ANNOTATION, LAUNCH, MEMCPY, MEMORY, MEMSET, OP

Columns = dict[str, Any]

# The stat in which each kind of event on a stream tells its particulars; what has none of these is a kernel.
_DETAIL_KINDS = {
    "memcpy_details": MEMCPY,
    "memset_details": MEMSET,
    "memalloc_details": DEVICE_ANNOTATION,
    "memfree_details": DEVICE_ANNOTATION,
    "memoryresidency_details": DEVICE_ANNOTATION,
}
# What tells a host event's kind beside its name; where a plane knows none of these, its events' stats are not read.
_TELLING_STATS = ("correlation_id", "step_num", "hlo_op")


@dataclass(frozen=True)
class Slices:
    """Rows of `slices`: `kinds` are positions in KINDS, and a correlation is NULL where the event has none."""

    batch: Batch
    kinds: Codes
    correlation: pa.Int64Array
    more: Columns

    def columns(self) -> Columns:
        """As the store takes them."""
        return {
            "ts_ns": self.batch.start_ns(),
            "dur_ns": self.batch.duration_ns(),
            "kind": pa.array(xplane_names.KINDS).take(self.kinds),
            "name": self.batch.names(),
            "correlation": self.correlation,
            **self.more,
        }


def device_slices(batch: Batch) -> Slices:
    """A stream's events: kernels, copies and sets with their launch's correlation, category and bytes."""
    stats = Stats(batch, np.ones(len(batch), np.bool_))
    kinds = batch.by_name(xplane_names.device_kind)
    for detail, kind in _DETAIL_KINDS.items():
        kinds[stats.told(detail)] = kind
    details = zip(stats.texts("memcpy_details"), stats.texts("memset_details"), strict=True)
    sizes = [xplane_names.detail_bytes(copy or set_) for copy, set_ in details]
    more = {"category": _categories(batch, kinds, stats), "bytes": pa.array(sizes, pa.int64())}
    return Slices(batch, kinds, _correlation(stats), more)


def _categories(batch: Batch, kinds: Codes, stats: Stats) -> list[str | None]:
    names, told = batch.plane.names, stats.texts("hlo_category")
    known: dict[tuple[int, int, str | None], str | None] = {}
    keys = list(zip(kinds.tolist(), batch.codes.tolist(), told, strict=True))
    for kind, code, hlo in set(keys):
        of_all = hlo or batch.plane.shared_text(code, "hlo_category")
        known[kind, code, hlo] = xplane_names.device_category(kind, names[code], of_all)
    return [known[key] for key in keys]


def host_slices(batch: Batch) -> Slices:
    """A thread's events: operators, annotations, launches, Python frames; a step's marker with its number."""
    kinds = batch.by_name(xplane_names.host_kind)
    telling = any(batch.plane.stat_id(name) is not None for name in _TELLING_STATS)
    stats = Stats(batch, ((kinds == ANNOTATION) | (kinds == LAUNCH)) & telling)
    kinds[stats.told("hlo_op")] = OP
    kinds[stats.told("correlation_id")] = LAUNCH
    return Slices(batch, kinds, _correlation(stats), {"step_num": stats.integers("step_num")})


def _correlation(stats: Stats) -> pa.Int64Array:
    return stats.integers("correlation_id", least=1)  # profilers count launches from 1


def is_memory(batch: Batch) -> Bools:
    """Which events are the allocator's."""
    memory: Bools = batch.by_name(xplane_names.host_kind) == MEMORY
    return memory


def allocations(batch: Batch) -> Columns:
    """Rows of `allocations` from a batch of nothing but the allocator's events."""
    stats = Stats(batch, np.ones(len(batch), np.bool_))
    allocators = stats.texts("allocator_name")
    return {
        "ts_ns": batch.start_ns(),
        "device": [xplane_names.allocator_device(name) for name in allocators],
        "allocator": allocators,
        "action": pa.array(xplane_names.ACTIONS).take(batch.by_name(xplane_names.allocation_action)),
        "bytes": stats.integers("allocation_bytes"),
        "address": stats.integers("addr"),
        "in_use_bytes": stats.integers("bytes_allocated"),
        # Allocators that keep no account of what they reserve, as all of TensorFlow's BFC ones, say 0.
        "reserved_bytes": stats.integers("bytes_reserved", least=1),
        "fragmentation": stats.doubles("fragmentation"),
        "op": [None if op == "(null)" else op for op in stats.texts("tf_op")],
    }
