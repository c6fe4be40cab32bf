"""What a sampler is told on its standard input: one line, whom to watch; then another, or the end, that it is to stop.

Read without a buffer, which would take the second line along with the first, and hide it from `select`.
"""

import os
import select

STDIN = 0
STOP = "stop"


def first() -> str:
    """The first line, once it is there: whom to watch; empty where there comes none, or that it is to stop."""
    line = b""
    while (byte := os.read(STDIN, 1)) not in (b"", b"\n"):
        line += byte
    told = line.decode()
    return "" if told == STOP else told


def stop_within(wait_s: float) -> bool:
    """Waits so long, and answers whether it is to stop."""
    readable, _, _ = select.select([STDIN], [], [], max(wait_s, 0.0))
    return bool(readable)
