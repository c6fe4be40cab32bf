"""What commands print on."""

import os
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from toolkit.errors import printable

FILE_WIDTH = 120


def console() -> Console:
    """As wide as the terminal; into a file or a pipe 120 columns, unless COLUMNS says otherwise."""
    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=FILE_WIDTH)


class Harmless:
    """The same, with every character escaped that a terminal might obey: names in traces come from strangers."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """What rich draws of it, with rich's own line ends and controls as they are."""
        for segment in console.render(self._renderable, options):
            text, style, control = segment
            yield segment if control or text == "\n" else Segment("\n".join(map(printable, text.split("\n"))), style)
