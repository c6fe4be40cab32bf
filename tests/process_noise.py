"""How one value a process scatters around the truth: arrays of experiments by processes, to multiply it by."""

import numpy as np

SLOW_SHARE, SLOWER = 0.2, 0.15
STEPS, DEPENDENCE = 100, 0.9


def normal(draw: np.random.Generator, experiments: int, processes: int) -> np.ndarray:
    """Every process 2 % off, more or less."""
    return np.exp(0.02 * draw.standard_normal((experiments, processes)))


def heavy(draw: np.random.Generator, experiments: int, processes: int) -> np.ndarray:
    """Tails of Student's t of 3 degrees of freedom."""
    return np.exp(0.02 * draw.standard_t(3, (experiments, processes)))


def some_slow(draw: np.random.Generator, experiments: int, processes: int) -> np.ndarray:
    """As on a shared machine: one process in five is 15 % slower, all are 1 % off, and a value is a median of steps.

    Steps scatter by 3.5 % with tails of Student's t, and each depends on the one before.
    """
    slow = 1 + SLOWER * (draw.random((experiments, processes)) < SLOW_SHARE)
    own = np.exp(0.01 * draw.standard_normal((experiments, processes)))
    steps = 0.02 * draw.standard_t(3, (STEPS, experiments, processes))
    for number in range(1, STEPS):
        steps[number] = DEPENDENCE * steps[number - 1] + (1 - DEPENDENCE**2) ** 0.5 * steps[number]
    return slow * own * np.exp(np.median(steps, axis=0))
