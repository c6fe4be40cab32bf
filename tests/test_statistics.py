"""Intervals cover as often as they say, and the verdict on a difference errs as seldom as it says."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.process_noise import heavy, normal, some_slow
from toolkit.analyses.statistics import (
    HIGHER,
    LOWER,
    NONE_SHOWN,
    NOT_TESTABLE,
    median_interval,
    outliers,
    ratio_interval,
    verdict,
)

# So many that what covers as it says is two per cent off by chance in one of ten thousand.
SIMULATIONS = 2_000
Noise = Callable[[np.random.Generator, int, int], np.ndarray]


NOISES = [normal, some_slow, heavy]


@pytest.fixture
def draw() -> np.random.Generator:
    """The same numbers every time: what covers does so in each run of the tests."""
    return np.random.default_rng(20)


@pytest.mark.e2e
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("processes", [3, 4, 5, 6, 10, 20])
def test_intervals_cover_as_often_as_they_say(draw: np.random.Generator, noise: Noise, processes: int) -> None:
    """Within two per cent of their level over 2,000 experiments; three processes' ratio may cover more often."""
    truth = float(np.median(noise(draw, 100_000, 1)))
    medians = [median_interval(values.tolist()) for values in noise(draw, SIMULATIONS, processes)]
    covered = sum(found.low <= truth <= found.high for found in medians if found.low and found.high) / SIMULATIONS
    assert covered == pytest.approx(medians[0].level, abs=0.02)
    assert (medians[0].level == 0.95) == (processes > 5)

    sides = noise(draw, SIMULATIONS, processes), 1.07 * noise(draw, SIMULATIONS, processes)
    ratios = [ratio_interval(a.tolist(), b.tolist()) for a, b in zip(*sides, strict=True)]
    covered = sum(found.low <= 1.07 <= found.high for found in ratios if found.low and found.high) / SIMULATIONS
    level = ratios[0].level or 0
    assert 0.95 <= level < 0.972
    assert level - 0.02 <= covered <= level + (0.035 if processes == 3 else 0.02)


@pytest.mark.e2e
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("processes", [3, 5, 10])
def test_a_difference_of_nothing_is_seldom_claimed(draw: np.random.Generator, noise: Noise, processes: int) -> None:
    """Not even one as large as the margin itself is claimed to be beyond it more often than its level says."""
    sides = noise(draw, SIMULATIONS, processes), noise(draw, SIMULATIONS, processes)
    pairs = list(zip(*(side.tolist() for side in sides), strict=True))
    assert sum(verdict(ratio_interval(a, b)) != NONE_SHOWN for a, b in pairs) < 0.02 * SIMULATIONS
    at_margin = [verdict(ratio_interval(a, [1.03 * value for value in b])) for a, b in pairs]
    assert at_margin.count(HIGHER) + at_margin.count(LOWER) < 0.05 * SIMULATIONS


def test_a_verdict_asks_for_the_whole_interval_beyond_the_margin() -> None:
    """And swapping the sides swaps it."""
    a, b = [100, 101, 102, 103.0], [108, 109, 110, 111.0]
    assert verdict(ratio_interval(a, b)) == HIGHER
    assert verdict(ratio_interval(b, a)) == LOWER
    assert verdict(ratio_interval(a, b), margin=0.1) == NONE_SHOWN
    assert verdict(ratio_interval(a, [102, 103, 104, 131.0])) == NONE_SHOWN


def test_the_interval_of_ranks_is_what_can_be_counted_by_hand() -> None:
    """Of four a side the outermost ratios: one order in 70 is as extreme on either side."""
    found = ratio_interval([1, 2, 3, 4], [8, 10, 12, 16])
    assert (found.low, found.high, found.estimate) == (8 / 4, 16 / 1, 11 / 2.5)
    assert found.level == pytest.approx(1 - 2 / 70)
    assert found.processes == [4, 4]


def test_of_too_few_processes_nothing_is_claimed() -> None:
    """However far apart they are: no interval, no verdict, but the ratio."""
    for a, b in (([1.0], [9.0]), ([1.0, 1.0], [9.0, 9.0])):
        found = ratio_interval(a, b)
        assert (found.estimate, found.low, found.high, found.level) == (9, None, None, None)
        assert verdict(found) == NOT_TESTABLE
    assert median_interval([4.0]).level is None


def test_equal_values_have_an_interval_of_no_width() -> None:
    """As of peaks of memory that are the same in every process."""
    found = ratio_interval([100] * 5, [90] * 5)
    assert (found.low, found.estimate, found.high) == (0.9, 0.9, 0.9)
    assert verdict(found) == LOWER


def test_outliers_are_named() -> None:
    """What lies far off both by the others' spread and by the margin."""
    assert outliers([100, 101, 99, 100, 116]) == [4]
    assert outliers([100, 100, 100, 100, 101]) == []
    assert outliers([100, 104, 96, 102, 108]) == []
    assert outliers([5.0, 5.0, 5.0, 9.0]) == []
