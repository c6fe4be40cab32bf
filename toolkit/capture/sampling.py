"""The host's sampler, a process of its own. `python -m toolkit.capture.sampling FOLDER HZ PYSPY`.

Says `ready`, waits for a line on standard input: the worker's pid, and those of processes below it that are no part of
it, such as this one's. It samples until told otherwise there, by a line or its end, or the worker is gone. Writes
samplers.jsonl, and pyspy.json where PYSPY is `true`.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from toolkit.capture import kept_files, orders
from toolkit.capture.pacing import next_due, told_to_stop
from toolkit.capture.record import Appender, recording
from toolkit.capture.samplers.host import HostSampler
from toolkit.capture.samplers.process_tree import GONE
from toolkit.capture.samplers.pyspy import PySpy
from toolkit.clock import NS_PER_S


def main(folder: Path, hz: int, *, with_pyspy: bool) -> None:
    """Samples one worker from before its start to its end."""
    kept_files.allow_many()
    with Appender(folder / "samplers.jsonl") as record:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        line = orders.first()
        if not line:
            return
        pid, *apart = map(int, line.split())
        pyspy = PySpy(record, pid, folder / "pyspy.json") if with_pyspy else None
        sample_until_gone(record, pid, hz, apart=apart)
        if pyspy is not None:
            pyspy.finish()


def sample_until_gone(record: Appender, pid: int, hz: int, *, apart: Sequence[int]) -> None:
    """Reads `hz` times a second on a fixed grid, so that a slow reading shifts none after it."""
    try:
        host = HostSampler(record, pid, apart=apart)
    except GONE:
        record.unavailable("host", None, "all", "the worker ended before it could be read")
        return
    period_ns, due = NS_PER_S // hz, time.monotonic_ns()
    clock_due = due
    while not told_to_stop(due) and not host.is_over:
        host.sample()
        if clock_due <= due:
            record.clock()
            clock_due += NS_PER_S
        due = next_due(due, period_ns, time.monotonic_ns())


if __name__ == "__main__":
    sys.exit(recording(lambda: main(Path(sys.argv[1]), int(sys.argv[2]), with_pyspy=sys.argv[3] == "true")))
