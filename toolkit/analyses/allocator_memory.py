"""Memory of a run by allocator, one row for each: what it had and took, and what the device had besides.

What an allocator does not tell is None, with the reason in words.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
from msgspec import Struct

from toolkit.analyses import runner
from toolkit.own_spec import TIMED
from toolkit.spec import FRAMEWORKS_SPELT

CPU = "cpu"
FRAMEWORK_OF = {"kineto": "torch", "torch_memory_snapshot": "torch"}
RELATIVE = "relative"
GROWTH = "growth"
# What a row tells of, by what `unavailable` calls it.
FIGURES = {
    "in_use_bytes": "in_use",
    "reserved_bytes": "reserved",
    "peak_in_use_bytes": "peak_in_use",
    "peak_reserved_bytes": "peak_reserved",
    "growth_events": "growth_events",
    "largest_free_bytes": "largest_free",
    "fragmented_bytes": "fragmentation",
    "fragmentation": "fragmentation",
}
PYTORCH_SPLIT = "inactive_split / reserved (PyTorch)"
BFC_FREE = "(free - largest free) / free (BFC)"
NO_POOL = "PyTorch's CPU allocator keeps no pool of its own"
NOT_TOLD = {
    "torch": "PyTorch's events and counters do not tell it",
    "tf": "neither get_memory_info nor the trace's events tell it",
    "jax": "memory_stats() does not tell it",
    None: "the trace's events do not tell it",
}
Row = dict[str, Any]

# Those who told, in the order in which they are believed: counters know the whole process, a trace its window.
TELLERS = ("counters", "live_arrays", "snapshot", "trace")


class AllocatorMemory(Struct, frozen=True, kw_only=True):
    """One allocator in one pass, when it last told: at the last epoch's end, or at the end of its trace.

    `basis`: what `in_use_bytes` counts from, by memory_levels. Peaks, and `growth_events`, how often it asked the
    driver for more, are of the process where its counters told them, else of the trace. `fragmentation` is by the
    allocator's own definition, `fragmentation_is`, and `fragmented_bytes` what that counts. `device_bytes`: in use at
    the same moment on the GPU, by NVML less the baseline, or resident of the worker on the host. `unexplained_bytes`:
    device less reserved (less in use, where nothing is reserved): context, libraries, others. `told_by`: figure to
    who told it. `reasons`: figure to why it is null.
    """

    pass_name: str
    device: str | None
    framework: str | None
    allocator: str
    basis: str | None
    ts_ns: int | None
    in_use_bytes: int | None
    reserved_bytes: int | None
    peak_in_use_bytes: int | None
    peak_reserved_bytes: int | None
    growth_events: int | None
    largest_free_bytes: int | None
    fragmented_bytes: int | None
    fragmentation: float | None
    fragmentation_is: str | None
    device_bytes: int | None
    unexplained_bytes: int | None
    told_by: dict[str, str]
    reasons: dict[str, str]


def allocator_memory(connection: duckdb.DuckDBPyConnection) -> list[AllocatorMemory]:
    """Each allocator of each pass of a run, the unprofiled pass first; of other traces nothing."""
    unavailable = runner.run(connection, "unavailable")
    grouped: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in runner.run(connection, "allocator_memory"):
        # Counters, trace and snapshot of a GPU tell of one allocator; the host may have several.
        own = row["allocator"] if row["device"] in (CPU, None) else None
        grouped[row["pass_name"], row["device"], own].append(row)
    telling = {(pass_name, device) for pass_name, device, _ in grouped}
    for row in unavailable:
        of_allocator = row["source"] in FRAMEWORKS_SPELT and row["metric"] == "allocator"
        if of_allocator and (row["pass_name"], row["device"]) not in telling:
            grouped[row["pass_name"], row["device"], None] = []
    found = [_merged(key, rows, unavailable) for key, rows in grouped.items()]
    return sorted(found, key=lambda row: (row.pass_name not in TIMED, row.device or "", row.allocator))


def first_gpus(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """NVML's number of the GPU that the framework calls device 0, by pass; without those of which nothing is said."""
    return dict(connection.execute("SELECT pass_name, device FROM first_gpus").fetchall())


