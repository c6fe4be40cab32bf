"""How the terminal shows what hwprof's own options cost."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.analyses.overhead import OptionCost, Overhead
from toolkit.analyses.statistics import MARGIN, Interval
from toolkit.reports.tables import UNKNOWN, milliseconds, shown, table
from toolkit.spec import FRAMEWORKS_SPELT


def report(found: Iterable[Overhead]) -> RenderableType:
    """A table for each framework."""
    return Group(*(part for overhead in found for part in _sections(overhead)))


def _sections(overhead: Overhead) -> Iterable[RenderableType]:
    yield _table(overhead)
    for cost in overhead.options:
        if cost.reason:
            yield Text(f"{cost.option}: {cost.reason}", "dim")


def _table(overhead: Overhead) -> Table:
    framework = FRAMEWORKS_SPELT[overhead.framework]
    what = f"{framework} {overhead.model}, batch {overhead.batch}, {overhead.mode}, {overhead.device}"
    titles = (
        "option",
        "step, ms",
        "× off",
        "interval",
        "difference",
        "over",
        "× that",
        "interval of that",
        "processes",
    )
    found = table(f"What hwprof's options cost: {what}, {overhead.runtime}, {overhead.steps} steps a process", *titles)
    levels = sorted({cost.ratio.level for cost in overhead.options if cost.ratio and cost.ratio.level})
    level = (
        f"intervals of at least {levels[0]:.0%} over processes" if levels else "three processes a side have intervals"
    )
    found.note = f"off: neither profiler nor samplers; {level}; a difference is claimed beyond {MARGIN:.0%}"
    for cost in overhead.options:
        found.add_row(*_row(cost))
    return found


def _row(cost: OptionCost) -> Iterable[str]:
    own = cost.added is not None
    yield shown(cost.option)
    yield UNKNOWN if cost.median is None else milliseconds(round(cost.median.estimate))
    yield from _ratio(cost.ratio)
    yield cost.verdict or UNKNOWN
    yield cost.over if own else ""
    yield from _ratio(cost.added) if own else ("", "")
    yield str(len(cost.step_ns))


def _ratio(ratio: Interval | None) -> tuple[str, str]:
    if ratio is None:
        return UNKNOWN, UNKNOWN
    known = ratio.low is not None and ratio.high is not None
    return f"{ratio.estimate:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}" if known else UNKNOWN
