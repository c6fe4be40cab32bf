"""When a sampler reads: waits for moments of CLOCK_MONOTONIC; grids on which a slow reading shifts none after it."""

import time

from toolkit.capture import orders
from toolkit.clock import NS_PER_S


def wait_until(at: int) -> None:
    """Sleeps until the moment `at`, ns."""
    time.sleep(max(at - time.monotonic_ns(), 0) / NS_PER_S)


def told_to_stop(at: int) -> bool:
    """Waits until then, and answers whether it is to stop."""
    return orders.stop_within((at - time.monotonic_ns()) / NS_PER_S)


def next_due(due: int, period_ns: int, now: int) -> int:
    """The moment of the grid after `due` that is still to come."""
    return due + period_ns * (1 + max(now - due, 0) // period_ns)
