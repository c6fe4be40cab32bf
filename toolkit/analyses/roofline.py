"""Where operators stand below the roofline: achieved FLOP/s, arithmetic intensity, and what device and memory allow.

By Williams, Waterman and Patterson (2009): no more FLOP/s than the device's peak, nor than intensity times bandwidth.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import duckdb
from msgspec import Struct

from toolkit.analyses import runner
from toolkit.analyses.device_peaks import Peak, peak_of

NO_PEAK_OF_HOST = "a processor does not tell its peak"
MODELS = "SELECT trace, gpu_model FROM traces"


class RooflinePart(Struct, frozen=True, kw_only=True):
    """The calls of one operator at one precision on one device (null: the host), whose shapes tell their FLOPs.

    `flops` and `accessed_bytes` are of all calls, the bytes of operands and results each once; `intensity` is FLOPs a
    byte. `ceiling_flops_per_s` is what they could come to, each call bound by the peak or by memory (`bound_by`: which
    holds for most of that least time); `of_ceiling` the achieved share of it. All are null where the device's peak is
    not known, with the reason.
    """

    trace: int
    device: str | None
    operator: str
    precision: str | None
    calls: int
    kernels: int
    ns: int
    flops: int
    accessed_bytes: int | None
    intensity: float | None
    flops_per_s: float | None
    peak_flops_per_s: int | None
    peak_bytes_per_s: int | None
    ceiling_flops_per_s: float | None
    bound_by: str | None
    of_ceiling: float | None
    reason: str | None


def rooflines(connection: duckdb.DuckDBPyConnection) -> list[RooflinePart]:
    """Of every trace whose operators tell their shapes, most time first."""
    models = dict(connection.execute(MODELS).fetchall())
    rows = sorted(runner.run(connection, "roofline"), key=_key)
    parts = [_part(list(group), models) for _, group in groupby(rows, key=_key)]
    return sorted(parts, key=lambda part: (part.trace, part.device or "", -part.ns))


def _key(row: dict[str, Any]) -> tuple[int, str, str, str]:
    return row["trace"], row["device"] or "", row["operator"], row["precision"] or ""


def _part(rows: Sequence[dict[str, Any]], models: dict[int, str | None]) -> RooflinePart:
    first = rows[0]
    ns, flops = (
        sum(row[name] if name == "ns" else row[name] * row["calls"] for row in rows) for name in ("ns", "flops")
    )
    known = all(row["accessed_bytes"] for row in rows)
    accessed = sum(row["accessed_bytes"] * row["calls"] for row in rows) if known else None
    model = models[first["trace"]]
    peak = peak_of(model) if first["device"] is not None else None
    most = peak.flops_per_s.get(first["precision"]) if peak else None
    achieved = flops * 1e9 / ns if ns else None
    ceiling, bound_by = _ceiling(rows, peak, most) if peak and most and known else (None, None)
    return RooflinePart(
        trace=first["trace"],
        device=first["device"],
        operator=first["operator"],
        precision=first["precision"],
        calls=sum(row["calls"] for row in rows),
        kernels=sum(row["kernels"] for row in rows),
        ns=ns,
        flops=flops,
        accessed_bytes=accessed,
        intensity=flops / accessed if accessed else None,
        flops_per_s=achieved,
        peak_flops_per_s=most,
        peak_bytes_per_s=peak.bytes_per_s if peak else None,
        ceiling_flops_per_s=ceiling,
        bound_by=bound_by,
        of_ceiling=achieved / ceiling if achieved and ceiling else None,
        reason=None if ceiling else _reason(first, model, peak),
    )


def _ceiling(rows: Sequence[dict[str, Any]], peak: Peak, most: int) -> tuple[float, str]:
    """All FLOPs over the least time in which each call could be done, and what bounds most of that time."""
    computing = memory = 0.0
    for row in rows:
        computes, moves = row["flops"] / most, row["accessed_bytes"] / peak.bytes_per_s
        computing += row["calls"] * computes * (computes >= moves)
        memory += row["calls"] * moves * (computes < moves)
    flops = sum(row["flops"] * row["calls"] for row in rows)
    return flops / (computing + memory), "compute" if computing >= memory else "memory"


def _reason(row: dict[str, Any], model: str | None, peak: Peak | None) -> str:
    if row["device"] is None:
        return NO_PEAK_OF_HOST
    if peak is None:
        return f"no data sheet's peak is known of {model or 'a device that the trace does not name'}"
    if row["precision"] is None:
        return "the trace does not tell the operands' type"
    return f"{model}'s data sheet gives no peak of matrix products in {row['precision']}"
