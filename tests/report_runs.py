"""A run with everything that a report draws, and names in it that would do harm wherever one was taken for markup."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.made_runs import MS, TRACE, end_as, files_of, made_run, marks, slices
from toolkit.analyses.summary import summarise

HOSTILE = (
    "</script><script>window.harmed=1</script><img src=x onerror=window.harmed=1>"
    "<a href='http://example.invalid/'>x</a>\"'`${window.harmed=1}{{7*7}}\u2028\u202e\x1b[2J"
)
MIB = 2**20
STEPS_MS = [12.0 + (step % 7) for step in range(30)]


def whole_run(folder: Path, *, status: str = "complete", readings: int = 60) -> Path:
    """A run of two epochs on one GPU, whose sensors were read so often, with hostile names throughout."""
    end_as(status, made_run(folder, STEPS_MS, kernels={"gemm": 1}))
    facts = {"cpu": HOSTILE, "versions": {"torch": HOSTILE}, HOSTILE: {HOSTILE: [HOSTILE]}}
    (folder / "raw" / "time" / "facts.json").write_text(json.dumps(facts))
    reason = HOSTILE if status != "complete" else None
    (folder / "run.json").write_text(json.dumps({"status": status, "reason": reason, "exit_code": 0}))
    for name, content in _stored(readings).items():
        (folder / name).write_bytes(content)
    return folder


@cache
def _stored(readings: int) -> dict[str, bytes]:
    return files_of(_tables(readings), lambda connection: summarise(connection, batch=8))


def _tables(readings: int) -> dict[str, list[dict[str, Any]]]:
    span_ns = round(sum(STEPS_MS) + 10) * MS
    op = {"trace": 0, "pass_name": "profile", "kind": "op", "thread": "1/1", "category": "forward"}
    return {
        "marks": [*marks(STEPS_MS), *(mark | {"pass_name": "profile"} for mark in marks(STEPS_MS))],
        "traces": [TRACE | {"path": f"{HOSTILE}.json"}],
        "slices": [
            *slices({HOSTILE: 5 * MS, "gemm": 9 * MS, "conv": 30 * MS}),
            *(op | {"name": name, "ts_ns": at * MS, "dur_ns": 3 * MS} for at, name in enumerate([HOSTILE, "aten::mm"])),
        ],
        "warnings": [{"trace": 0, "pass_name": "profile", "code": HOSTILE, "count": 3, "message": HOSTILE,
                      "untrusted": True}],
        "unavailable": [{"pass_name": "time", "source": HOSTILE, "metric": HOSTILE, "reason": HOSTILE}],
        "allocations": [
            {"trace": 0, "pass_name": "profile", "ts_ns": at * MS, "device": "0", "allocator": HOSTILE, "op": HOSTILE,
             "action": "alloc", "bytes": MIB, "address": at, "in_use_bytes": (at + 1) * MIB, "reserved_bytes": 64 * MIB}
            for at in range(20)
        ],
        "counters": [
            {"pass_name": "time", "source": "nvml", "device": "0", "metric": metric, "unit": unit,
             "ts_ns": at * span_ns // readings, "value": usual * (1 + at % 5)}
            for metric, unit, usual in (("power", "mW", 90_000), ("memory_used", "B", 2**30), ("utilisation", "%", 17))
            for at in range(readings)
        ],
        "gpus": [{"pass_name": "time", "device": "0", "name": HOSTILE, "uuid": "GPU-x", "driver": "580", "used": True}],
    }  # fmt: skip
