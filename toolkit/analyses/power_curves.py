"""Energy up to any moment, from the readings of one counter or power sensor, and how far it may be from the truth.

All that is taken for granted is that power lies between nothing and the GPU's limit (twice the highest reading where
no limit is told). An end of a window lies between two values, and a value's own moment between two polls: that bounds
the energy at each end. A sensor that sees a part of the time says nothing of the rest: that it is like what is seen is
held to by three standard deviations, of at least LEAST_VALUES values; of successive differences, so that what rises
slowly does not count as scattered. A sensor that keeps step with the training sees no fair part, and tells nothing.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.analyses.power_sensors import Sensor

Ns = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# mW times ns, in mJ.
MJ = 1e-9
LEAST_VALUES = 60
DEVIATIONS = 3
# Polls or updates that may be late before there is a hole.
LATE_POLLS, LATE_UPDATES = 5, 3
# A figure that is known no better than this is none.
WORTH_TELLING = 0.25
# Of what chance would have shown it of a step, a sensor that sees less sees the same again and again.
KEEPS_STEP = 0.5
CELLS = 1000


class Figures(NamedTuple):
    """Energy of each window, mJ, how far from the truth it may be, and why it is not to be told; empty: it is."""

    mj: Floats
    bound_mj: Floats
    reasons: list[str]


class Windows(NamedTuple):
    """Spans of time, in ns; those of one window follow each other from its place in `first` on."""

    starts: Ns
    ends: Ns
    first: Ns


class Curve(NamedTuple):
    """Energy in mJ at rising moments, a straight line between each two.

    `end_mj` bounds the error at each end of a span, `hole_ns` is the longest time between readings that is no hole;
    `values` are the times and mW of what a sensor told that sees `seen` of the time, and `in_step` of a step, of what
    it would have come to by chance.
    """

    times: Ns
    mj: Floats
    end_mj: float
    read_at: Ns
    hole_ns: float
    resolves_ns: int
    values: tuple[Ns, Floats]
    seen: float
    in_step: float | None = None

    def of(self, windows: Windows) -> Figures:
        """Each window's energy."""
        starts, ends, first = windows
        origin = self.times[0]
        at_ends, at_starts = (np.interp(at - origin, self.times - origin, self.mj) for at in (ends, starts))
        mj = np.add.reduceat(at_ends - at_starts, first)
        pieces = np.diff(np.append(first, len(starts)))
        bound, count = self._unseen(windows)
        bound += 2 * self.end_mj * pieces
        lasting = np.add.reduceat(ends - starts, first)
        holes = np.add.reduceat(self._holes(starts, ends), first)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(mj > 0, bound / mj, np.inf)
        columns = zip(lasting.tolist(), holes.tolist(), count.tolist(), share.tolist(), strict=True)
        return Figures(mj, bound, [self._reason(*window) for window in columns])

    def _unseen(self, windows: Windows) -> tuple[Floats, Floats]:
        """What the time that the sensor does not see may add, and how many values tell of the rest."""
        times, milliwatts = self.values
        squares = np.append(0.0, np.cumsum(np.diff(milliwatts, prepend=milliwatts[:1]) ** 2))
        low, high = (np.searchsorted(times, at) for at in (windows.starts, windows.ends))
        count = np.add.reduceat((high - low).astype(np.float64), windows.first)
        scattered = np.add.reduceat(squares[high] - squares[low], windows.first)
        update_ns = np.median(np.diff(times)) if len(times) > 1 else 0.0
        # Half the mean square of differences is the square of the deviation; seen and unseen deviate alike.
        bound = DEVIATIONS * (1 - self.seen) * update_ns * MJ * np.sqrt(scattered)
        return bound, count

    def _holes(self, starts: Ns, ends: Ns) -> npt.NDArray[np.int64]:
        """Whether there are no readings at an end of each span, or anywhere in it."""
        wide = np.flatnonzero(np.diff(self.read_at) > self.hole_ns)
        before = np.searchsorted(self.read_at[wide + 1], starts, side="right")
        after = np.searchsorted(self.read_at[wide], ends, side="left")
        outside = (starts < self.times[0]) | (ends > self.times[-1])
        found: Ns = ((after > before) | outside).astype(np.int64)
        return found

    def _reason(self, lasting_ns: int, holes: int, values: float, share: float) -> str:
        if lasting_ns < self.resolves_ns:
            return f"shorter than the {self.resolves_ns / 1e6:.0f} ms that the sensor resolves"
        if holes:
            return "there are no readings of a part of it"
        if self.in_step is not None and self.in_step < KEEPS_STEP:
            return f"the sensor keeps step with the training: it sees the same {self.in_step:.0%} of each step"
        if self.seen < 1 and values < LEAST_VALUES:
            return f"{values:.0f} values of a sensor that sees {self.seen:.0%} of the time, under {LEAST_VALUES}"
        if share > WORTH_TELLING:
            return f"known no better than to ±{WORTH_TELLING:.0%}"
        return ""


