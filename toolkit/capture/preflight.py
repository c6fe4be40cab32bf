"""One short container before a run's own: whether the engine really runs it, and what it is like from inside.

Engines take some options without a word and do nothing about them, and an engine of another machine mounts folders of
that machine.
"""

import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.capture import containers, modules
from toolkit.capture.containers import RUN_FOLDER, Container
from toolkit.capture.files import read_object
from toolkit.capture.runs import unwritable
from toolkit.errors import FAILED, HwprofError

# An image that was never run here has to be read from disk first.
WITHIN_S = 180


def check(container: Container, runs: Path) -> dict[str, Any]:
    """What such a container is like from inside, as `toolkit.capture.inside` tells; HwprofError where it cannot run.

    Its folder lies in `runs`, so that what keeps the engine from that place shows here and not in the run.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=runs) as place:
            found = _found(container, Path(place).absolute())
    except OSError as error:
        raise unwritable(runs, error.strerror) from error
    _check_seen(container, found)
    return found


def _found(container: Container, folder: Path) -> dict[str, Any]:
    _look(container, folder)
    found = read_object(folder / "inside.json")
    if not found:
        reason = read_object(folder / "outcome.json").get("reason", "its keeper said nothing")
        problem = f"{container.engine} cannot run the image {container.image.reference}: {reason}."
        raise HwprofError(problem, remedy=_remedy(reason), exit_code=FAILED)
    return found


def _look(container: Container, folder: Path) -> None:
    """One container that looks around and writes what it sees; its keeper writes how it ended."""
    inside = [*modules.words("toolkit.capture.inside"), str(RUN_FOLDER / "inside.json")]
    words = containers.keep(
        container._replace(timeout_s=WITHIN_S),
        name=f"hwprof-probe-{secrets.token_hex(4)}",
        folder=folder,
        inside=[*inside, *map(str, container.read_only)],
        place=folder,
    )
    # In a session of its own, for a Ctrl-C is ours to pass on: we close the keeper's input and wait for it.
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as keeper:
        try:
            keeper.wait()
        except KeyboardInterrupt:
            # By itself Popen waits for a quarter of a second, and would leave the keeper without its folder.
            keeper.communicate()
            raise


def _check_seen(container: Container, found: Mapping[str, Any]) -> None:
    missing = [gpu.name for gpu in container.gpus if gpu.uuid not in found["gpus"]]
    if missing:
        problem = f"{container.engine} was given {', '.join(missing)}, and its container does not see it."
        remedy = "Check NVIDIA's container toolkit, or use device=cpu."
        raise HwprofError(problem, remedy=remedy, exit_code=FAILED)
    if found["unreadable"]:
        unreadable = Path(found["unreadable"][0])
        place = next(place for place in container.read_only if unreadable.is_relative_to(place))
        problem = (
            f"User {found['uid']} of the container cannot read {unreadable.relative_to(place)} of"
            f" {container.read_only[place]}."
        )
        raise HwprofError(problem, remedy="Let others read the folder: chmod -R o+rX.", exit_code=FAILED)


def _remedy(said: str) -> str:
    if "could not select device driver" in said:
        return "Install NVIDIA's container toolkit, or use device=cpu."
    return "Use runtime=local, or see what the engine says of it: `hwprof doctor`."
