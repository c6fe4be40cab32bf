"""Fetches what somebody publishes, whole and checked or not at all. The standard library only."""

import http.client
import os
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60


def cache_folder() -> Path:
    """Where downloads stay, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwprof"


def fetch(url: str, target: Path, check: Callable[[Path], None]) -> None:
    """Writes what `url` answers to `target` once `check` has let it through; else there is no such file.

    Raises OSError where it cannot be had, and what `check` raises.
    """
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply, partial.open("wb") as file:  # noqa: S310 - the address is ours
            shutil.copyfileobj(reply, file, CHUNK_BYTES)
        check(partial)
        partial.replace(target)
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
