"""Kernels by operator, direction and module where their own events tell, as XPlane's do; else by their launches."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
from msgspec.structs import replace

from toolkit.analyses import runner
from toolkit.analyses.kernel_attribution import KernelAttribution, KernelPart, kernel_attribution
from toolkit.analyses.operators import operator_name
from toolkit.ingest.directions import Directions

Row = dict[str, Any]

# TensorFlow's forward scopes are those that it takes gradients of; a GPU's own kernels need not show any.
GRADIENTS = "SELECT DISTINCT name FROM slices WHERE trace = $1 AND kind = 'op' AND contains(name, 'gradient_tape/')"


def kernels_by(connection: duckdb.DuckDBPyConnection) -> list[KernelAttribution]:
    """Each device that ran kernels. Asserts that each list holds every kernel of the device exactly once.

    Where kernels tell what they are of, `operators` are the operators' types or primitives, `outermost` the operators
    with their scopes, `modules` compiled modules, and a direction is what the scope says. Their events do not tell one
    call of an operator from another, so `calls` is NULL.
    """
    told: defaultdict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in runner.run(connection, "told_kernels"):
        told[row["trace"], row["device"]].append(row)
    return [_told(connection, found, told[found.trace, found.device]) for found in kernel_attribution(connection)]


def _told(connection: duckdb.DuckDBPyConnection, found: KernelAttribution, rows: Sequence[Row]) -> KernelAttribution:
    if not any(row["op"] or row["module"] for row in rows):
        return found
    directions = Directions(name for (name,) in connection.execute(GRADIENTS, [found.trace]).fetchall())
    names = {
        "operators": [row["op"] and primitive(row["op"]) for row in rows],
        "outermost": [row["op"] for row in rows],
        "directions": [directions.of(row["op"]) for row in rows],
        "modules": [row["module"] for row in rows],
    }
    lists = {name: _parts(zip(of_rows, rows, strict=True), found.kernel_sum_ns) for name, of_rows in names.items()}
    for name, parts in lists.items():
        sums = sum(part.kernels for part in parts), sum(part.kernel_ns for part in parts)
        if sums != (found.kernels, found.kernel_sum_ns):
            raise AssertionError(f"kernels by {name} are {sums}, not those of {found}")
    return replace(found, **lists)


def primitive(op: str) -> str:
    """`scope/op:Type` -> `Type`, JAX's `jit(step)/jvp(dense)/dot_general` -> `dot_general`; of several the first."""
    name = operator_name(op)
    return op.split(";", maxsplit=1)[0].rpartition("/")[2] if name == op else name


def _parts(named: Iterable[tuple[str | None, Row]], whole_ns: int) -> list[KernelPart]:
    sums: defaultdict[str | None, list[int]] = defaultdict(lambda: [0, 0])
    for name, row in named:
        sums[name][0] += row["kernels"]
        sums[name][1] += row["kernel_ns"]
    parts = [
        KernelPart(name=name, calls=None, kernels=kernels, kernel_ns=ns, share=ns / whole_ns if whole_ns else None)
        for name, (kernels, ns) in sums.items()
    ]
    return sorted(parts, key=lambda part: (-part.kernel_ns, part.name or ""))
