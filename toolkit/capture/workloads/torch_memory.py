"""What PyTorch tells of its memory on a GPU: the caching allocator's counters, and a snapshot with its history."""

from pathlib import Path

import torch

from toolkit.capture.record import Recorder

NATIVE = "native"
# torch.cuda.memory_stats() by our names; either backend keeps these.
COUNTERS = {
    "in_use": "allocated_bytes.all.current",
    "reserved": "reserved_bytes.all.current",
    "peak_in_use": "allocated_bytes.all.peak",
    "peak_reserved": "reserved_bytes.all.peak",
}
SNAPSHOT = "memory_snapshot.pickle"
# As many of the last events as a window of steps has and more, at some hundred bytes each.
MOST_EVENTS = 100_000


def report(record: Recorder, device: str) -> None:
    """The caching allocator's counters; PyTorch keeps none for host memory."""
    if device != "cuda":
        record.unavailable("torch", "cpu", "allocator", "PyTorch's CPU allocator keeps no counters")
        return
    figures = torch.cuda.memory_stats()
    for metric, key in COUNTERS.items():
        record.counter("torch", "0", metric, figures[key], "B")
    if is_native():
        record.counter("torch", "0", "inactive_split", figures["inactive_split_bytes.all.current"], "B")
        record.counter("torch", "0", "growth_events", figures["num_device_alloc"], "events")
        record.counter("torch", "0", "largest_free", _largest_free(), "B")
        return
    for metric in ("growth_events", "largest_free", "fragmentation"):
        record.unavailable("torch", "0", metric, "the backend cudaMallocAsync leaves its pool to the driver")


def is_native() -> bool:
    """Whether PyTorch's own caching allocator is at work, which alone has segments and a history."""
    return torch.cuda.get_allocator_backend() == NATIVE


def start_history() -> None:
    """Remembers each allocation with its Python frames from here on."""
    torch.cuda.memory._record_memory_history(stacks="python", max_entries=MOST_EVENTS)  # noqa: SLF001 - its one name


def write_history(folder: Path) -> None:
    """Writes what was remembered with the segments as they are, and forgets it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.cuda.memory._dump_snapshot(str(folder / SNAPSHOT))  # noqa: SLF001 - its one name
    torch.cuda.memory._record_memory_history(enabled=None)  # noqa: SLF001 - its one name


def _largest_free() -> int:
    segments = torch.cuda.memory_snapshot(include_traces=False)
    blocks = (block for segment in segments for block in segment["blocks"])
    return max((block["size"] for block in blocks if block["state"] == "inactive"), default=0)
