"""`make lock`: compiles each containers/locks/*.in into a .txt of exact pins and their hashes, for Python 3.11 to 3.13.

A pin stays until its .in (or a package it needs) moves it, and a hash once recorded stays as long as its pin: the
machine at hand may see fewer wheels than the index has. Hashes that only another index publishes are added from
published.toml. Addresses and paths never reach a lock.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

LOCKS = Path(__file__).parent / "locks"
SHARED = "worker.in"  # included by others, no lock of its own
ORDER = {"dev": 1, "fuzz": 2}
PIN = re.compile(r"^([a-z0-9-]+)==([^\s;\\]+)")
LOCAL_PIN = re.compile(r"^\S+==\S+\+\S+$", re.MULTILINE)

Hashes = dict[str, set[str]]


def recorded(lock: str) -> Hashes:
    """`name==version` to the sha256 hashes that a lock's text has for it."""
    hashes: Hashes = defaultdict(set)
    pin = ""
    for line in lock.splitlines():
        if found := PIN.match(line):
            pin = f"{found[1]}=={found[2]}"
        elif "--hash=sha256:" in line:
            hashes[pin].add(line.strip(" \\").removeprefix("--hash=sha256:"))
    return hashes


def published(name: str) -> Hashes:
    """What published.toml adds to lock `name`."""
    added = tomllib.loads((LOCKS / "published.toml").read_text(encoding="utf-8"))
    return {pin: set(hashes) for pin, hashes in added.get(name, {}).items()}


def merged(lock: str, *others: Hashes) -> str:
    """A lock's text with the hashes that `others` know for its pins added, sorted."""
    lines = []
    known = recorded(lock)
    for line in lock.splitlines():
        if found := PIN.match(line):
            pin = f"{found[1]}=={found[2]}"
            hashes = known[pin].union(*(other.get(pin, set()) for other in others))
            head = line.rstrip(" \\")
            lines.append(" \\\n".join([head, *(f"    --hash=sha256:{sha}" for sha in sorted(hashes))]))
    return "\n".join(lines) + "\n"


def local_wheels(source: Path, folder: Path) -> None:
    """Fetches the wheels of pins with a local version (torch==2.13.0+cpu) by pip, whose configuration uv does not read.

    They are the only ones that the resolver takes from there: any other would hide PyPI's wheels of the same package.
    """
    for pin in LOCAL_PIN.findall(source.read_text(encoding="utf-8")):
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), pin])


def compile_lock(source: Path) -> None:
    """Writes the lock of one .in; pins and hashes are those of the lock that is there, where they still fit."""
    target = source.with_suffix(".txt")
    before = target.read_text(encoding="utf-8") if target.exists() else ""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder, target.name)
        fresh.write_text(before, encoding="utf-8")
        local_wheels(source, Path(folder))
        options = ["--find-links", folder, "--output-file", str(fresh), "--quiet", "--no-header", "--no-annotate"]
        reach = ["--universal", "--python-version", "3.11", "--generate-hashes"]
        _run([sys.executable, "-m", "uv", "pip", "compile", str(source), *options, *reach])
        text = merged(fresh.read_text(encoding="utf-8"), recorded(before), published(source.stem))
    size = [line for line in source.read_text(encoding="utf-8").splitlines() if line.startswith("# size:")]
    after = "\n".join([*size, text])
    target.write_text(after, encoding="utf-8")
    sys.stderr.write(f"{target.name}: {'unchanged' if after == before else 'changed'}\n")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    # Toolkit before dev, and dev before fuzz, which are held to the pins of the one before.
    for path in sorted(LOCKS.glob("*.in"), key=lambda path: (ORDER.get(path.stem, 0), path.name)):
        if path.name != SHARED:
            compile_lock(path)
