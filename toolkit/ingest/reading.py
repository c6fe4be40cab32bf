"""How one file is read: whole or not at all, or, where a person asks for it, as far as it is whole."""

from collections.abc import Callable
from pathlib import Path

from toolkit.errors import HwprofError

AGAIN = "Take the file again from where it was written: it was cut off or damaged on the way."


class SalvageableError(HwprofError):
    """A file that is whole up to some byte and not behind it, so that what comes before can be kept.

    `kept` says how much that is, for people.
    """

    def __init__(self, path: Path, problem: str, *, kept: str, remedy: str = AGAIN) -> None:
        super().__init__(f"{path} {problem}.", remedy=f"{remedy} --salvage keeps what came before.")
        self.what = problem
        self.kept = kept


class Reading:
    """How a file is read: damage is an error, and `watch` is told how many bytes of the file have been read."""

    salvages = False

    def __init__(self, watch: Callable[[int], None] | None = None) -> None:
        self.came_to = watch or _tell_no_one

    def damaged(self, damage: SalvageableError) -> None:
        """Damage was met. Returns where what came before it is to be kept; else raises it."""
        raise damage


class Salvage(Reading):
    """Keeps what comes before damage, and what was wrong."""

    salvages = True

    def __init__(self, watch: Callable[[int], None] | None = None) -> None:
        super().__init__(watch)
        # By what it says, for a file that is read twice meets its damage twice.
        self.damages: dict[str, SalvageableError] = {}

    def damaged(self, damage: SalvageableError) -> None:
        """Notes the damage."""
        self.damages.setdefault(damage.what, damage)


def _tell_no_one(read_bytes: int) -> None:
    """Nobody watches."""


WHOLE = Reading()
