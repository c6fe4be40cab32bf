"""The console that commands print on."""

import os

from rich.console import Console

FILE_WIDTH = 120


def console() -> Console:
    """As wide as the terminal; into a file or a pipe 120 columns, unless COLUMNS says otherwise."""
    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=FILE_WIDTH)
