"""Importer of PyTorch's CUDA allocator snapshots, the pickles of `torch.cuda.memory._dump_snapshot`.

A snapshot holds the allocator's segments and blocks as they are when it is taken, which is exact, and the events that
led there, as far back as its buffer reaches. The pickle is read by `plain_pickle`, its shape checked by msgspec; which
frame of a stack stands for it is `snapshot_frames`' business.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from toolkit.clock import NS_PER_US
from toolkit.errors import HwprofError
from toolkit.ingest import plain_pickle
from toolkit.ingest.columns import LATEST_NS
from toolkit.ingest.limits import SNAPSHOT_ROWS
from toolkit.ingest.reading import WHOLE, Reading, Salvage
from toolkit.ingest.snapshot_frames import user_frame
from toolkit.ingest.store import StoreWriter

FORMAT = "torch_memory_snapshot"
HEAD_BYTES = 256
BATCH_EVENTS = 1 << 16
NAMED = 5
# What an event is in `allocations.action`. A block that other streams still use is free only when free is completed.
ACTIONS = {
    "alloc": "alloc",
    "free_completed": "free",
    "segment_alloc": "segment_alloc",
    "segment_free": "segment_free",
    "segment_map": "segment_map",
    "segment_unmap": "segment_unmap",
    "oom": "oom",
}
# Events that change nothing that is in use or reserved.
SILENT_ACTIONS = {"free_requested", "snapshot", "user_defined"}

# Other pickles are none of ours, whatever lies beside a trace.
_NAME = re.compile(r"snapshot\w*\.(pickle|pkl)$")
_HEAD = re.compile(rb"\x80[\x02-\x05](\x95.{8})?\}", re.DOTALL)
_SEGMENTS = b"segments"

_Bytes = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Microseconds = Annotated[int, Meta(ge=0, lt=LATEST_NS // NS_PER_US)]


class Block(Struct):
    """A part of a segment: active_allocated, active_pending_free (in older versions …awaiting_free) or inactive."""

    size: _Bytes
    state: Literal["active_allocated", "active_pending_free", "active_awaiting_free", "inactive"]
    requested_size: _Bytes | None = None
    frames: Any = None


class Segment(Struct):
    """Memory that the allocator got by one cudaMalloc, or a mapped range of an expandable segment; holds Blocks."""

    device: _Number
    address: _Bytes
    stream: _Number
    segment_type: Literal["large", "small"]
    total_size: _Bytes
    allocated_size: _Bytes
    active_size: _Bytes
    blocks: list[Any]
    requested_size: _Bytes | None = None
    is_expandable: bool | None = None


class Event(Struct):
    """What the allocator did. `size` is what was asked for; `oom` tells the device's free bytes, no address."""

    action: str
    size: _Bytes
    addr: _Bytes | None = None
    time_us: _Microseconds | None = None
    device_free: _Bytes | None = None
    frames: Any = None


class Snapshot(Struct):
    """The pickled dict; each device's events are a list of their own."""

    segments: list[Any]
    device_traces: list[Any]


def matches(path: Path) -> bool:
    """Whether the name is that of a pickled snapshot, or the first bytes are a pickled dict with segments."""
    if _NAME.search(path.name):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return bool(_HEAD.match(head)) and _SEGMENTS in head


def read(path: Path, *, trace: int, pass_name: str | None, store: StoreWriter, reading: Reading = WHOLE) -> None:
    """Appends the snapshot to `traces`, `segments`, `blocks`, `allocations` and `warnings`.

    Raises HwprofError naming the file where it is damaged, hostile, or no snapshot of the allocator.
    """
    intake = _Intake(trace, pass_name, store)
    try:
        snapshot = msgspec.convert(_content(path, reading), Snapshot)
        intake.take_segments(snapshot.segments)
        for device, events in enumerate(snapshot.device_traces):
            intake.take_events(device, events)
    except ValueError as error:  # msgspec's ValidationError is one
        problem = f"{path} is no snapshot of the CUDA allocator: {str(error)!a:.200}."
        raise HwprofError(problem, remedy="Give what torch.cuda.memory._dump_snapshot wrote.") from error
    intake.finish(store.relative(path), gpus=len(snapshot.device_traces))


def _content(path: Path, reading: Reading) -> object:
    """The pickled dict; of one that is salvaged, the lists that the damage took are empty."""
    data = plain_pickle.read(path, reading)
    if isinstance(reading, Salvage) and reading.damages and isinstance(data, dict):
        return {"segments": [], "device_traces": []} | data
    return data


