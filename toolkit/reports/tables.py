"""What the terminal reports share: tables, bars and figures with their units."""

from rich import box
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 12
UNKNOWN = "–"


def table(title: str, *columns: str) -> Table:
    """An empty table: words to the left, figures to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, caption_justify="left")
    for number, column in enumerate(columns):
        textual = number == 0 or column.startswith(("share", "mean by"))
        made.add_column(column, justify="left" if textual else "right", overflow="fold")
    return made


def share(part: int, whole: int) -> float:
    """What part is of whole; 0 of nothing."""
    return part / whole if whole else 0.0


def bar(of_whole: float) -> Text:
    """A share from 0 to 1 as a bar and in percent."""
    filled = round(of_whole * BAR_WIDTH)
    return Text(f"{'█' * filled}{'·' * (BAR_WIDTH - filled)} {of_whole:6.1%}", no_wrap=True)


def milliseconds(ns: int | None) -> str:
    """Nanoseconds in ms."""
    return UNKNOWN if ns is None else f"{ns / 1e6:,.2f}"


def mebibytes(count: float | None) -> str:
    """Bytes in MiB."""
    return UNKNOWN if count is None else f"{count / 2**20:,.1f}"
