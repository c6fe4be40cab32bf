"""Batches of XPlane events as columns of the store: device work, host slices, allocations."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.ingest import xplane_names
from toolkit.ingest.arrays import array_of, numbered_texts, pa, texts_of
from toolkit.ingest.coded import Coded, combined
from toolkit.ingest.directions import DIRECTIONS
from toolkit.ingest.xplane_events import Batch, Bools, Codes, Stats
from toolkit.ingest.xplane_hlo import Scopes
from toolkit.ingest.xplane_names import DEVICE_ANNOTATION, LAUNCH, MEMCPY, MEMORY, MEMSET, OP

Columns = dict[str, Any]

# The stat in which each kind of event on a stream tells its particulars; what has none of these is a kernel.
_DETAIL_KINDS = {
    "memcpy_details": MEMCPY,
    "memset_details": MEMSET,
    "memalloc_details": DEVICE_ANNOTATION,
    "memfree_details": DEVICE_ANNOTATION,
    "memoryresidency_details": DEVICE_ANNOTATION,
}
_PROGRAM = "program_id"
_ORIGIN_STATS = (
    "tf_op", "annotation", "kernel_annotation", "prefix", "name", "hlo_op", "hlo_module", _PROGRAM,
)  # fmt: skip
_DEVICE_STATS = (*_DETAIL_KINDS, *_ORIGIN_STATS, "hlo_category", "correlation_id")
_HOST_STATS = (*_ORIGIN_STATS, "correlation_id", "step_num")
_MEMORY_STATS = (
    "allocator_name", "allocation_bytes", "addr", "bytes_allocated", "bytes_reserved", "fragmentation", "tf_op",
    "requested_bytes", "bytes_available", "peak_bytes_in_use", "region_type", "shape",
)  # fmt: skip


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
            "ts_ns": self.batch.start_ns,
            "dur_ns": self.batch.duration_ns(),
            "kind": numbered_texts(self.kinds, xplane_names.KINDS),
            "name": self.batch.names(),
            "correlation": self.correlation,
            **self.more,
        }


def device_slices(batch: Batch, scopes: Scopes) -> Slices:
    """A stream's events: kernels, copies and sets with their launch's correlation, category, bytes and operator."""
    stats = Stats(batch, _DEVICE_STATS)
    kinds = batch.by_name(xplane_names.device_kind)
    for detail, kind in _DETAIL_KINDS.items():
        kinds[stats.told(detail)] = kind
    details = combined(_bytes_of, stats.texts("memcpy_details"), stats.texts("memset_details"))
    more = {"category": _categories(batch, kinds, stats), "bytes": array_of(details, pa.int64())}
    return Slices(batch, kinds, _correlation(stats), more | _origin(stats, _operators(stats, scopes)))


def _bytes_of(copied: str | None, set_: str | None) -> int | None:
    return xplane_names.detail_bytes(copied or set_)


def _categories(batch: Batch, kinds: Codes, stats: Stats) -> pa.DictionaryArray:
    def category(kind: int, code: int, hlo: str | None) -> str | None:
        of_all = hlo or batch.plane.shared_text(code, "hlo_category")
        return xplane_names.device_category(kind, batch.plane.names[code], of_all)

    names = Coded(batch.codes, range(len(batch.plane.names)))
    every = Coded(kinds.astype(np.int64), range(len(xplane_names.KINDS)))
    return texts_of(combined(category, every, names, stats.texts("hlo_category")))


def host_slices(batch: Batch, scopes: Scopes) -> Slices:
    """A thread's events: operators, annotations, launches, Python frames; a step's marker with its number."""
    kinds = batch.by_name(xplane_names.host_kind)
    stats = Stats(batch, _HOST_STATS)
    kinds[stats.told("hlo_op")] = OP
    kinds[stats.told("correlation_id")] = LAUNCH
    places = np.flatnonzero(kinds == OP)
    directions = np.zeros(len(batch), np.int8)
    directions[places] = batch.plane.by_name(batch.plane.direction, batch.codes[places])
    more: Columns = {"step_num": stats.integers("step_num")}
    if batch.plane.stat_id("hlo_op") is not None:
        operators = _operators(stats, scopes)
        told = operators.mapped(lambda name: batch.plane.direction(name or ""))
        of_scopes = np.array(told.values, np.int8)[told.codes]
        directions = np.where(kinds == OP, np.maximum(directions, of_scopes), np.int8(0))
        more |= _origin(stats, operators)
    more["category"] = numbered_texts(directions, DIRECTIONS)
    return Slices(batch, kinds, _correlation(stats), more)


def _operators(stats: Stats, scopes: Scopes) -> Coded:
    """What each event says it is of; an instruction that has no name of the framework's gets it from its module."""

    def scope(prefix: str | None, name: str | None, hlo_op: str | None, program: int | None) -> str | None:
        known = scopes.get((program or 0, hlo_op or "")) if not (prefix or name) else None
        return known or xplane_names.instruction_scope(prefix, name, hlo_op)

    instruction = combined(
        scope, *(stats.texts(name) for name in ("prefix", "name", "hlo_op")), stats.numbers(_PROGRAM)
    )
    told = (stats.texts(name) for name in ("tf_op", "annotation", "kernel_annotation"))
    return combined(xplane_names.operator_of, instruction, *told)


def _origin(stats: Stats, operators: Coded) -> Columns:
    return {"op": texts_of(operators), "module": texts_of(stats.texts("hlo_module"))}


def _correlation(stats: Stats) -> pa.Int64Array:
    return stats.integers("correlation_id", least=1)  # profilers count launches from 1


def _told(text: str | None) -> str | None:
    return None if text == "(null)" else text


def is_memory(batch: Batch) -> Bools:
    """Which events are the allocator's."""
    memory: Bools = batch.by_name(xplane_names.host_kind) == MEMORY
    return memory


def allocations(batch: Batch) -> Columns:
    """Rows of `allocations` from a batch of nothing but the allocator's events."""
    stats = Stats(batch, _MEMORY_STATS)
    allocators = stats.texts("allocator_name")
    return {
        "ts_ns": batch.start_ns,
        "device": texts_of(allocators.mapped(xplane_names.allocator_device)),
        "allocator": texts_of(allocators),
        "action": numbered_texts(batch.by_name(xplane_names.allocation_action), xplane_names.ACTIONS),
        "bytes": stats.integers("allocation_bytes"),
        "address": stats.integers("addr"),
        "in_use_bytes": stats.integers("bytes_allocated"),
        # Allocators that keep no account of what they reserve, as all of TensorFlow's BFC ones, say 0.
        "reserved_bytes": stats.integers("bytes_reserved", least=1),
        "fragmentation": stats.doubles("fragmentation"),
        "op": texts_of(stats.texts("tf_op").mapped(_told)),
        "requested_bytes": stats.integers("requested_bytes"),
        "available_bytes": stats.integers("bytes_available"),
        "peak_in_use_bytes": stats.integers("peak_bytes_in_use"),
        "region": texts_of(stats.texts("region_type").mapped(_told)),
        "shape": texts_of(stats.texts("shape")),
    }
