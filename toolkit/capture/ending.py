"""Signals that end a command as Ctrl-C does: what it started ends, what was recorded is written, no more is left."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interruptible(*numbers: signal.Signals) -> Iterator[None]:
    """Inside, the first of these signals is a Ctrl-C and further ones are ignored, so that ending is not cut short.

    One that is ignored already stays so, as SIGHUP does under nohup; so does one that no Python code handles.
    """
    heard = [number for number in numbers if signal.getsignal(number) not in {signal.SIG_IGN, None}]

    def end(number: int, frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
