"""summary.json, by the schema of docs/summary.schema.json."""

from pathlib import Path

import msgspec

from toolkit.analyses.summary import Summary


def encode(summary: Summary) -> str:
    """The summary as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=1).decode()


def read(path: Path) -> Summary | None:
    """The summary that `encode` wrote to `path`; None where there is none, or one of another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Summary)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
