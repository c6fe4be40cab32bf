"""Medians and ratios over processes, with intervals that cover as often as they say, and what may be claimed of them.

One value stands for one process (its median step, its peak of memory): steps of one process are not independent, and
what makes a process slow (its place in memory, its neighbours) holds for all of its steps. So nothing here is ever
computed from the steps within a process, and of one process a side nothing can be told.

Why no percentile bootstrap: over three and four processes a side its 95 % intervals cover 88 to 92 %. Ranks alone give
intervals whose level is known whatever the noise is:

- **a median**: between two order statistics, by the binomial distribution (what the bootstrap of a median comes to),
  from six processes on interpolated to the level asked for (Hettmansperger and Sheather 1986). Fewer cannot reach it:
  the interval is then from the least to the most, and its `level` says how often that covers: 94 % of five.
- **a ratio**: all b/a of a process of b and one of a, less as many at both ends as the exact distribution of
  Mann-Whitney's statistic allows (Hodges and Lehmann 1963; Bauer 1972). It assumes that b's noise is a's, scaled; some
  slow processes do it no harm. The level is at least the one asked for, and `level` says what it is.
- **a ratio of too few processes for ranks** (of three a side they reach 90 %): Student's t of the logarithms, which
  covers 95 to 98 % under the same noises. Of two a side it does not (90 %), so that fewer than three get none.
"""

import itertools
import statistics
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from msgspec import Struct

LEVEL = 0.95
MARGIN = 0.03
# A side of fewer processes gets no interval of a ratio.
LEAST_PROCESSES = 3
# A median needs two to lie between.
LEAST_BOUNDS = 2
# Of fewer none lies far from the others: there are too few others.
LEAST_FOR_OUTLIERS = 5
# An outlier is this many scaled median deviations off (Iglewicz and Hoaglin 1993), and off by more than the margin.
OUTLYING, SCALE = 3.5, 1.4826

Verdict = Literal["higher", "lower", "no difference shown", "not testable"]
HIGHER: Verdict = "higher"
LOWER: Verdict = "lower"
NONE_SHOWN: Verdict = "no difference shown"
NOT_TESTABLE: Verdict = "not testable"


class Interval(Struct, frozen=True, kw_only=True):
    """An estimate and the interval around it, which covers the truth in a share of `level` of all experiments.

    `processes` are those it rests on, of each side. `low`, `high` and `level` are null where there are too few.
    """

    estimate: float
    low: float | None
    high: float | None
    level: float | None
    processes: list[int]


def median_interval(values: Sequence[float], *, level: float = LEVEL) -> Interval:
    """The median of one value a process; no interval of one process."""
    ordered, number = sorted(values), len(values)
    estimate = statistics.median(ordered)
    if number < LEAST_BOUNDS:
        return _unknown(estimate, number)
    levels = _levels(number)
    outer = max(1, sum(each >= level for each in levels))
    low, high = ordered[outer - 1], ordered[-outer]
    if levels[outer - 1] <= level or outer == len(levels):
        return Interval(estimate=estimate, low=low, high=high, level=levels[outer - 1], processes=[number])
    inward = (levels[outer - 1] - level) / (levels[outer - 1] - levels[outer])
    part = (number - outer) * inward / (outer + (number - 2 * outer) * inward)
    low, high = (end + part * (ordered[place] - end) for end, place in ((low, outer), (high, -outer - 1)))
    return Interval(estimate=estimate, low=low, high=high, level=level, processes=[number])


def ratio_interval(a: Sequence[float], b: Sequence[float], *, level: float = LEVEL) -> Interval:
    """The ratio of b's median to a's, both of one value above 0 a process; no interval of fewer than three a side."""
    estimate = statistics.median(b) / statistics.median(a)
    if min(len(a), len(b)) < LEAST_PROCESSES:
        return _unknown(estimate, len(a), len(b))
    dropped, reached = _dropped(len(a), len(b), level)
    if dropped:
        ratios = sorted(over / under for over, under in itertools.product(b, a))
        low, high = ratios[dropped - 1], ratios[-dropped]
    else:
        low, high, reached = *_student(a, b, level), level
    # The ratio of medians lies inside but for odd cases; wider covers no less.
    low, high = min(low, estimate), max(high, estimate)
    return Interval(estimate=estimate, low=low, high=high, level=reached, processes=[len(a), len(b)])


def verdict(ratio: Interval, margin: float = MARGIN) -> Verdict:
    """What may be claimed of a ratio: a difference only where its whole interval lies outside the margin."""
    if ratio.low is None or ratio.high is None:
        return NOT_TESTABLE
    least, most = bounds(margin)
    if ratio.low > most:
        return HIGHER
    return LOWER if ratio.high < least else NONE_SHOWN


def bounds(margin: float) -> tuple[float, float]:
    """The ratios from which to which a margin reaches: one of 0.03 from 1/1.03 to 1.03.

    So swapping the sides swaps higher and lower.
    """
    return 1 / (1 + margin), 1 + margin


def outliers(values: Sequence[float], *, margin: float = MARGIN) -> list[int]:
    """Places of the values that lie far from the others; they stay in every figure. Of under five there are none."""
    if len(values) < LEAST_FOR_OUTLIERS:
        return []
    middle = statistics.median(values)
    spread = SCALE * statistics.median(abs(value - middle) for value in values)
    least = max(OUTLYING * spread, margin * abs(middle))
    return [place for place, value in enumerate(values) if abs(value - middle) > least]


def _unknown(estimate: float, *processes: int) -> Interval:
    return Interval(estimate=estimate, low=None, high=None, level=None, processes=list(processes))


@lru_cache
def _levels(number: int) -> list[float]:
    """How often the interval from the k-th least of `number` values to the k-th largest covers the median; k from 1.

    It does not where fewer than k of the values lie on one side.
    """
    # A tenth of a second to import, which every command would wait for.
    from scipy import special  # noqa: PLC0415 - see above

    return [1 - 2 * float(special.bdtr(k - 1, number, 0.5)) for k in range(1, (number + 1) // 2 + 1)]


def _student(a: Sequence[float], b: Sequence[float], level: float) -> tuple[float, float]:
    """The ends of the ratio's interval by the pooled t of logarithms."""
    from scipy import special  # noqa: PLC0415 - see _levels

    logs = [np.log(side) for side in (a, b)]
    free = len(a) + len(b) - 2
    pooled = sum(float(side.var()) * len(side) for side in logs) / free
    reach = float(special.stdtrit(free, (1 + level) / 2)) * (pooled * (1 / len(a) + 1 / len(b))) ** 0.5
    middle = float(logs[1].mean() - logs[0].mean())
    return float(np.exp(middle - reach)), float(np.exp(middle + reach))


@lru_cache
def _dropped(first: int, second: int, level: float) -> tuple[int, float]:
    """Which ratio from either end bounds the interval, and the level that it has; 0 where not even the outermost does.

    Counted from the generating function of Mann-Whitney's U, a Gaussian binomial coefficient, in whole numbers.
    """
    ways = [1] + [0] * (first * second)
    for i in range(1, first + 1):
        for place in range(len(ways) - 1, second + i - 1, -1):
            ways[place] -= ways[place - second - i]
        for place in range(i, len(ways)):
            ways[place] += ways[place - i]
    below = list(itertools.accumulate(ways))
    levels = [1 - 2 * count / below[-1] for count in below]
    dropped = sum(each >= level for each in levels)
    return dropped, levels[dropped - 1] if dropped else 0.0
