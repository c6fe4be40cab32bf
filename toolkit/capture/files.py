"""Files that are there whole or not at all, and whose they are."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Where less than this is free, a record that is missing could not be written.
LEAST_FREE_BYTES = 1 << 16


def write_whole(path: Path, text: str) -> None:
    """Writes `text` to `path` so that a reader, or a crash, never meets half of it."""
    with whole(path) as partial, partial.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds; an empty one where there is no such file, or something else in it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write in place of `path`, which it becomes when the `with` block ends well, and else is gone."""
    partial = path.with_name(f".{path.name}.partial")
    # What is there under this name may be a container's link to a file of the caller's.
    partial.unlink(missing_ok=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def is_full(folder: Path) -> bool:
    """Whether the disk of `folder` has no room for a record."""
    return shutil.disk_usage(folder).free < LEAST_FREE_BYTES


def give(folder: Path, uid: int, gid: int) -> None:
    """Makes `folder` and all that is in it the user's. Follows no link, for what is in it may be anyone's making."""
    for place, folders, files, descriptor in os.fwalk(folder):
        os.chown(place, uid, gid, follow_symlinks=False)
        for name in (*folders, *files):
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
