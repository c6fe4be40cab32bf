"""What the terminal reports share: tables, bars and figures with their units."""

import math
import re
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from toolkit.errors import printable

BAR_WIDTH = 10
UNKNOWN = "–"
# The end of a Python frame's path, and what stands before it.
FRAME = re.compile(r"\(.*[\\/]([^\\/]+[\\/][^\\/]+)\)$")
# Half of the last place of figures in ms.
LEAST_NS = 5_000
# Half of the last place of figures in MiB.
LEAST_BYTES = 2**20 / 20
# From empty to full, an eighth a step.
LEVELS = " ▁▂▃▄▅▆▇█"
SPARKLINE_WIDTHS = (12, 60)
CROPPED_WIDTH = 12
# Columns of words; the others hold figures and stand to the right.
TEXTUAL = ("share", "mean by", "over time", "mostly", "thread", "category", "direction")


class Titled(Table):
    """A table under a heading and over a note, which may both be wider than it is: rich's own wrap at its width."""

    def __init__(self, heading: str) -> None:
        super().__init__(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        self.heading = heading
        self.note: str | None = None

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """The table's own, and no less than the heading where there is room."""
        own = super().__rich_measure__(console, options)
        return own.with_minimum(min(len(self.heading), options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Heading, table, note."""
        yield Text(self.heading, "bold")
        yield from super().__rich_console__(console, options)
        if self.note:
            yield Text(f"{self.note}\n", "dim")


def table(title: str, *columns: str) -> Titled:
    """An empty table: words to the left, figures to the right."""
    made = Titled(title)
    for number, column in enumerate(columns):
        textual = number == 0 or column.startswith(TEXTUAL)
        made.add_column(column, justify="left" if textual else "right", overflow="fold")
    return made


def shown(text: str) -> str:
    """Text of a trace as data: neither markup nor a control character in it does anything."""
    return escape(printable(text))


def short_frame(frame: str) -> str:
    """`function (file:line)` with no more of the file's folders than the last."""
    return FRAME.sub(r"(\1)", frame)


def share(part: int, whole: int) -> float | None:
    """What part is of whole; None of nothing."""
    return part / whole if whole else None


def percent(of_whole: float | None) -> str:
    """A share from 0 to 1."""
    return UNKNOWN if of_whole is None else f"{of_whole:.1%}"


def bar(of_whole: float | None) -> Text:
    """A share from 0 to 1 as a bar and in percent."""
    if of_whole is None:
        return Text(UNKNOWN)
    filled = round(of_whole * BAR_WIDTH)
    return Text(f"{'█' * filled}{'·' * (BAR_WIDTH - filled)} {of_whole:6.1%}", no_wrap=True)


def milliseconds(ns: int | None) -> str:
    """Nanoseconds in ms; what is too little to show is not shown as nothing."""
    if ns is None:
        return UNKNOWN
    return "<0.01" if 0 < ns < LEAST_NS else f"{ns / 1e6:,.2f}"


def microseconds(ns: int | None) -> str:
    """Nanoseconds in µs."""
    return UNKNOWN if ns is None else f"{ns / 1e3:,.1f}"


def mebibytes(count: float | None) -> str:
    """Bytes in MiB; what is too little to show is not shown as nothing."""
    if count is None:
        return UNKNOWN
    return "<0.1" if 0 < count < LEAST_BYTES else f"{count / 2**20:,.1f}"


def three_digits(value: float) -> str:
    """A number by three digits at least, however small it is."""
    if value == round(value):
        return f"{value:,.0f}"
    decimals = max(2 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{decimals}f}"


class Cropped:
    """A long name on one line; where there is no room it loses its middle."""

    def __init__(self, text: str) -> None:
        self._text = printable(text)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """The least and the most columns that it can fill."""
        return Measurement(min(CROPPED_WIDTH, len(self._text)), len(self._text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line."""
        room = options.max_width
        tail = room // 3
        fits = len(self._text) <= room or room < CROPPED_WIDTH
        yield Text(self._text if fits else f"{self._text[: room - tail - 1]}…{self._text[-tail:]}")


class Sparkline:
    """A level over time as a row of blocks, each as high as the highest level in its stretch of time.

    As wide as there is room for, within SPARKLINE_WIDTHS; 0 is the empty block (or the lowest level, where that is
    negative) and the highest level the full one. `moments` count up from 0, in order; a level lasts until the next.
    """

    def __init__(self, moments: Sequence[int], levels: Sequence[int]) -> None:
        self._moments, self._levels = moments, levels

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """The least and the most columns that it can fill."""
        return Measurement(*SPARKLINE_WIDTHS)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line."""
        yield Text("".join(self._line(min(options.max_width, SPARKLINE_WIDTHS[1]))), no_wrap=True)

    def _line(self, width: int) -> Iterator[str]:
        floor, top = min(0, *self._levels), max(0, *self._levels)
        steps, span = len(LEVELS) - 1, max(top - floor, 1)
        # rounded up, so that only nothing looks like nothing
        return (LEVELS[-(-(level - floor) * steps // span)] for level in self._highest(width))

    def _highest(self, width: int) -> Iterator[int]:
        level, place, length = self._levels[0], 0, self._moments[-1] + 1
        for cell in range(width):
            highest = level
            while place < len(self._moments) and self._moments[place] * width // length == cell:
                level = self._levels[place]
                highest = max(highest, level)
                place += 1
            yield highest
