"""Allocator snapshots, and what is said of those that must be refused."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.stores import SHARED, read
from toolkit.errors import HwprofError

REAL = SHARED / "memory" / "cuda_memory_snapshot.pickle"

MIB = 1 << 20


def segment(*blocks: tuple[int, str], address: int = 0, **more: Any) -> dict[str, Any]:
    """A segment of blocks given as (size, state), which states their sums."""
    sizes = {state: sum(size for size, of in blocks if of == state) for _, state in blocks}
    total = sum(sizes.values())
    return {
        "device": 0, "address": address, "stream": 0, "segment_type": "large", "segment_pool_id": (0, 0),
        "total_size": total, "active_size": total - sizes.get("inactive", 0),
        "allocated_size": sizes.get("active_allocated", 0), "requested_size": 1, "is_expandable": False, "frames": [],
        "blocks": [{"size": size, "requested_size": size, "state": state, "frames": []} for size, state in blocks],
    } | more  # fmt: skip


def event(action: str, addr: int, size: int, time_us: int = 1_700_000_000_000_001) -> dict[str, Any]:
    """An entry of the history."""
    frames = [{"name": "forward", "filename": "model.py", "line": 3}]
    return {"action": action, "addr": addr, "size": size, "stream": 0, "time_us": time_us, "frames": frames}


OOM = {"action": "oom", "size": 70, "device_free": 9, "stream": 0, "time_us": 1_700_000_000_000_009, "frames": []}
SEGMENTS = [
    segment((2 * MIB, "active_allocated"), (MIB, "inactive"), (3 * MIB, "inactive"), address=4096),
    segment((20 * MIB, "inactive"), address=100 * MIB, requested_size=0),
    segment((MIB, "active_pending_free"), (MIB, "inactive"), address=200 * MIB, is_expandable=True, device=1, stream=7),
]
HISTORY = [
    event("segment_alloc", 4096, 6 * MIB),
    event("alloc", 4096, 2 * MIB - 5),
    event("free_requested", 100 * MIB, 20 * MIB),
    event("free_completed", 100 * MIB, 20 * MIB),
    OOM,
    event("segment_free", 300 * MIB, 2 * MIB),
    event("snapshot", 0, 0),
]
SNAPSHOT = {
    "segments": SEGMENTS, "device_traces": [HISTORY, []], "allocator_settings": {"max_split_size": -1, "x": 0.5},
    "external_annotations": [],
}  # fmt: skip


def write(folder: Path, content: Any, protocol: int = 4) -> Path:
    """A snapshot of these bytes, or of this object pickled."""
    path = folder / "memory_snapshot.pickle"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol))
    return path


def refused(folder: Path, content: Any) -> str:
    """What the error says about a snapshot that must be refused, with nothing of it stored."""
    path = write(folder, content)
    with pytest.raises(HwprofError, match=r"memory_snapshot\.pickle") as caught:
        read(path)
    assert list((folder / "store").iterdir()) == []
    return str(caught.value)
