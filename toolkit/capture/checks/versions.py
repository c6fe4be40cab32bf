"""The environments and images that runs use: which are there, of which lock, and room for those that are not."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from toolkit.capture import images, launch, venvs
from toolkit.capture.checks.host import size
from toolkit.capture.checks.machine import PATIENCE_S, Finding, Machine, ok, problem, warning
from toolkit.capture.engines import Engine, last_line
from toolkit.capture.images import Recipe

SIZE = re.compile(r"([\d.]+) (MB|GB)( on disk)?")
UNITS = {"MB": 10**6, "GB": 10**9}
# What wheels take unpacked, of what they take to download, measured on the CPU locks; a lock that knows better says it.
UNPACKED = 5
ABSENT = "not there yet"


def environments(machine: Machine) -> Iterator[Finding]:
    """Each environment that is there, and those that local runs here would make."""
    for recipe in images.recipes(machine.root):
        folder = machine.root / ".venv" / str(recipe)
        name, state = f"env {recipe}", venvs.state(folder, [recipe.lock])
        if state == venvs.CURRENT:
            yield ok(name, "there, of the lock as it is")
        elif state == venvs.STALE or recipe.variant == _variant(machine):
            says = "of another lock or Python" if state == venvs.STALE else ABSENT
            # without an engine, local environments are what `make profile` takes
            yield _wanting(name, says, recipe, folder.parent, needed=not machine.engines)


def images_there(machine: Machine) -> Iterator[Finding]:
    """Each image that an engine holds, and those that runs here would build with the first."""
    for number, engine in enumerate(machine.engines):
        held = _held(engine)
        if isinstance(held, str):
            # Unknown is not absent.
            remedy = "Runs ask it again, and wait for longer: see what the engine itself says, or use runtime=local."
            yield warning(f"{engine.name} images", f"cannot be listed: {held}", remedy)
            continue
        for recipe in images.recipes(machine.root):
            name, current = f"{engine.name} {recipe}", images.name(recipe)
            lock = current.rpartition("-")[0]
            if current in held:
                yield ok(name, "there, of lock and sources as they are")
            elif any(reference.startswith(lock) for reference in held):
                yield ok(name, "of the lock as it is and older sources; the next run renews its last layer")
            elif any(reference.startswith(f"{recipe.repository}:") for reference in held):
                yield _wanting(name, "of another lock", recipe, _data(engine), needed=number == 0)
            elif number == 0 and recipe.variant == _variant(machine):
                yield _wanting(name, ABSENT, recipe, _data(engine), needed=True)


def _wanting(name: str, says: str, recipe: Recipe, place: Path | None, *, needed: bool) -> Finding:
    """What is not there is made by the first run that needs it, if there is room."""
    free, room = _free(place), _unpacked_bytes(recipe.lock)
    if room is None or free is None or free >= room:
        return ok(name, f"{says}; the first run that needs it makes it{venvs.size(recipe.lock)}")
    found = f"{says}, takes {size(room)}, and {place} has {size(free)} free"
    return (problem if needed else warning)(name, found, "Free some space there.")


def _unpacked_bytes(lock: Path) -> int | None:
    """What an installation of the lock takes on disk; None where the lock does not say."""
    stated = SIZE.findall(venvs.size(lock))
    if not stated:
        return None
    number, unit, unpacked = stated[-1]
    return int(float(number) * UNITS[unit] * (1 if unpacked else UNPACKED))


def _free(place: Path | None) -> int | None:
    try:
        return shutil.disk_usage(place).free if place else None
    except OSError:
        return None


def _held(engine: Engine) -> list[str] | str:
    """The references of the images that the engine holds, or in one line why it does not tell."""
    command = [engine.program, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE_S:.0f} s"
    if done.returncode:
        return last_line(done.stderr) or f"{engine.program} image ls ended with code {done.returncode}"
    # podman shows what was built here as localhost/NAME
    return [line.removeprefix("localhost/") for line in done.stdout.splitlines()]


def _data(engine: Engine) -> Path | None:
    """Where the engine keeps its images, if that is on this machine."""
    here = engine.name != "docker" or os.environ.get("DOCKER_HOST", "unix://").startswith("unix://")
    return Path(engine.data) if here and engine.data else None


def _variant(machine: Machine) -> str:
    return launch.CUDA if machine.visible.gpus else launch.CPU
