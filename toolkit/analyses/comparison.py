"""Sides of runs held to the first of them: every metric's ratio with its interval, and the parts of what differs."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal

from msgspec import Struct

from toolkit.analyses import comparable, difference_parts, memory_comparison
from toolkit.analyses.comparable import Side, settings_apart
from toolkit.analyses.difference_parts import PartTable
from toolkit.analyses.gate import Gate
from toolkit.analyses.memory_comparison import MemoryComparison
from toolkit.analyses.processes import METRICS, Process
from toolkit.analyses.statistics import (
    HIGHER,
    LEAST_PROCESSES,
    LOWER,
    Interval,
    Verdict,
    median_interval,
    outliers,
    ratio_interval,
    verdict,
)
from toolkit.analyses.steady_state import Steady
from toolkit.errors import HwprofError

Effect = Literal["better", "worse"]


class Measured(Struct, frozen=True, kw_only=True):
    """One metric of one side: each run's value, and their median. `outliers` are runs far off; they are in it."""

    metric: str
    unit: str
    values: dict[str, float]
    median: Interval
    outliers: list[str]


class Ratio(Struct, frozen=True, kw_only=True):
    """b over a of one metric. `effect` is what a shown difference means for b; null where none is shown."""

    metric: str
    better: str
    ratio: Interval
    verdict: Verdict
    effect: Effect | None


class Told(Struct, frozen=True, kw_only=True):
    """A side: its runs, each with where it stopped warming up, and its metrics. `untrusted`: runs not to be trusted."""

    label: str
    runs: list[str]
    warming_up: list[Steady]
    untrusted: list[str]
    metrics: list[Measured]


class Pair(Struct, frozen=True, kw_only=True):
    """Side `b` held to side `a`. `settings` are those in which they differ; `parts` make up what differs.

    `notes` say what could not be told, and why.
    """

    a: str
    b: str
    settings: dict[str, list[str]]
    ratios: list[Ratio]
    parts: list[PartTable]
    memory: MemoryComparison | None
    notes: list[str]


class Comparison(Struct, frozen=True, kw_only=True):
    """Everything said of the sides. A difference is claimed where a ratio's interval lies outside the `margin`.

    `notes` say what was left out, and why.
    """

    margin: float
    forced: str | None
    sides: list[Told]
    pairs: list[Pair]
    gate: Gate | None
    notes: list[str]


def compare(
    pairs: Sequence[comparable.Pair],
    *,
    margin: float,
    forced: str | None,
    gate: Gate | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """Holds side b of each pair to side a. Raises HwprofError where a run is given twice."""
    sides = {side.label: side for pair in pairs for side in pair[:2]}
    _distinct([*sides.values()])
    return Comparison(
        margin=margin,
        forced=forced,
        sides=[_told(side, margin) for side in sides.values()],
        pairs=[_pair(pair.a, pair.b, margin) for pair in pairs],
        gate=gate,
        notes=list(notes),
    )


def _distinct(sides: Sequence[Side]) -> None:
    names = [process.name for side in sides for process in side.processes]
    for one, other in combinations(names, 2):
        if one == other:
            raise HwprofError(f"{one} is given twice.", remedy="A run stands for one process: give each once.")


def _told(side: Side, margin: float) -> Told:
    return Told(
        label=side.label,
        runs=[process.name for process in side.processes],
        warming_up=[process.steady for process in side.processes],
        untrusted=[process.name for process in side.processes if not process.summary.trusted],
        metrics=[
            Measured(
                metric=name,
                unit=metric.unit,
                values=values,
                median=median_interval(list(values.values())),
                outliers=[[*values][place] for place in outliers([*values.values()], margin=margin)],
            )
            for name, metric in METRICS.items()
            if (values := _values(name, side))
        ],
    )


def _values(metric: str, side: Side) -> dict[str, float]:
    """By run, where it is told and a ratio of it says something."""
    told = ((process.name, METRICS[metric].of(process)) for process in side.processes)
    return {name: value for name, value in told if value is not None and value > 0}


def _pair(a: Side, b: Side, margin: float) -> Pair:
    memory = _memory(a, b)
    parts, untold = difference_parts.tables(a.processes, b.processes)
    return Pair(
        a=a.label,
        b=b.label,
        settings=settings_apart(a, b),
        ratios=[
            _ratio(name, ratio_interval([*mine.values()], [*its.values()]), margin)
            for name in METRICS
            if (mine := _values(name, a)) and (its := _values(name, b))
        ],
        parts=parts,
        memory=memory if isinstance(memory, MemoryComparison) else None,
        notes=[*_notes(a, b), *untold, *([memory] if isinstance(memory, str) else [])],
    )


def _ratio(name: str, ratio: Interval, margin: float) -> Ratio:
    found, better = verdict(ratio, margin), METRICS[name].better
    shown = found in {HIGHER, LOWER}
    effect: Effect | None = ("better" if (found == HIGHER) == (better == "higher") else "worse") if shown else None
    return Ratio(metric=name, better=better, ratio=ratio, verdict=found, effect=effect)


def _memory(a: Side, b: Side) -> MemoryComparison | str:
    """Of the runs in the middle of each side's peaks, or why there is none."""
    try:
        return memory_comparison.compare(_middle(a), _middle(b), forced=None)
    except HwprofError as error:
        return error.problem


def _middle(side: Side) -> memory_comparison.Side:
    peaks = _values("peak_memory", side)
    ranked = sorted(side.processes, key=lambda process: peaks.get(process.name, 0))
    process = ranked[(len(ranked) - 1) // 2]
    return memory_comparison.Side(name=process.name, spec=process.spec, allocators=process.summary.allocators)


def _notes(a: Side, b: Side) -> Iterator[str]:
    fewest = min(len(a.processes), len(b.processes))
    if fewest == 1 and len(a.processes) == len(b.processes):
        yield f"one process each: no difference is testable; give {LEAST_PROCESSES} repeats of each, better six"
    elif fewest < LEAST_PROCESSES:
        yield f"too few repeats: no difference is testable with {fewest} of a side; give {LEAST_PROCESSES}, better six"
    for side in (a, b):
        yield from _unsteady(side.label, side.processes)
        if lacking := comparable.untold(side):
            yield f"{side.label}: recorded no {', '.join(lacking)}: whether they are equal is not known"
    for name in METRICS:
        told = [len(_values(name, side)) for side in (a, b)]
        whole = [len(side.processes) for side in (a, b)]
        if any(told) and told != whole:
            yield f"{name}: told by {told[0]} of {whole[0]} runs of {a.label} and {told[1]} of {whole[1]} of {b.label}"


def _unsteady(label: str, processes: Sequence[Process]) -> Iterator[str]:
    reasons = [process.steady.reason for process in processes if process.durations and process.steady.reason]
    if reasons:
        yield f"{label}: {len(reasons)} of {len(processes)} runs: {reasons[0]}"
