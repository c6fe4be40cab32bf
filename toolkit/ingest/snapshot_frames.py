"""The one frame that says who asked for a block: a snapshot's stacks hold dozens, of PyTorch and Python mostly."""

import re
from typing import Any

# Stacks of traces are as deep as someone made them; the user's own frame is not far up.
LOOKED_AT = 64
LONGEST = 400

_LIBRARY = re.compile(r"[\\/](site-packages|dist-packages|lib[\\/]python3[^\\/]*)[\\/]|^<frozen ", re.IGNORECASE)


def user_frame(frames: Any) -> str | None:
    """`function (file:line)` of the innermost Python frame outside of installed libraries, else of the innermost.

    `frames` is what the snapshot holds, innermost first. None where it holds no Python frame.
    """
    found = [_Frame(item) for item in frames[:LOOKED_AT]] if isinstance(frames, list) else []
    python = [frame for frame in found if frame.file.endswith(".py") or frame.file.startswith("<")]
    own = [frame for frame in python if not _LIBRARY.search(frame.file)]
    return str((own or python)[0]) if python else None


class _Frame:
    def __init__(self, item: Any) -> None:
        told = item if isinstance(item, dict) else {}
        self.file, self._name = _text(told.get("filename")), _text(told.get("name"))
        self._line = told.get("line")

    def __str__(self) -> str:
        line = f":{self._line}" if isinstance(self._line, int) else ""
        return f"{self._name or '?'} ({self.file}{line})"


def _text(value: Any) -> str:
    """The end of a text; nothing is asked of anything else, because that can be made to take for ever."""
    return value[-LONGEST:] if isinstance(value, str) else ""