class _Intake:
    """Takes segments and events into the store, and keeps count."""

    def __init__(self, trace: int, pass_name: str | None, store: StoreWriter) -> None:
        self._keys = {"trace": trace, "pass_name": pass_name}
        self._store = store
        # A list of a pickle can stand in it many times over, so a small one can hold many.
        self._rows, self._most_rows = 0, SNAPSHOT_ROWS.value()
        self._events = 0
        self._contradictions = 0
        self._unknown: Counter[str] = Counter()
        self._out_of_memory: list[Event] = []
        # Blocks in use when the snapshot was taken, by device; and what of blocks the history does not show.
        self._in_use: defaultdict[int, set[int]] = defaultdict(set)
        self._freed_unseen = 0
        self._held_unseen = 0

    def take_segments(self, segments: Sequence[Any]) -> None:
        """Appends to `segments` and `blocks`. Raises ValueError where one has not the shape of a segment."""
        blocks: list[dict[str, Any]] = []
        rows = [self._segment(msgspec.convert(item, Segment), blocks) for item in segments]
        self._store.append_rows("segments", rows)
        self._store.append_rows("blocks", blocks)

    def take_events(self, device: int, events: Any) -> None:
        """Appends one device's events to `allocations`. Raises ValueError where they have not the shape of events."""
        if not isinstance(events, list):
            raise ValueError("a device's events are no list")
        self._spend(len(events))
        self._events += len(events)
        live: set[int] = set()
        for start in range(0, len(events), BATCH_EVENTS):
            batch = msgspec.convert(events[start : start + BATCH_EVENTS], list[Event])
            self._replay(batch, live)
            self._append_events(device, [event for event in batch if event.action in ACTIONS])
            self._unknown.update(event.action for event in batch if event.action not in ACTIONS.keys() | SILENT_ACTIONS)
            self._out_of_memory += [event for event in batch if event.action == "oom"]
        self._held_unseen += len(self._in_use[device] - live)

    def _spend(self, rows: int) -> None:
        self._rows += rows
        if self._rows > self._most_rows:
            raise ValueError(f"it holds more than {self._most_rows} blocks and events ({SNAPSHOT_ROWS.variable})")

    def _segment(self, segment: Segment, in_use: list[dict[str, Any]]) -> dict[str, Any]:
        """A row of `segments`; those of `blocks` that it holds are appended to `in_use`."""
        self._spend(1 + len(segment.blocks))
        blocks = msgspec.convert(segment.blocks, list[Block])
        sums: Counter[str] = Counter()
        address = segment.address
        for block in blocks:
            sums[block.state] += block.size
            if block.state != "inactive":
                self._in_use[segment.device].add(address)
                in_use.append(self._block(segment.device, address, block))
            address += block.size
        total, inactive, allocated = sums.total(), sums["inactive"], sums["active_allocated"]
        stated = (segment.total_size, segment.active_size, segment.allocated_size)
        self._contradictions += stated != (total, total - inactive, allocated)
        return self._keys | {
            "device": str(segment.device),
            "address": segment.address,
            "stream": str(segment.stream),
            "type": segment.segment_type,
            "total_bytes": segment.total_size,
            "allocated_bytes": segment.allocated_size,
            "active_bytes": segment.active_size,
            "requested_bytes": segment.requested_size,
            "is_expandable": segment.is_expandable,
            "blocks": len(blocks),
            "largest_free_bytes": max((block.size for block in blocks if block.state == "inactive"), default=0),
        }

    def _block(self, device: int, address: int, block: Block) -> dict[str, Any]:
        return self._keys | {
            "device": str(device),
            "address": address,
            "bytes": block.size,
            "requested_bytes": block.requested_size,
            "frame": user_frame(block.frames),
        }

    def _replay(self, events: Sequence[Event], live: set[int]) -> None:
        """Keeps `live`, the addresses that the events allocated and did not free, and counts frees of others."""
        for event in events:
            if event.addr is None:
                continue
            if event.action == "alloc":
                live.add(event.addr)
            elif event.action == "free_completed":
                self._freed_unseen += event.addr not in live
                live.discard(event.addr)

    def _append_events(self, device: int, events: Sequence[Event]) -> None:
        times_us = [event.time_us for event in events]
        columns = {
            "trace": [self._keys["trace"]] * len(events),
            "pass_name": [self._keys["pass_name"]] * len(events),
            "ts_ns": [None if time_us is None else time_us * NS_PER_US for time_us in times_us],
            "device": [str(device)] * len(events),
            "action": [ACTIONS[event.action] for event in events],
            "bytes": [event.size for event in events],
            "address": [event.addr for event in events],
            "frame": [user_frame(event.frames) for event in events],
        }
        self._store.append("allocations", columns)

    def finish(self, path: str, *, gpus: int) -> None:
        """Appends the rows of `traces` and `warnings`."""
        row = {"path": path, "format": FORMAT, "events": self._events, "gpus": gpus}
        self._store.append_rows("traces", [self._keys | row])
        columns = ("code", "count", "message", "untrusted")
        rows = [dict(zip(columns, finding, strict=True)) for finding in self._findings()]
        self._store.append_rows("warnings", [self._keys | row for row in rows if row["count"]])

    def _findings(self) -> Iterator[tuple[str, int, str, bool]]:
        if not self._events:
            message = "The snapshot holds no history: it was not being recorded when the snapshot was taken."
            yield "no_history", 1, message, False
        else:
            freed, held = self._freed_unseen, self._held_unseen
            message = (
                f"The history begins after {freed + held} blocks were allocated: {freed} that it frees, {held} still in"
                " use at its end."
            )
            yield "history_truncated", freed + held, message, False
        count = len(self._out_of_memory)
        if count:
            last = self._out_of_memory[-1]
            free = "an unknown number of" if last.device_free is None else last.device_free
            message = f"Out of memory {count} times; last, {last.size} bytes were asked for and {free} bytes free."
            yield "out_of_memory", count, message, False
        count = self._contradictions
        yield "segment_sums", count, f"{count} segments state other sums than those of their blocks.", True
        count, names = self._unknown.total(), ", ".join(f"{name!a:.40}" for name in sorted(self._unknown)[:NAMED])
        yield "unknown_actions", count, f"{count} events are of actions that are not analysed: {names}.", True
