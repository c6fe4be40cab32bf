"""The axis: exact integers from every clock there is."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from toolkit.clock import ClockPair, MonotonicAxis, ps_to_ns, read_pair, us_to_ns

EPOCH_NS = 1_795_000_000_000_000_000


@given(st.integers(0, 2**62))
def test_picoseconds_round_half_to_even(ps: int) -> None:
    """ps_to_ns gives the nearest nanosecond, and the even one of two equally near."""
    assert ps_to_ns(ps) == round(Fraction(ps, 1000))


@given(st.decimals(min_value=0, max_value=2 * 10**15, places=4, allow_nan=False))
def test_microseconds_round_half_to_even(us: Decimal) -> None:
    """us_to_ns loses nothing that a nanosecond can hold, at today's epoch too."""
    assert us_to_ns(us) == round(Fraction(us) * 1000)


def test_a_wall_clock_set_in_mid_run_shows_and_is_followed() -> None:
    """Readings after a step are placed by the pair after it, and the step is listed with its size."""
    axis = MonotonicAxis([ClockPair(EPOCH_NS, 0), ClockPair(EPOCH_NS + 1_000 + 5_000_000_000, 1_000)])
    assert axis.realtime_ns(999) == EPOCH_NS + 999
    assert axis.realtime_ns(1_001) == EPOCH_NS + 1_001 + 5_000_000_000
    assert axis.steps() == [(1_000, 5_000_000_000)]


@given(st.integers(-(10**12), 10**12))
def test_without_a_step_durations_are_kept(monotonic_ns: int) -> None:
    """A duration on the axis is the duration on the monotonic clock, before the first pair too."""
    axis = MonotonicAxis([ClockPair(EPOCH_NS, 0), ClockPair(EPOCH_NS + 10**9, 10**9)])
    assert axis.realtime_ns(monotonic_ns + 7) - axis.realtime_ns(monotonic_ns) == 7
    assert axis.steps() == []


def test_a_pair_is_both_clocks_at_one_moment() -> None:
    """Two pairs read one after the other agree about the distance of the clocks to a tenth of a millisecond."""
    first, second = read_pair(), read_pair()
    assert abs((second.realtime_ns - second.monotonic_ns) - (first.realtime_ns - first.monotonic_ns)) < 100_000
