"""The benchmark of the samplers finds a cost that there is, and none where there is none, on a machine that drifts."""

import math
import random

import pytest
from scipy import stats

from benchmarks.ratios import Known, of_pairs, of_processes
from benchmarks.sampler_overhead import ARMS, DUMMY, Block, Pair, _log_ratios, drawn

STEP_NS, BLOCK_NS, PAIRS = 20_000_000, 400_000_000, 450
COSTS = {"host": 0.01, "gpu": 0.02, DUMMY: 0.0}


def drifting() -> tuple[list[Pair], list[tuple[int, int]]]:
    """Pairs and steps of a machine whose speed wanders by half within a minute; each block is late by its own noise."""
    random.seed(7)
    draw, pairs, steps, now = random.Random(7), [], [], 0  # noqa: S311 - noise, no secret
    for number in range(PAIRS):
        blocks = []
        for running in drawn(ARMS):
            slow = 1.5 + 0.5 * math.sin(number / 5)
            noise = math.exp(draw.gauss(0, 0.02) + 0.3 * (draw.random() < 0.02))
            factor = slow * noise * math.prod(1 + COSTS[name] for name in running)
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
    found: dict[str, Known] = {
        names: of_pairs(list(_log_ratios(frozenset(names.split(", ")), pairs, steps)))
        for names in ("host", "gpu", "host, gpu", "a dummy")
    }
    for names, known in found.items():
        true = math.prod(1 + COSTS[name] for name in names.split(", "))
        assert known.low <= true <= known.high
    assert found["host, gpu"].high - found["host, gpu"].low < 0.01
    assert found["host, gpu"].low > 1
    assert found["host, gpu"].verdict(0.04) == "met: the whole interval lies within"
    assert found["host, gpu"].verdict(0.02) == "missed: the whole interval lies outside"
    assert found["a dummy"].low < 1 < found["a dummy"].high


def test_the_interval_of_pairs_is_wilcoxon_s() -> None:
    """It holds every shift that the signed-rank test does not reject, and one wild pair hardly moves it."""
    draw = random.Random(3)  # noqa: S311 - noise, no secret
    logs = [draw.gauss(0.01, 0.05) for _ in range(80)]
    known = of_pairs(logs)
    for end, sign in ((known.low, -1), (known.high, 1)):
        for reach, rejected in ((0.0005, True), (-0.0005, False)):
            shift = math.log(end) + sign * reach
            p = stats.wilcoxon([one - shift for one in logs], method="approx").pvalue
            assert (p < 0.05) == rejected
    assert abs(of_pairs([*logs, 5.0]).ratio - known.ratio) < 0.002


def test_what_differs_between_processes_is_in_the_interval_over_them() -> None:
    """Student's t of the processes' centres; alike within each, they are known no better than they agree."""
    known = of_processes([[level] * 9 for level in (-0.01, 0.0, 0.01)])
    assert known.ratio == pytest.approx(1)
    assert math.log(known.high) == pytest.approx(4.303 * 0.01 / 3**0.5, rel=1e-3)
