"""The host's sampler, a process of its own. `python -m toolkit.capture.sampling FOLDER HZ PYSPY`.

Says `ready`, waits for the worker's pid on standard input, and samples until that closes or the worker is gone. Writes
samplers.jsonl, and pyspy.json where PYSPY is `true`.
"""

import itertools
import select
import sys
import time
from pathlib import Path

import psutil

from toolkit.capture.record import Appender, recording
from toolkit.capture.samplers.host import HostSampler
from toolkit.capture.samplers.pyspy import PySpy


def main(folder: Path, hz: int, *, with_pyspy: bool) -> None:
    """Samples one worker from before its start to its end."""
    with Appender(folder / "samplers.jsonl") as record:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return
        pid = int(line)
        pyspy = PySpy(record, pid, folder / "pyspy.json") if with_pyspy else None
        sample_until_gone(record, pid, hz)
        if pyspy is not None:
            pyspy.finish()


def sample_until_gone(record: Appender, pid: int, hz: int) -> None:
    """Reads `hz` times a second on a fixed grid, so that a slow reading shifts none after it."""
    try:
        host = HostSampler(record, pid)
    except psutil.NoSuchProcess:
        record.unavailable("host", None, "all", "the worker ended before it could be read")
        return
    period = 1 / hz
    due = time.monotonic()
    for number in itertools.count():
        if _told_to_stop(due - time.monotonic()) or not psutil.pid_exists(pid):
            break
        host.sample()
        if number % hz == 0:
            record.clock()
        due = max(due + period, time.monotonic())


def _told_to_stop(wait_s: float) -> bool:
    """Waits, and answers whether standard input closed meanwhile."""
    readable, _, _ = select.select([sys.stdin], [], [], max(wait_s, 0.0))
    return bool(readable) and not sys.stdin.readline()


if __name__ == "__main__":
    sys.exit(recording(lambda: main(Path(sys.argv[1]), int(sys.argv[2]), with_pyspy=sys.argv[3] == "true")))