def _merged(key: tuple[Any, ...], rows: Sequence[Row], unavailable: Iterable[Row]) -> AllocatorMemory:
    """One row of those who told of the same allocator; the moment and what the device had are those of the first."""
    pass_name, device, _ = key
    ranked = sorted(rows, key=lambda row: TELLERS.index(row["told_by"]))
    first = ranked[0] if ranked else None
    of_pass = [row for row in unavailable if row["pass_name"] == pass_name]
    named = [row["framework"] or FRAMEWORK_OF.get(row["format"]) for row in ranked]
    named += [row["source"] for row in of_pass if row["source"] in FRAMEWORKS_SPELT]
    framework = next(filter(None, named), None)
    figures, told_by = _figures(ranked)
    own = {row["metric"]: row["reason"] for row in of_pass if (row["source"], row["device"]) == (framework, device)}
    reasons = _reasons(figures, _usual_reason(framework, device, first, own), own)
    if first is None or first["device_bytes"] is None:
        reasons["device_bytes"] = _no_device(device, first, of_pass)
    outside = first["device_bytes"] if first else None
    held = figures["reserved_bytes"] if figures["reserved_bytes"] is not None else figures["in_use_bytes"]
    explained = None if held is None or outside is None else outside - held
    if explained is None:
        reasons["unexplained_bytes"] = reasons.get("device_bytes") or "what the allocator holds is not told"
    return AllocatorMemory(
        pass_name=pass_name, device=device, framework=framework, allocator=_name(framework, ranked),
        basis=first["basis"] if first else None, ts_ns=first["ts_ns"] if first else None, **figures,
        fragmentation_is=_definition(figures["fragmentation"], framework),
        device_bytes=outside, unexplained_bytes=explained, told_by=told_by, reasons=reasons,
    )  # fmt: skip


def _figures(ranked: Sequence[Row]) -> tuple[Row, dict[str, str]]:
    """Each figure by the first who told it, and who that was. Of an unknown level only changes are known."""
    figures: Row = {}
    told_by: dict[str, str] = {}
    for name in FIGURES:
        levels = name in ("in_use_bytes", "peak_in_use_bytes")
        able = [row for row in ranked if row[name] is not None and not (levels and row["basis"] == RELATIVE)]
        figures[name] = able[0][name] if able else None
        if able:
            told_by[name] = able[0]["told_by"]
    return figures, told_by


def _reasons(figures: Row, usual: str, own: dict[str, str]) -> dict[str, str]:
    """Why each figure that is None is so: as the worker said of it, else as usual."""
    return {name: own.get(metric, usual) for name, metric in FIGURES.items() if figures[name] is None}


def _usual_reason(framework: str | None, device: str | None, first: Row | None, own: dict[str, str]) -> str:
    """Why what nobody speaks of by name is not told."""
    if (first is None or first["told_by"] == "live_arrays") and "allocator" in own:
        return own["allocator"]
    if first and first["basis"] == RELATIVE:
        return "the trace tells sizes, and not the level that they change"
    # TensorFlow's on the host have pools, and say 0 of them
    return NO_POOL if (device, framework) == (CPU, "torch") else NOT_TOLD[framework]


def _no_device(device: str | None, first: Row | None, of_pass: Iterable[Row]) -> str:
    if first is None:
        return "there is no moment to read it at"
    said = [row["reason"] for row in of_pass if row["source"] == "nvml" and row["metric"] in ("all", "memory_used")]
    return said[0] if said and device != CPU else "no reading of the sampler lies before the moment"


def _definition(fragmentation: float | None, framework: str | None) -> str | None:
    if fragmentation is None:
        return None
    return PYTORCH_SPLIT if framework == "torch" else BFC_FREE


def _name(framework: str | None, ranked: Sequence[Row]) -> str:
    """The framework's, with what a trace calls the allocator."""
    spelt = FRAMEWORKS_SPELT.get(framework or "", "")
    named = next((row["allocator"] for row in ranked if row["allocator"]), "")
    return f"{spelt} {named}".strip() or "not named"
