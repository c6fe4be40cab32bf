"""What a file that strangers made may ask for at most, each adjustable by a variable of the environment.

The defaults leave room for any trace that a profiler writes, and keep what a file can do to this process near 600 MB.
"""

import os
from typing import NamedTuple

from toolkit.errors import HwprofError

MIB = 1 << 20
MOST = 2**62


class Limit(NamedTuple):
    """One limit: the variable that sets it, its default, what it counts, and the most that it can be set to."""

    variable: str
    default: int
    counts: str
    most: int = MOST

    def value(self) -> int:
        """The limit in force; raises HwprofError where the variable holds no such number."""
        text = os.environ.get(self.variable, str(self.default))
        if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= self.most and len(text) <= len(str(MOST))):
            remedy = f"Give it as a whole number from 1 to {self.most}, or leave it out: {self.default}."
            raise HwprofError(f"{self.variable} is {text[:80]!r}.", remedy=remedy)
        return int(text)

    def remedy(self) -> str:
        """What to do about a file that is over the limit."""
        return f"If the file is to be trusted, set {self.variable} higher."


INFLATED_BYTES = Limit("HWPROF_MAX_INFLATED_BYTES", 16 << 30, "bytes of one file, once inflated where it is gzip")
EVENT_BYTES = Limit("HWPROF_MAX_EVENT_BYTES", 64 * MIB, "bytes of one event of a JSON trace")
MEMBER_BYTES = Limit("HWPROF_MAX_METADATA_BYTES", 8 * MIB, "bytes before the events of a JSON trace, and behind them")
# Python's own recursion limit of 1000 ends deeper documents, whatever is set.
NESTING = Limit("HWPROF_MAX_NESTING", 512, "JSON lists and objects inside each other", most=900)
PICKLE_BYTES = Limit("HWPROF_MAX_PICKLE_BYTES", 128 * MIB, "bytes of an allocator snapshot")
PICKLE_MEMORY_BYTES = Limit("HWPROF_MAX_PICKLE_MEMORY", 384 * MIB, "bytes of memory that a snapshot's objects take")
SNAPSHOT_ROWS = Limit("HWPROF_MAX_SNAPSHOT_ROWS", 1 << 22, "segments, blocks and events of an allocator snapshot")
SPEEDSCOPE_BYTES = Limit("HWPROF_MAX_SPEEDSCOPE_BYTES", 96 * MIB, "bytes of a speedscope file, once inflated")
PPROF_BYTES = Limit("HWPROF_MAX_PPROF_BYTES", 8 * MIB, "bytes of a JAX memory profile, once inflated")
STACKS = Limit("HWPROF_MAX_STACKS", 1 << 18, "places in the call trees of a speedscope file, and frames that it names")
OPEN_FRAMES = Limit("HWPROF_MAX_OPEN_FRAMES", 1 << 18, "threads and frames open at once, of a py-spy trace")
OPEN_BYTES = Limit("HWPROF_MAX_OPEN_BYTES", 128 * MIB, "bytes of names of threads and open frames, of a py-spy trace")
XPLANE_BYTES = Limit("HWPROF_MAX_XPLANE_BYTES", 512 * MIB, "bytes of an XPlane file")
TABLE_LINE_BYTES = Limit("HWPROF_MAX_TABLE_LINE", MIB // 16, "bytes of one line of nvidia-smi's table")
TABLE_DEVICES = Limit("HWPROF_MAX_TABLE_DEVICES", 1 << 10, "GPUs of nvidia-smi's table")
ANALYSIS_MEMORY = Limit(
    "HWPROF_MAX_ANALYSIS_MEMORY", 512 * MIB, "bytes of memory for analyses in SQL, beyond which they use the disk"
)
ANALYSIS_DISK = Limit(
    "HWPROF_MAX_ANALYSIS_DISK", 16 << 30, "bytes of disk for analyses in SQL, in the folder for temporary files"
)

ALL = (
    INFLATED_BYTES, EVENT_BYTES, MEMBER_BYTES, NESTING, PICKLE_BYTES, PICKLE_MEMORY_BYTES, SNAPSHOT_ROWS,
    SPEEDSCOPE_BYTES, PPROF_BYTES, STACKS, OPEN_FRAMES, OPEN_BYTES, XPLANE_BYTES, TABLE_LINE_BYTES, TABLE_DEVICES,
    ANALYSIS_MEMORY, ANALYSIS_DISK,
)  # fmt: skip
