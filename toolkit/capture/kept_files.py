"""Files that the kernel writes when they are read (/proc, /sys), opened once and read again and again.

Opening one anew costs several times what reading it does. And an open file of /proc/PID stays that process's, whoever
has its number later.
"""

import os
import resource
from pathlib import Path

# More than most hold. What fills it goes on.
SIZE = 1 << 14


class KeptFile:
    """One file, open until the last reference to this is gone. Raises OSError where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """All that it holds now. Raises OSError: ProcessLookupError where it told of a process that is gone."""
        content = os.pread(self._descriptor, SIZE, 0)
        while len(content) % SIZE == 0 and (more := os.pread(self._descriptor, SIZE, len(content))):
            content += more
        return content

    def close(self) -> None:
        """Closes it; the second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        # Its opening may have failed.
        if hasattr(self, "_descriptor"):
            self.close()


def allow_many() -> None:
    """Lets this process keep open as many files as it may ever: a usual limit of 1024 holds those of 500 processes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def number_after(name: bytes, text: bytes) -> int | None:
    """The number that follows a name; None where the text has no such name."""
    _, found, rest = text.partition(name)
    return int(rest.split(None, 1)[0]) if found else None
