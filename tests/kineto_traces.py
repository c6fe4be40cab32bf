"""Events as Kineto writes them, and a store of them."""

import json
from pathlib import Path
from typing import Any

IDS = {"correlation": 1, "External id": 4}
LAUNCH = {
    "ph": "X",
    "cat": "cuda_runtime",
    "name": "cudaLaunchKernel",
    "pid": 7,
    "tid": 8,
    "ts": 10.5,
    "dur": 2,
    "args": IDS,
}
KERNEL = {
    "ph": "X", "cat": "kernel", "name": "volta_sgemm_64x64_nt", "pid": 0, "tid": 7, "ts": 11.125, "dur": 3.001,
    "args": IDS | {"device": 0, "stream": 7},
}  # fmt: skip
OP = {
    "ph": "X",
    "cat": "cpu_op",
    "name": "aten::mm",
    "pid": 7,
    "tid": 8,
    "ts": 10,
    "dur": 3,
    "args": {"External id": 4},
}
COPY = {
    "ph": "X", "cat": "gpu_memcpy", "name": "Memcpy HtoD", "pid": 1, "tid": 7, "ts": 20, "dur": 1,
    "args": {"bytes": 9, "stream": 20, "correlation": 2},
}  # fmt: skip
COPIES = LAUNCH | {"name": "cudaMemcpyAsync", "args": {"correlation": 2}}
MEMORY = {
    "ph": "i", "s": "t", "name": "[memory]", "pid": 7, "tid": 8, "ts": 10.25,
    "args": {"Device Type": 1, "Device Id": 0, "Addr": 4096, "Bytes": -512, "Total Allocated": 1, "Total Reserved": 2},
}  # fmt: skip
FLOW = {"ph": "s", "id": 1, "pid": 7, "tid": 8, "ts": 10.5, "cat": "ac2g", "name": "ac2g"}
PROCESS = {"name": "process_name", "ph": "M", "ts": 1, "pid": "Spans", "tid": 0, "args": {"name": "python"}}
EVENTS = [OP, LAUNCH, FLOW, KERNEL, COPIES, COPY, PROCESS, MEMORY]
WHOLE = json.dumps({"traceEvents": EVENTS}).encode()
MEMBERS = {"schemaVersion": 1, "deviceProperties": [{"id": 0}], "traceName": 'a"}], "traceEvents": [{'}
# Texts that a careless reader takes for JSON's own punctuation.
NASTY = ['}, {"ph": "X"', '"', "\\", '\\"]}', "\n", "é日😀", "\x00", "", "traceEvents", '"traceEvents": [', "]" * 9]
BASE = {"baseTimeNanoseconds": 1_000}


def write(folder: Path, content: Any, name: str = "worker.pt.trace.json") -> Path:
    """A trace file of this text, or of this document."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path
