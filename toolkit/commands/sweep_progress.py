"""How far a sweep has come: one line that moves on a terminal, elsewhere a line for each repeat that ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from toolkit.analyses.sweep_results import UNFINISHED
from toolkit.capture.sweeps import BEGUN, COMPLETE, Entry
from toolkit.commands.sweeping import History, seconds_left
from toolkit.errors import printable

Watch = Callable[[History, Entry], None]
MINUTE_S = 60
HOUR_S = 3600


@contextmanager
def watching(terminal: Console) -> Iterator[Watch]:
    """What is told of every repeat that begins or ends."""
    if not terminal.is_terminal:
        yield _line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task("", total=None, left="")

        def move(history: History, entry: Entry) -> None:
            if entry.status not in {BEGUN, COMPLETE}:
                progress.console.print(escape(_ended(history, entry)), style="yellow", soft_wrap=True)
            points = history.sweep.points
            done = len(points) - len(history.open())
            doing = f"{done} of {len(points)} points done · {_named(history, entry)}"
            progress.update(task, total=len(points), completed=done, description=escape(doing), left=_left(history))

        yield move


def _line(history: History, entry: Entry) -> None:
    if entry.status != BEGUN:
        done = sum(history.status(point)[0] != UNFINISHED for point in history.sweep.points)
        left = _left(history)
        click.echo(
            f"{done} of {len(history.sweep.points)} points done · {_ended(history, entry)}{left and ' · ' + left}",
            err=True,
        )


def _ended(history: History, entry: Entry) -> str:
    took = f" in {entry.seconds:.1f} s" if entry.seconds is not None else ""
    return f"{_named(history, entry)} {entry.status}{took}" + (f": {printable(entry.reason)}" if entry.reason else "")


def _named(history: History, entry: Entry) -> str:
    point = history.sweep.points[entry.point - 1]
    settings = " ".join(f"{name}={text}" for name, text in point.settings.items())
    return printable(f"point {point.number} {settings}, repeat {entry.repeat}")


def _left(history: History) -> str:
    seconds = seconds_left(history)
    if not seconds:
        return ""
    if seconds < MINUTE_S:
        return "under a minute left"
    return f"at least {_duration(seconds)} left"


def _duration(seconds: float) -> str:
    return f"{seconds / HOUR_S:.1f} h" if seconds >= 2 * HOUR_S else f"{seconds / MINUTE_S:.0f} min"
