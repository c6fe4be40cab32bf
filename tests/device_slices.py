"""Slices made by hand: device work, the calls that launched it and the host's spans around those."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
from hypothesis import strategies as st

from toolkit.analyses.kernel_attribution import KernelPart
from toolkit.ingest.store import StoreWriter, connect

Row = dict[str, Any]


def connected(folder: Path, slices: Sequence[Row], traces: Sequence[Row] = ()) -> duckdb.DuckDBPyConnection:
    """A store of these slices, of trace 0 unless they tell another."""
    with StoreWriter(folder) as store:
        store.append_rows("slices", [{"trace": 0, "name": "f"} | row for row in slices])
        store.append_rows("traces", traces)
    return connect(folder)


def span(kind: str, name: str, start: int, end: int, **more: Any) -> Row:
    """A slice of the host's main thread, unless told otherwise."""
    return {"kind": kind, "name": name, "ts_ns": start, "dur_ns": end - start, "thread": "1/1"} | more


def launch(correlation: int, start: int, **more: Any) -> Row:
    """A call that launches a kernel, 2 ns long."""
    return span("launch", "cudaLaunchKernel", start, start + 2, correlation=correlation, **more)


def kernel(correlation: int | None, start: int, end: int, **more: Any) -> Row:
    """A kernel of stream 7 of device 0, unless told otherwise."""
    place = {"thread": None, "device": "0", "stream": "7", "correlation": correlation}
    return span("kernel", "k", start, end) | place | more


def times(parts: Sequence[KernelPart]) -> dict[str | None, int]:
    """Kernel time by name."""
    return {part.name: part.kernel_ns for part in parts}


CALLS = st.integers(1, 6)
DEVICE_WORK = st.builds(
    lambda correlation, start, length, stream, kind: kernel(
        correlation, start, start + length, stream=stream, kind=kind
    ),
    st.none() | CALLS, st.integers(0, 200), st.integers(0, 40), st.sampled_from(["7", "8"]),
    st.sampled_from(["kernel", "memcpy", "memset"]),
)  # fmt: skip
LAUNCHED = st.dictionaries(CALLS, st.integers(0, 200))
