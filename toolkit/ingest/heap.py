"""What the C library does with freed memory, where it is glibc, and when Python looks for cycles to free."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _RETURNED_BYTES = 32 << 20, 1 << 20


def keep_freed() -> None:
    """Blocks are used again rather than returned and asked for anew: reading a trace takes a tenth less time."""
    _set(_KEPT_BYTES)


def return_freed() -> None:
    """Large blocks go back to the system at once, and what is free now: analyses use much, each for a while."""
    _set(_RETURNED_BYTES)
    _call("malloc_trim", 0)


@contextmanager
def uncollected() -> Iterator[None]:
    """Python does not look for cycles: what importers make holds none, and there is much of it to look through."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _set(size: int) -> None:
    _call("mallopt", M_MMAP_THRESHOLD, size)
    _call("mallopt", M_TRIM_THRESHOLD, 2 * size)


def _call(name: str, *arguments: int) -> None:
    function: Any = getattr(ctypes.CDLL(None), name, None)
    if function:
        function(*arguments)
