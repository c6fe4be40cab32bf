"""Signals in a person's own process: SIGTERM ends it cleanly, and neither it nor Ctrl-C comes at the wrong moment."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

BOTH = (signal.SIGINT, signal.SIGTERM)


class Terminated(SystemExit):
    """SIGTERM, where the script had nothing of its own to do about it: it ends as by that signal, but cleanly."""


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Inside, SIGTERM unwinds the stack, unless the script handles it, then or later, or in any other thread."""
    if not _is_main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    mine = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == mine:
            raise Terminated(128 + number)
        # A process that the script forked, such as a loader's, ends as it always did.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM wait: a profiler that is stopped half-way through a step writes no trace."""
    if not _is_main_thread():
        yield
        return
    came: list[int] = []
    # None is a handler that Python did not install, and could not put back.
    before = {number: handler for number in BOTH if (handler := signal.getsignal(number)) is not None}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in came:
            signal.raise_signal(each)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
