"""What the comparisons share: two kinds of process in random order, the ratio of their medians, and its interval."""

import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import click

RESAMPLES = 10_000


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
    """The first kind's figures over the second's, medians over processes, each with its 95 % bootstrap interval."""
    (over, numerators), (under, denominators) = measured.items()
    for figure in Steps._fields:
        numerator, denominator = ([getattr(steps, figure) for steps in kind] for kind in (numerators, denominators))
        ratio = statistics.median(numerator) / statistics.median(denominator)
        low, high = interval(numerator, denominator)
        yield f"{over} / {under}, {figure} = {ratio:.4f} (95 % interval {low:.4f} to {high:.4f})"


def interval(numerator: Sequence[float], denominator: Sequence[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the ratio of medians."""
    draw = random.Random(0)  # noqa: S311 - resampling, no secret
    ratios = sorted(
        statistics.median(draw.choices(numerator, k=len(numerator)))
        / statistics.median(draw.choices(denominator, k=len(denominator)))
        for _ in range(RESAMPLES)
    )
    return ratios[RESAMPLES // 40], ratios[-RESAMPLES // 40]
