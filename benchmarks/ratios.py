"""What the comparisons share: two kinds of process in random order, the ratio of their medians, and its interval.

Or pairs of measurements that lie close together: the centre of their log ratios, and how far it is known.
"""

import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import click
import numpy as np
from scipy import special

from toolkit.analyses.statistics import ratio_interval

LEVEL = 0.95


class Steps(NamedTuple):
    """Step times of one process, ms: the median, and the tenth percentile, which other work here disturbs least."""

    median: float
    p10: float


def interleaved(measures: Mapping[str, Callable[[], Steps]], rounds: int) -> dict[str, list[Steps]]:
    """Each kind measured `rounds` times in one shuffled order, so that a drifting machine favours none."""
    order = [*measures] * rounds
    random.shuffle(order)
    measured: dict[str, list[Steps]] = {kind: [] for kind in measures}
    for kind in order:
        steps = measures[kind]()
        measured[kind].append(steps)
        click.echo(f"{kind:8} step {steps.median:8.3f} ms median, {steps.p10:8.3f} ms p10")
    return measured


def said(measured: Mapping[str, Sequence[Steps]]) -> Iterator[str]:
    """The first kind's figures over the second's, medians over processes, each with its interval."""
    (over, numerators), (under, denominators) = measured.items()
    for figure in Steps._fields:
        numerator, denominator = ([getattr(steps, figure) for steps in kind] for kind in (numerators, denominators))
        yield f"{over} / {under}, {figure} = {with_interval(numerator, denominator)}"


def with_interval(numerator: Sequence[float], denominator: Sequence[float]) -> str:
    """The ratio of medians over processes, and how far it is known."""
    found = ratio_interval(denominator, numerator)
    if found.low is None or found.high is None or found.level is None:
        return f"{found.estimate:.4f} (too few processes for an interval)"
    return f"{found.estimate:.4f} ({found.level:.1%} interval {found.low:.4f} to {found.high:.4f})"


class Known(NamedTuple):
    """A ratio and its 95 % interval."""

    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.4f} (95 % interval {self.low:.4f} to {self.high:.4f})"

    def verdict(self, margin: float) -> str:
        """Whether the whole interval lies within the margin, outside of it, or neither can be told."""
        if 1 / (1 + margin) <= self.low and self.high <= 1 + margin:
            return "met: the whole interval lies within"
        outside = self.high < 1 / (1 + margin) or self.low > 1 + margin
        return "missed: the whole interval lies outside" if outside else "not shown: the interval reaches past it"


def of_pairs(logs: Sequence[float]) -> Known:
    """The centre of log ratios of pairs by Hodges and Lehmann: the median of the means of every two, and of each alone.

    A few wild pairs do not move it, and it is known nearly as well as the mean of a normal sample. The interval is the
    signed-rank test's, by its normal approximation: Hollander, Wolfe and Chicken 2014, section 3.3.
    """
    values, number = np.asarray(logs), len(logs)
    rows, columns = np.triu_indices(number)
    means = np.sort((values[rows] + values[columns]) / 2)
    deviation = math.sqrt(number * (number + 1) * (2 * number + 1) / 24)
    place = max(math.floor(len(means) / 2 - special.ndtri((1 + LEVEL) / 2) * deviation), 0)
    return Known(*(math.exp(value) for value in (np.median(means), means[place], means[len(means) - 1 - place])))


def of_processes(logs: Sequence[Sequence[float]]) -> Known:
    """The mean over processes of the centre of each one's log ratios, and Student's t over processes.

    What differs between processes, where memory comes to lie for one, is so in the interval.
    """
    centres = [math.log(of_pairs(one).ratio) for one in logs]
    free = len(centres) - 1
    reach = float(special.stdtrit(free, (1 + LEVEL) / 2)) * statistics.stdev(centres) / math.sqrt(len(centres))
    middle = statistics.fmean(centres)
    return Known(*map(math.exp, (middle, middle - reach, middle + reach)))
