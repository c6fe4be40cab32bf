"""Progress: shown on a terminal, once something has taken so long that someone waits."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from toolkit.errors import printable

PATIENCE_S = 2
LONGEST_NAME = 40

Watch = Callable[[str, int], None]
# Held by what is shown: what is done within it is a part of that.
_SHOWN = threading.Lock()


@contextmanager
def watching(files: Sequence[Path], *, shown: bool) -> Iterator[Callable[[Path], Watch]]:
    """What gives each file's watch: told what is done with it and how many bytes have come through.

    Where `shown` and stderr is a terminal, and the whole takes longer than PATIENCE_S, the terminal shows it.
    """
    terminal = Console(stderr=True)
    if not (shown and terminal.is_terminal):
        yield lambda _: _ignore
        return
    display = _Display(files, terminal)
    try:
        yield lambda path: partial(display.came_to, path)
    finally:
        display.stop()


@contextmanager
def waiting(doing: str, terminal: Console | None = None) -> Iterator[None]:
    """Where stderr is a terminal and it takes longer than PATIENCE_S, says what is being done, and for how long."""
    terminal = terminal or Console(stderr=True)
    if not terminal.is_terminal or not _SHOWN.acquire(blocking=False):
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    progress = Progress(*columns, console=terminal, transient=True)
    progress.add_task(escape(printable(doing)), total=None)
    timer = threading.Timer(PATIENCE_S, progress.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        progress.stop()
        _SHOWN.release()


def wanted(*, as_json: bool) -> bool:
    """Whether a person looks on: not where figures go to another program."""
    return not as_json or sys.stdout.isatty()


def _ignore(doing: str, read_bytes: int) -> None:
    """Nobody watches."""


class _Display:
    """The bar of the file at hand, and where there are several, that of all."""

    def __init__(self, files: Sequence[Path], terminal: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._start = now, now()
        self._sizes = {path: path.stat().st_size if path.is_file() else 0 for path in files}
        self._numbers = {path: number for number, path in enumerate(files, 1)}
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), TextColumn("left"), console=terminal, transient=True)
        many = len(files) > 1
        self._all = self._progress.add_task("all files", total=sum(self._sizes.values())) if many else None
        self._one = self._progress.add_task("")
        self._at: tuple[Path, str] | None = None

    def came_to(self, path: Path, doing: str, read_bytes: int) -> None:
        """So many bytes of a file have come through what is being done."""
        if (path, doing) != self._at:
            self._at = (path, doing)
            description = f"{doing} {escape(printable(path.name)[:LONGEST_NAME])}"
            self._progress.reset(self._one, total=self._sizes[path], description=description)
        self._progress.update(self._one, completed=read_bytes)
        if self._all is not None:
            before = sum(size for other, size in self._sizes.items() if self._numbers[other] < self._numbers[path])
            self._progress.update(self._all, completed=before + (read_bytes if doing == "reading" else 0))
        if self._now() - self._start > PATIENCE_S:
            self._progress.start()

    def stop(self) -> None:
        """Leaves the terminal as it was."""
        self._progress.stop()
