"""True power as a function of time, as the stand-in for the driver plays it, and its energy by formula."""

from itertools import pairwise
from typing import NamedTuple


class Load(NamedTuple):
    """Straight lines between (ms, W) points, repeated each `repeat_ms` where that is not 0, else the last one held."""

    points: tuple[tuple[float, float], ...]
    repeat_ms: float

    @property
    def script(self) -> str:
        """The lines of a script."""
        points = " ".join(f"{at} {watts}" for at, watts in self.points)
        return f"load {points}\nrepeat {self.repeat_ms}\n"

    def energy_mj(self, start_ms: float, end_ms: float) -> float:
        """Between two moments: the trapezoids between the points, and what is left of one at each end."""
        return self._until(end_ms) - self._until(start_ms)

    def _until(self, ms: float) -> float:
        rounds = ms // self.repeat_ms if self.repeat_ms else 0.0
        return rounds * self._once(self.repeat_ms) + self._once(ms - rounds * self.repeat_ms)

    def _once(self, ms: float) -> float:
        points = [*self.points, (float("inf"), self.points[-1][1])]
        whole = 0.0
        for (start, low), (end, high) in pairwise(points):
            lasting = min(ms, end) - start
            if lasting > 0:
                whole += lasting * (low + (high - low) * lasting / (end - start) / 2)
        return whole


def square(low: float, high: float, period_ms: float) -> Load:
    """Half of each period at one level, half at the other."""
    half = period_ms / 2
    return Load(((0, low), (half, low), (half + 0.001, high), (period_ms, high)), period_ms)


def ramp(low: float, high: float, length_ms: float) -> Load:
    """From one level to the other, and there at once again."""
    return Load(((0, low), (length_ms, high)), length_ms)


def burst(low: float, high: float, width_ms: float, every_ms: float) -> Load:
    """A short stretch at the high level in each period."""
    rest = every_ms - width_ms
    return Load(((0, low), (rest, low), (rest + 0.001, high), (every_ms, high)), every_ms)


LOADS = {
    "square": square(100, 600, 370),
    "slow square": square(100, 600, 5000),
    "ramp": ramp(100, 650, 7000),
    "burst": burst(90, 650, 60, 710),
}