class Polls(NamedTuple):
    """What was read when, in ns; how long from one to the next in the run itself; and the most power, mW."""

    read_at: Ns
    values: Floats
    every_ns: float
    most_mw: float


def of_counter(polls: Polls, update_ns: int | None) -> Curve | str:
    """The counter's values at the moments when they changed, which lie between two polls; a reason where it stood."""
    read_at, mj, poll_ns, most_mw = polls
    changed = np.flatnonzero(np.diff(mj)) + 1
    if len(changed) <= 1:
        return "the energy counter did not move"
    # It changed since the poll before; no longer ago than its own period, where that is the shorter.
    since_ns = min(poll_ns, update_ns or poll_ns)
    times = read_at[changed] - round(since_ns / 2)
    longest_ns = max(poll_ns, update_ns or float(np.median(np.diff(times))))
    return Curve(
        times=times,
        mj=mj[changed],
        end_mj=most_mw * MJ * (longest_ns / 4 + since_ns / 2),
        read_at=read_at,
        hole_ns=max(LATE_POLLS * poll_ns, LATE_UPDATES * longest_ns),
        resolves_ns=round(longest_ns),
        values=(times[:0], np.zeros(0)),
        seen=1.0,
    )


def in_step(curve: Curve, sensor: Sensor, starts: Ns, ends: Ns) -> float | None:
    """The share of a training step that a sensor has seen of any, over the share that it had come to by chance.

    A sensor that looks at every 100 ms sees the same parts of all steps of 100 ms. None where it sees all of the time
    anyway, or where there are too few values to tell.
    """
    window_ns, times = sensor.windows_ns[0], curve.values[0]
    place = np.searchsorted(starts, times, side="right") - 1
    inside = (place >= 0) & (times < ends[place]) if len(ends) else np.zeros(len(times), bool)
    if curve.seen >= 1 or inside.sum() < LEAST_VALUES:
        return None
    place, times = place[inside], times[inside]
    lasting = ends - starts
    phase = (times - starts[place]) / lasting[place]
    part = min(window_ns / float(np.median(lasting)), 1.0)
    cells = (np.arange(CELLS) + 0.5) / CELLS
    # How far from each moment of a step the nearest window's middle lies, around the step's end too.
    middles = np.sort(np.concatenate([phase - 1, phase, phase + 1]))
    after = np.searchsorted(middles, cells).clip(1, len(middles) - 1)
    nearest = np.minimum(abs(middles[after] - cells), abs(cells - middles[after - 1]))
    by_chance = 1 - (1 - part) ** len(times)
    return float((nearest <= part / 2).mean() / by_chance)


def of_power(polls: Polls, sensor: Sensor) -> Curve:
    """The sum of the readings, each held until the next, and each set back to the middle of what it is the mean of."""
    read_at, milliwatts, poll_ns, most_mw = polls
    shortest, longest = sensor.windows_ns
    update_ns, window_ns = sensor.update_ns, (shortest + longest) / 2
    shift = round((window_ns + update_ns + min(poll_ns, update_ns)) / 2)
    held = np.append(0.0, np.cumsum(milliwatts[:-1] * np.diff(read_at) * MJ))
    smoothed_ns = longest / 8 if longest > update_ns else 0.0
    grid = np.arange(read_at[0], read_at[-1], update_ns)
    places = np.searchsorted(read_at, grid, side="right") - 1
    return Curve(
        times=read_at - shift,
        mj=held,
        end_mj=most_mw * MJ * (update_ns / 4 + poll_ns + smoothed_ns + (longest - shortest) / 4),
        read_at=read_at - shift,
        hole_ns=max(LATE_POLLS * poll_ns, LATE_UPDATES * update_ns),
        resolves_ns=max(update_ns, longest),
        values=(grid - shift, milliwatts[places]),
        seen=min(shortest / update_ns, 1.0),
    )
