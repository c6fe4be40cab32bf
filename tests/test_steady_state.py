"""Where warming up ends, and when there is no steady state."""

import numpy as np
import pytest

from toolkit.analyses.steady_state import LEAST_STEPS, MOST_POINTS, steady_state

MS = 1_000_000


def steps(*levels: tuple[int, float], seed: int = 0, dependence: float = 0.5) -> list[int]:
    """Steps of (number, ms) each, with heavy-tailed noise in which each depends on the one before."""
    draw = np.random.default_rng(seed)
    shocks = 0.005 * draw.standard_t(3, sum(number for number, _ in levels))
    noise = np.zeros(len(shocks))
    for place, shock in enumerate(shocks):
        noise[place] = dependence * noise[place - 1] + shock
    whole = np.concatenate([np.full(number, float(ms)) for number, ms in levels])
    return [int(ns) for ns in whole * np.exp(noise) * MS]


@pytest.mark.parametrize("warm", [8, 20, 50])
def test_the_end_of_warming_up_is_found(warm: int) -> None:
    """To the step or two, of steps that are slower at first, in at least 85 of 100 processes."""
    found = [steady_state(steps((warm, 13), (100, 10), seed=seed)) for seed in range(100)]
    ends = [each.warmup_steps for each in found if each.warmup_steps is not None]
    assert sum(abs(end - warm) <= 2 for end in ends) >= 85


def test_steps_that_only_depend_on_each_other_are_steady_from_the_first() -> None:
    """Change-points of less than the margin are none."""
    found = [steady_state(steps((200, 10), seed=seed)) for seed in range(100)]
    assert sum(each.warmup_steps == 0 for each in found) >= 99


def test_what_changes_until_the_end_has_no_steady_state() -> None:
    """A series that slows down in its last fifth says so, and where."""
    found = steady_state(steps((80, 10), (20, 12)))
    assert found.warmup_steps is None
    assert found.reason == f"no steady state: the step's duration still changed after {found.changes[-1]} of 100 steps"
    assert abs(found.changes[-1] - 80) <= 2


def test_of_few_steps_nothing_is_said() -> None:
    """But how many it would take."""
    found = steady_state([MS] * (LEAST_STEPS - 1))
    assert found.warmup_steps is None
    assert found.reason == "19 steps are too few to tell where warming up ends; 20 would do"
    assert steady_state([MS] * LEAST_STEPS).warmup_steps == 0


def test_a_long_series_is_read_in_blocks() -> None:
    """Its steady state begins within a block of where it does."""
    found = steady_state(steps((3 * MOST_POINTS, 13), (7 * MOST_POINTS, 10)))
    assert found.warmup_steps is not None
    assert abs(found.warmup_steps - 3 * MOST_POINTS) <= 20
