"""What the comparisons share: two kinds of process in random order, the ratio of their medians, and its interval."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import click

from toolkit.analyses.statistics import ratio_interval


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
