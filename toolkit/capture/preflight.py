"""One short container before a run's own: whether the engine really runs it, and what it is like from inside.

Engines take some options without a word and do nothing about them, and an engine of another machine mounts folders of
that machine.
"""

import json
import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.capture import containers, keeper
from toolkit.capture.containers import DATA_FOLDER, RUN_FOLDER, Container
from toolkit.capture.engines import last_line
from toolkit.errors import FAILED, HwprofError

# An image that was never run here has to be read from disk first.
WITHIN_S = 180


def check(container: Container, runs: Path) -> dict[str, Any]:
    """What such a container is like from inside, as `toolkit.capture.inside` tells; HwprofError where it cannot run.

    Its folder lies in `runs`, so that what keeps the engine from that place shows here and not in the run.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=runs) as place:
        folder = Path(place).absolute()
        said = _probe(container, folder)
        try:
            found: dict[str, Any] = json.loads((folder / "inside.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            problem = f"{container.engine} cannot run the image {container.image.reference}: {said}."
            raise HwprofError(problem, remedy=_remedy(said), exit_code=FAILED) from error
    _check_seen(container, found)
    return found


def _probe(container: Container, folder: Path) -> str:
    """Runs it to its end; how it ended, for where it left nothing."""
    engine, name = container.engine, f"hwprof-probe-{secrets.token_hex(4)}"
    inside = ["-m", "toolkit.capture.inside", str(RUN_FOLDER / "inside.json"), str(DATA_FOLDER)]
    words = containers.command(container, name=name, folder=folder, inside=inside)
    keeper.lend(folder, container.lend_to)
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=WITHIN_S,
            check=False,
        )  # fmt: skip
        state = keeper.inspect(engine.program, name)
        return str(keeper.death(str(engine), state, None, last_line(done.stderr))["reason"])
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error).removesuffix(".")
    finally:
        keeper.remove(engine.program, name)
        keeper.take_back(folder, container.lend_to)


def _check_seen(container: Container, found: Mapping[str, Any]) -> None:
    missing = [gpu.name for gpu in container.gpus if gpu.uuid not in found["gpus"]]
    if missing:
        problem = f"{container.engine} was given {', '.join(missing)}, and its container does not see it."
        remedy = "Check NVIDIA's container toolkit, or use device=cpu."
        raise HwprofError(problem, remedy=remedy, exit_code=FAILED)
    if found["unreadable"]:
        problem = f"User {found['uid']} of the container cannot read {found['unreadable'][0]} of {container.data_dir}."
        raise HwprofError(problem, remedy="Let others read the folder: chmod -R o+rX.", exit_code=FAILED)


def _remedy(said: str) -> str:
    if "could not select device driver" in said:
        return "Install NVIDIA's container toolkit, or use device=cpu."
    return "Use runtime=local, or see what the engine says of it: `hwprof doctor`."
