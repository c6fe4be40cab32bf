"""Builds images twice from nothing and says what differs: `python -m containers.reproduce torch-cpu …`, or all.

Exit code 1 where a package's version or files differ. The standard library only.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from toolkit.capture import engines, images
from toolkit.errors import HwprofError
from toolkit.settings import known

# Names of differing packages or files that one line tells.
SHOWN = 10
# Runs in the environment that is looked at. A package's record lists its files by hash; scripts name the environment's
# folder in their first line, so they stand under files only.
LOOK = """
import hashlib, importlib.metadata, json, pathlib, sys

def sha256(data):
    return hashlib.sha256(data).hexdigest()

packages = {}
for found in importlib.metadata.distributions():
    lines = (found.read_text("RECORD") or "").splitlines()
    own = sorted(line for line in lines if ",sha256=" in line and not line.startswith(".."))
    packages[found.name.lower().replace("_", "-")] = [found.version, sha256("\\n".join(own).encode())]
files = {}
if sys.argv[1:]:
    root = pathlib.Path(sys.argv[1])
    files = {str(path.relative_to(root)): sha256(path.read_bytes()) for path in root.rglob("*") if path.is_file()}
print(json.dumps([packages, files]))
"""


class Inventory(NamedTuple):
    """What an environment holds: package -> version and hash of its record; file -> hash of its content."""

    packages: dict[str, tuple[str, str]]
    files: dict[str, str]


def inventory(python: Sequence[str | Path], folder: str = "") -> Inventory:
    """Asks the Python that `python` starts for its packages, and for every file below `folder` where one is given."""
    command = [*python, "-I", "-c", LOOK, *([folder] if folder else [])]
    packages, files = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return Inventory({name: (version, record) for name, (version, record) in packages.items()}, files)


def inside(engine: engines.Engine, image: images.Image) -> Inventory:
    """What an image holds."""
    run = [engine.program, "run", "--rm", "--network", "none", "--user", "0", image.id, "python"]
    return inventory(run, "/opt/hwprof")


def differing(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """The names whose value is another, or that only one of the two has."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def compare(engine: engines.Engine, recipe: images.Recipe) -> bool:
    """Builds the image twice without the engine's cache, says what differs, and whether all packages are the same."""
    first, second = (images.build(engine, recipe, say=_say, cache=False) for _ in range(2))
    one, other = inside(engine, first), inside(engine, second)
    packages = differing(dict(one.packages), dict(other.packages))
    files = differing(dict(one.files), dict(other.files))
    _say(f"{recipe}: {len(one.packages)} packages, {len(packages)} differ{_list(packages)}")
    _say(f"{recipe}: {len(one.files)} files, {len(files)} differ{_list(files)}")
    if first.id != second.id:
        subprocess.run([engine.program, "image", "rm", first.id], check=False, capture_output=True)
    return not packages


def _list(names: list[str]) -> str:
    return f": {', '.join(names[:SHOWN])}{' …' if len(names) > SHOWN else ''}" if names else ""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(names: list[str]) -> int:
    """Exit code of comparing two builds of each of the named images, or of all."""
    recipes = {str(recipe): recipe for recipe in images.recipes()}
    try:
        wanted = [recipes[known(name, recipes, "image")] for name in names] or list(recipes.values())
        engine = engines.find("auto")
        same = [compare(engine, recipe) for recipe in wanted]
    except HwprofError as error:
        sys.stderr.write(f"hwprof: {error}\n")
        return error.exit_code
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
