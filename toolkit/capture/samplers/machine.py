"""The machine's own load, as /proc/stat and /proc/meminfo tell: proc(5)."""

from pathlib import Path

from toolkit.capture.kept_files import KeptFile, number_after

KIB = 1024
# user nice system idle iowait irq softirq steal; what guests took, which follows, user and nice hold already.
TIMES, IDLE, IOWAIT = 8, 3, 4


class Machine:
    """Raises OSError where the kernel shows no such files."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._stat, self._memory = KeptFile(root / "stat"), KeptFile(root / "meminfo")
        self._before = _times(self._stat.read())

    def load(self) -> tuple[float | None, int | None]:
        """Percent of all processors since the call before, waiting for a disk being idle; processes and threads begun.

        The one is None within a clock tick, the other where the kernel does not tell it.
        """
        text = self._stat.read()
        begun = number_after(b"\nprocesses ", text)
        times = _times(text)
        # The time of waiting for disks may go back.
        spent = [max(now - before, 0) for now, before in zip(times, self._before, strict=True)]
        total = sum(spent)
        if not total:
            return None, begun
        self._before = times
        return 100 * (total - spent[IDLE] - spent[IOWAIT]) / total, begun

    def available_bytes(self) -> int | None:
        """Memory that new work can have without swapping; None where the kernel does not tell, before 3.14."""
        kib = number_after(b"\nMemAvailable:", self._memory.read())
        return None if kib is None else kib * KIB


def _times(text: bytes) -> list[int]:
    """Ticks of all processors together, by what they were spent on; the first line."""
    return [int(field) for field in text.split(None, TIMES + 1)[1 : TIMES + 1]]
