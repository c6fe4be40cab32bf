"""XPlane's times on the axis.

An event starts `offset_ps` after its line's `timestamp_ns`. Profilers count the latter from the profile's start, which
the plane `Task Environment` gives as `profile_start_time`, ns of CLOCK_REALTIME; but in lines that they took over from
a subprocess it is itself ns of CLOCK_REALTIME. The two are told apart by size. Where a file gives no start, its lines
stay on the trace's own clock.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.clock import PS_PER_NS, ps_to_ns
from toolkit.ingest.xplane_wire import DamageError

Int64s = npt.NDArray[np.int64]

# 104 days. No profile lasts that long, and no clock that was ever set stands so early after the epoch.
EPOCH_FLOOR_NS = 9 * 10**15
# The year 2116, and half of what int64 holds.
LATEST_NS = 2**62


class Clock(NamedTuple):
    """Starts of the profile, and of the first line that tells its own; ns of CLOCK_REALTIME, None where not told."""

    start_ns: int | None
    first_line_ns: int | None

    def origin_ns(self, timestamp_ns: int) -> int:
        """A line's start on the axis, from its `timestamp_ns`."""
        return timestamp_ns if timestamp_ns >= EPOCH_FLOOR_NS else timestamp_ns + (self.start_ns or 0)

    def into_profile_ps(self, timestamp_ns: int) -> int:
        """A line's start counted from the profile's; where that is not told, from the first that tells its own."""
        if timestamp_ns < EPOCH_FLOOR_NS:
            return timestamp_ns * PS_PER_NS
        return (timestamp_ns - (self.start_ns or self.first_line_ns or 0)) * PS_PER_NS


def clock_of(start_ns: int | None, timestamps_ns: Sequence[int]) -> Clock:
    """The clock of a trace from its start and its lines' `timestamp_ns`; raises DamageError where one is no time."""
    for moment in [start_ns or 0, *timestamps_ns]:
        if not -EPOCH_FLOOR_NS < moment < LATEST_NS:
            raise DamageError(f"it tells of a moment {moment} ns after its start or the epoch")
    return Clock(start_ns, min((moment for moment in timestamps_ns if moment >= EPOCH_FLOOR_NS), default=None))


def place_ns(origin_ns: int, ps: Int64s) -> Int64s:
    """Picoseconds after an origin as nanoseconds of its axis, half a nanosecond to the even one of the axis."""
    odd = origin_ns % 2
    return ps_to_ns(ps + odd * PS_PER_NS) + (origin_ns - odd)
