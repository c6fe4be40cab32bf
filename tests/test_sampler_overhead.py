"""The benchmark of the samplers finds a cost that there is, and none where there is none, on a machine that drifts."""

import math
import random

from benchmarks.sampler_overhead import Block, Pair, _log_ratios
from toolkit.analyses.statistics import Interval, median_interval

STEP_NS, BLOCK_NS, PAIRS = 20_000_000, 1_000_000_000, 200
COSTS = {"host": 0.01, "gpu": 0.02, "a dummy": 0.0}


def drifting() -> tuple[list[Pair], list[tuple[int, int]]]:
    """Pairs and steps of a machine whose speed wanders by half within a minute; each block is late by its own noise."""
    draw, pairs, steps, now = random.Random(7), [], [], 0  # noqa: S311 - noise, no secret
    for number in range(PAIRS):
        first = frozenset(name for name in COSTS if draw.getrandbits(1))
        blocks = []
        for running in (first, frozenset(COSTS) - first):
            slow = 1.5 + 0.5 * math.sin(number / 5)
            factor = slow * math.prod(1 + COSTS[name] for name in running) * math.exp(draw.gauss(0, 0.02))
            start = now
            while now < start + BLOCK_NS:
                steps.append((now, now + round(STEP_NS * factor)))
                now = steps[-1][1]
            blocks.append(Block(start, now, running))
        pairs.append((blocks[0], blocks[1]))
    return pairs, steps


def test_what_a_sampler_costs_is_found_beside_the_others() -> None:
    """Each alone, both together by the pairs in which they ran together, and nothing of what does nothing."""
    pairs, steps = drifting()
    found: dict[str, Interval] = {
        names: median_interval(list(_log_ratios(frozenset(names.split(", ")), pairs, steps)))
        for names in ("host", "gpu", "host, gpu", "a dummy")
    }
    for names, interval in found.items():
        true = sum(math.log1p(COSTS[name]) for name in names.split(", "))
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= true <= interval.high
        assert interval.high - interval.low < 0.02
        assert (interval.low > 0) == (true > 0)
    assert found["a dummy"].processes == [PAIRS]
    assert PAIRS / 3 < found["host, gpu"].processes[0] < PAIRS
