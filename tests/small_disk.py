"""A disk that is soon full, and what a run on it says."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import hwprof


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of this size in memory is mounted on the folder."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk to fill takes the right to mount one: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def ends_for_want_of_room(runs: Path, *settings: str) -> None:
    """A run that would go on for long ends with exit code 1 and one line, which names the folder."""
    answer = hwprof("run", "--runs", runs, *(f"--set={setting}" for setting in (*settings, "steps=100000")))
    assert answer.returncode == 1
    assert "no space left in" in answer.stderr.splitlines()[-1].lower()
    assert "Traceback" not in answer.stderr
