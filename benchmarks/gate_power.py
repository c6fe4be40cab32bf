"""How often the gate fails where it should and where it should not: the table of docs/gate.md.

Simulated, with the noise of a shared machine of `tests/process_noise.py`: one process in five is 15 % slower, steps
depend on each other and have heavy tails. Beside it, how often each kind of interval covers the truth. Run as
`python -m benchmarks.gate_power` from the repository's root.
"""

from collections.abc import Iterator

import click
import numpy as np
from scipy import stats

from tests.process_noise import some_slow
from toolkit.analyses.gate import Condition, fails, parse
from toolkit.analyses.statistics import Interval, median_interval, ratio_interval

PROCESSES = (3, 5, 8, 12, 20)
# What the gate is asked, of which true change.
CASES = (
    ("step_time>5%", 0.0),
    ("step_time>5%", 0.05),
    ("step_time>2%", 0.05),
    ("step_time>5%", 0.10),
    ("step_time>5%", 0.20),
)


def experiments(processes: int, number: int, seed: int) -> list[tuple[list[float], list[float]]]:
    """Baseline and other side of the same truth."""
    draw = np.random.default_rng(seed)
    a, b = (some_slow(draw, number, processes).tolist() for _ in "ab")
    return list(zip(a, b, strict=True))


def shares(processes: int, number: int, seed: int = 1) -> Iterator[float]:
    """How often the gate fails in each of CASES."""
    pairs = experiments(processes, number, seed)
    for text, change in CASES:
        (condition,) = parse(text)
        yield sum(_fails(condition, a, b, change) for a, b in pairs) / number


def _fails(condition: Condition, a: list[float], b: list[float], change: float) -> bool:
    return fails(condition, ratio_interval(a, [value * (1 + change) for value in b]))


def coverage(processes: int, number: int, seed: int = 2) -> Iterator[float]:
    """How often the median's interval, the ratio's, and a percentile bootstrap of the ratio cover the truth."""
    truth = float(np.median(some_slow(np.random.default_rng(seed), 100_000, 1)))
    pairs = experiments(processes, number, seed)
    yield sum(_covers(median_interval(a), truth) for a, _ in pairs) / number
    yield sum(_covers(ratio_interval(a, b), 1.0) for a, b in pairs) / number
    yield sum(_bootstrap(a, b) for a, b in pairs) / number


def _covers(found: Interval, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def _bootstrap(a: list[float], b: list[float]) -> bool:
    found = stats.bootstrap(
        (a, b), lambda a, b, axis: np.median(b, axis=axis) / np.median(a, axis=axis),
        n_resamples=500, method="percentile", vectorized=True, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return bool(found.low <= 1 <= found.high)


@click.command
@click.option("--experiments", "number", default=2000, show_default=True, help="How many are simulated for each row.")
def main(number: int) -> None:
    """Prints both tables."""
    click.echo("| processes a side | " + " | ".join(f"{text}, truth {change:+.0%}" for text, change in CASES) + " |")
    for processes in PROCESSES:
        click.echo(f"| {processes} | " + " | ".join(f"{share:.1%}" for share in shares(processes, number)) + " |")
    click.echo("| processes a side | median covers | ratio covers | percentile bootstrap covers |")
    for processes in PROCESSES:
        click.echo(f"| {processes} | " + " | ".join(f"{share:.1%}" for share in coverage(processes, number)) + " |")


if __name__ == "__main__":
    main()
