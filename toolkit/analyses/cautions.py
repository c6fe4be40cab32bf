"""What a reader of a store must know before its figures: what importers found, gaps, misplacement, cut records."""

from collections.abc import Iterator
from typing import Annotated

import duckdb
from msgspec import Meta, Struct, convert

from toolkit.analyses import runner

# An annotation may begin before its bracket by this much before the trace counts as misplaced: ten times the error
# measured at the 99th percentile for the slowest of the three profilers.
ALIGNMENT_BOUND_NS = 30_000

MaybeNs = Annotated[int | None, Meta(description="nanoseconds; null where unknown")]


class Alignment(Struct, frozen=True, kw_only=True):
    """How well a native trace lies on the run's clock, by annotations inside the worker's own clock reads."""

    trace: int
    pass_name: str
    brackets: int
    missing: int
    median_residual_ns: MaybeNs
    worst_residual_ns: MaybeNs
    violations: int
    worst_violation_ns: MaybeNs


class Caution(Struct, frozen=True, kw_only=True):
    """Something that a reader must know; `untrusted` where it puts the figures in doubt."""

    trace: int | None
    pass_name: str | None
    code: str
    count: int
    message: str
    untrusted: bool


def cautions(connection: duckdb.DuckDBPyConnection) -> list[Caution]:
    """All of a store's, those that put figures in doubt first."""
    rows = [row for name in ("warnings", "empty_windows", "unfinished") for row in runner.run(connection, name)]
    found = convert(rows, list[Caution])
    for row in runner.run(connection, "alignment"):
        found += _of_alignment(convert(row, Alignment))
    return sorted(found, key=lambda caution: not caution.untrusted)


def _of_alignment(entry: Alignment) -> Iterator[Caution]:
    found = []
    if entry.brackets == 0:
        found.append(
            ("no_alignment", 1, "The trace holds none of the worker's annotations, so its place in time is unproven.")
        )
    elif (entry.worst_violation_ns or 0) > ALIGNMENT_BOUND_NS:
        message = f"Annotations lie outside the worker's clock reads by up to {entry.worst_violation_ns} ns."
        found.append(("clock_violation", entry.violations, message))
    if entry.missing:
        found.append(
            ("missing_annotations", entry.missing, "Marks of the profiled window that the trace does not hold.")
        )
    for code, count, message in found:
        yield Caution(
            trace=entry.trace, pass_name=entry.pass_name, code=code, count=count, message=message, untrusted=True
        )
