"""Where a process's steps stop warming up: change-points of the series, as Barrett et al. read them (OOPSLA 2017).

Change-points are those of PELT (Killick et al. 2012, by `ruptures`) with a penalty of 3·log n on the normal scores of
the series, which no outlier pulls at. Steps that depend on each other give change-points of no consequence, so that
stretches whose medians lie within the margin of the last one's belong to it. They are the steady state, unless they are
under a quarter of the series: then there is none, as where a machine heats up until the end.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import numpy as np
from msgspec import Struct

from toolkit.analyses.statistics import MARGIN

# Of fewer steps ranks tell no change.
LEAST_STEPS = 20
LEAST_SHARE = 0.25
PENALTY = 3.0
# A longer series is read in blocks, for the time that PELT takes grows with the square.
MOST_POINTS = 4096


class Steady(Struct, frozen=True, kw_only=True):
    """Of `steps` steps those from `warmup_steps` on are steady; null with its reason where that cannot be said.

    `changes` are the places, from 0, at which the step's duration changed by more than the margin.
    """

    steps: int
    warmup_steps: int | None
    changes: list[int]
    reason: str | None


def steady_state(durations: Sequence[int], *, margin: float = MARGIN) -> Steady:
    """Of one process's step durations in their order, those that compiled left out."""
    number = len(durations)
    if number < LEAST_STEPS:
        reason = f"{number} steps are too few to tell where warming up ends; {LEAST_STEPS} would do"
        return Steady(steps=number, warmup_steps=None, changes=[], reason=reason)
    edges = _edges(durations)
    levels = [median(durations[start:end]) for start, end in pairwise(edges)]
    changes = [
        place
        for place, (before, after) in zip(edges[1:-1], pairwise(levels), strict=True)
        if not _alike(before, after, margin)
    ]
    like_last = 0
    while like_last < len(levels) and _alike(levels[-1 - like_last], levels[-1], margin):
        like_last += 1
    begins = edges[len(levels) - like_last]
    if number - begins < LEAST_SHARE * number:
        reason = f"no steady state: the step's duration still changed after {begins} of {number} steps"
        return Steady(steps=number, warmup_steps=None, changes=changes, reason=reason)
    return Steady(steps=number, warmup_steps=begins, changes=changes, reason=None)


def _edges(durations: Sequence[int]) -> list[int]:
    """Where stretches of one level begin and end: 0, the change-points, the end."""
    block = -(-len(durations) // MOST_POINTS)
    starts = range(0, len(durations), block)
    points = [median(durations[start : start + block]) for start in starts]
    # Half a second and more to import, which every command would wait for.
    import ruptures  # noqa: PLC0415 - see above
    from scipy import stats  # noqa: PLC0415 - see above

    scores = stats.norm.ppf((stats.rankdata(points) - 0.5) / len(points))[:, None]
    found = ruptures.KernelCPD(kernel="linear", min_size=2).fit(scores).predict(pen=PENALTY * np.log(len(points)))
    return [0, *(starts[end] for end in found[:-1]), len(durations)]


def _alike(one: float, other: float, margin: float) -> bool:
    return max(one, other) <= (1 + margin) * min(one, other)
