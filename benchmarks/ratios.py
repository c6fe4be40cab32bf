"""What the comparisons share: two kinds of process in random order, the ratio of their medians, and its interval."""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence

import click

RESAMPLES = 10_000


def interleaved(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each kind measured `rounds` times, ms, in one shuffled order, so that a drifting machine favours none."""
    order = [*measures] * rounds
    random.shuffle(order)
    medians: dict[str, list[float]] = {kind: [] for kind in measures}
    for kind in order:
        medians[kind].append(measures[kind]())
        click.echo(f"{kind:8} median step {medians[kind][-1]:8.3f} ms")
    return medians


def said(medians: Mapping[str, Sequence[float]]) -> str:
    """The ratio of the first kind's median over the second's, with its 95 % bootstrap interval over processes."""
    (over, numerator), (under, denominator) = medians.items()
    ratio = statistics.median(numerator) / statistics.median(denominator)
    low, high = _interval(numerator, denominator)
    return f"{over} / {under} = {ratio:.4f} (95 % interval {low:.4f} to {high:.4f})"


def _interval(numerator: Sequence[float], denominator: Sequence[float]) -> tuple[float, float]:
    draw = random.Random(0)  # noqa: S311 - resampling, no secret
    ratios = sorted(
        statistics.median(draw.choices(numerator, k=len(numerator)))
        / statistics.median(draw.choices(denominator, k=len(denominator)))
        for _ in range(RESAMPLES)
    )
    return ratios[RESAMPLES // 40], ratios[-RESAMPLES // 40]
