"""Spans of one thread, in windows of any size: which holds which, as a scan over all of them finds it."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toolkit.ingest.nesting import NONE, Nest, Spans, Sweep, in_order

INTERVAL = st.tuples(st.integers(0, 40), st.integers(0, 25)).map(lambda both: (both[0], both[0] + both[1]))
INTERVALS = st.lists(INTERVAL, min_size=1, max_size=14).map(lambda spans: sorted(spans, key=lambda s: (s[0], -s[1])))


def spans_of(intervals: list[tuple[int, int]]) -> Spans:
    """Spans with their own number as the only label."""
    starts, ends = np.array(intervals, dtype=np.int64).T
    return Spans(starts, ends, (np.arange(len(intervals)),))


def windows(spans: Spans, borders: set[int]) -> list[Nest]:
    """The windows of spans that are given in portions."""
    sweep = Sweep()
    cuts = [0, *sorted(border for border in borders if 0 < border < len(spans.starts)), len(spans.starts)]
    return [*(sweep.take(spans.at(slice(*cut))) for cut in itertools.pairwise(cuts)), sweep.rest()]


def own_number(nest: Nest, place: int) -> int:
    """The number of the span at a place."""
    return NONE if place == NONE else int(nest.spans.labels[0][place])


@given(intervals=INTERVALS, borders=st.sets(st.integers(1, 13), max_size=4), flagged=st.sets(st.integers(0, 13)))
def test_windows_know_what_holds_each_span(
    intervals: list[tuple[int, int]], borders: set[int], flagged: set[int]
) -> None:
    """Parent, outermost span and whether any around is flagged are those of the whole thread, wherever it is cut."""
    parents: list[int] = []
    for start, _ in intervals:
        parents.append(max((place for place, _ in enumerate(parents) if intervals[place][1] > start), default=NONE))
    seen = []
    for nest in windows(spans_of(intervals), borders):
        flags = np.isin(nest.spans.labels[0], list(flagged))
        within, fresh = nest.within(flags), range(len(nest.spans.starts))[nest.fresh]
        for place in fresh:
            number = own_number(nest, place)
            chain = [number]
            while parents[chain[-1]] != NONE:
                chain.append(parents[chain[-1]])
            seen.append(number)
            assert own_number(nest, nest.parents[place]) == parents[number]
            assert own_number(nest, nest.outermost[place]) == chain[-1]
            assert within[place] == bool(flagged & set(chain))
    assert seen == list(range(len(intervals)))


@given(
    intervals=INTERVALS,
    borders=st.sets(st.integers(1, 13), max_size=4),
    moments=st.lists(st.integers(-1, 70), max_size=6).map(sorted),
)
def test_windows_know_what_runs_at_each_moment(
    intervals: list[tuple[int, int]], borders: set[int], moments: list[int]
) -> None:
    """The innermost is the last to begin of those that run; each moment belongs to the first window that ends after."""
    found, done = [], 0
    for nest in windows(spans_of(intervals), borders):
        end = int(np.searchsorted(moments, nest.until_ns))
        found += [own_number(nest, place) for place in nest.innermost(np.array(moments[done:end], dtype=np.int64))]
        done = end
    running = [[place for place, (start, end) in enumerate(intervals) if start <= at < end] for at in moments]
    assert found == [max(places, default=NONE) for places in running]


@given(intervals=st.lists(INTERVAL, max_size=6))
def test_order_is_by_start_and_outer_first(intervals: list[tuple[int, int]]) -> None:
    """Spans are in order where sorting them changes nothing."""
    starts, ends = np.array(intervals, dtype=np.int64).reshape(-1, 2).T
    assert in_order(starts, ends) == (intervals == sorted(intervals, key=lambda s: (s[0], -s[1])))
