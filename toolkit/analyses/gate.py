"""A gate for continuous integration: conditions on metrics, of which each fails on a shown difference only.

`step_time>5%` fails where the other side's step is shown to take over 5 % longer: the ratio's whole interval lies
beyond 1.05. `throughput<3%` fails where it is shown to be over 3 % less. At a difference of exactly the threshold all
conditions together fail in at most one of twenty gates, and of no difference in far fewer.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from toolkit.analyses.comparable import Pair, Side
from toolkit.analyses.processes import METRICS
from toolkit.analyses.statistics import LEAST_PROCESSES, LEVEL, Interval, ratio_interval
from toolkit.errors import HwprofError
from toolkit.settings import known

CONDITION = re.compile(r"^\s*(\w+)\s*([<>])\s*(\d+(?:\.\d+)?)\s*%\s*$")
# How often all conditions together may fail where none should.
FALSE_ALARMS = 0.05
EXAMPLE = 'Write it as --fail-on "step_time>5%,peak_memory>2%".'
WHOLE = 100


class Condition(Struct, frozen=True, kw_only=True):
    """`metric` of the other side may not be shown to be over `percent` more (`more`), or less, than the baseline's."""

    metric: str
    more: bool
    percent: float

    def __str__(self) -> str:
        return f"{self.metric}{'>' if self.more else '<'}{self.percent:g}%"


class Judged(Struct, frozen=True, kw_only=True):
    """A condition held to one side: `failed` where the ratio's whole interval lies beyond the threshold.

    `shown_from`: the change, a share, from which on an interval as wide as this one would have shown it.
    """

    condition: str
    a: str
    b: str
    ratio: Interval
    failed: bool
    shown_from: float


class Gate(Struct, frozen=True, kw_only=True):
    """Every condition on every side; `level` is that of the intervals."""

    failed: bool
    level: float
    conditions: list[Judged]


def parse(text: str) -> list[Condition]:
    """The conditions of --fail-on. Raises HwprofError naming the one that is none."""
    return [_condition(each) for each in text.split(",")]


def judge(conditions: Sequence[Condition], pairs: Sequence[Pair]) -> Gate:
    """Holds each pair to each. Raises HwprofError where a condition cannot be tested: that is no pass."""
    tests = len(conditions) * len(pairs)
    # Each errs to one side only, so that two of LEVEL are one in twenty together.
    level = max(LEVEL, 1 - 2 * FALSE_ALARMS / tests)
    judged = [_judged(condition, pair.a, pair.b, level) for condition in conditions for pair in pairs]
    return Gate(failed=any(each.failed for each in judged), level=level, conditions=judged)


def fails(condition: Condition, ratio: Interval) -> bool:
    """Whether the ratio's whole interval lies beyond the threshold."""
    if ratio.low is None or ratio.high is None:
        return False
    share = condition.percent / WHOLE
    return ratio.low > 1 + share if condition.more else ratio.high < 1 - share


def _condition(text: str) -> Condition:
    found = CONDITION.match(text)
    if not found:
        raise HwprofError(f"{text.strip()!r} is no condition.", remedy=EXAMPLE)
    metric = known(found[1], METRICS, "metric")
    percent = float(found[3])
    if found[2] == "<" and percent >= WHOLE:
        raise HwprofError(f"{text.strip()!r} can never fail: nothing falls by more than all.", remedy=EXAMPLE)
    return Condition(metric=metric, more=found[2] == ">", percent=percent)


def _judged(condition: Condition, a: Side, b: Side, level: float) -> Judged:
    values = [_values(condition, side) for side in (a, b)]
    ratio = ratio_interval(*values, level=level)
    if ratio.low is None or ratio.high is None:
        counts = " and ".join(str(len(each)) for each in values)
        raise HwprofError(
            f"{condition} cannot be tested: {a.label} and {b.label} have {counts} processes.",
            remedy=f"Give {LEAST_PROCESSES} repeats of each, and better six: RUN,RUN,RUN RUN,RUN,RUN.",
        )
    share = condition.percent / WHOLE
    threshold, end = (1 + share, ratio.low) if condition.more else (1 - share, ratio.high)
    return Judged(
        condition=str(condition),
        a=a.label,
        b=b.label,
        ratio=ratio,
        failed=fails(condition, ratio),
        shown_from=abs(threshold * ratio.estimate / end - 1),
    )


def _values(condition: Condition, side: Side) -> list[float]:
    told = {process.name: METRICS[condition.metric].of(process) for process in side.processes}
    missing = [name for name, value in told.items() if value is None or value <= 0]
    if missing:
        raise HwprofError(
            f"{condition} cannot be tested: {missing[0]} has no {condition.metric}.",
            remedy=f"Leave the condition out, or run what tells it ({METRICS[condition.metric].meaning}).",
        )
    return [value for value in told.values() if value is not None]
