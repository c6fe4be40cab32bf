"""Finds the container engine that runs images: docker or podman, or says in each one's own words why not.

An engine is asked by its command line, so that DOCKER_HOST, contexts and containers.conf mean
what they mean there.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from typing import Any, NamedTuple

from toolkit.errors import HwprofError

NAMES = ("docker", "podman")
CONTROLLERS = {"MemoryLimit": "memory", "CPUSet": "cpuset", "PidsLimit": "pids"}
# An engine that is busy answers late; one that hangs is no working engine.
ANSWER_WITHIN_S = 30
LOGGED = re.compile(r'^time=\S+ level=\w+ msg="(.*)"$')
DENIED = "permission denied"
NOT_INSTALLED = "not installed"


class Engine(NamedTuple):
    """An engine that answered: its name (docker, podman), the program that asks it, its version, and what it can do.

    `rootless`: run by a user, whom its containers' root is; `remapped`: its containers' root is no user of the host;
    `controllers`: what it can limit, of memory, cpuset and pids; `cdi`: takes devices by Container Device Interface;
    `data`: the folder in which it keeps its images, on its own machine, empty where it does not say.
    """

    name: str
    program: str
    version: str
    rootless: bool = False
    remapped: bool = False
    selinux: bool = False
    cdi: bool = False
    cgroup_version: int = 2
    controllers: frozenset[str] = frozenset(CONTROLLERS.values())
    data: str = ""

    def __str__(self) -> str:
        return f"{'rootless ' if self.rootless else ''}{self.name} {self.version}"


class NoEngineError(HwprofError):
    """None of the engines asked for works; `reasons` says of each why not, in one line."""

    def __init__(self, reasons: dict[str, str]) -> None:
        problem = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"{problem}.", remedy=remedy(reasons))
        self.reasons = reasons


def find(asked: str) -> Engine:
    """The engine of that name, or for `auto` the first of docker and podman that works; else raises NoEngineError."""
    reasons: dict[str, str] = {}
    for name in NAMES if asked == "auto" else (asked,):
        found = ask(name)
        if isinstance(found, Engine):
            return found
        reasons[name] = found
    raise NoEngineError(reasons)


def ask(name: str, *, within_s: float = ANSWER_WITHIN_S) -> Engine | str:
    """The engine of that name, or in one line why it does not work."""
    program = shutil.which(name)
    if program is None:
        return NOT_INSTALLED
    try:
        done = subprocess.run(
            [program, "info", "--format", "{{json .}}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=within_s,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{program} does not answer within {within_s:.0f} s"
    except OSError as error:
        return f"{program} does not start: {error.strerror}"
    try:
        info = json.loads(done.stdout)
        found = _podman(program, info) if name == "podman" else _docker(program, info)
    except (ValueError, KeyError, TypeError, AttributeError):
        found = None
    return found or _reason(done) or f"{program} info gave no answer that can be read"


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """In the client's own words; some docker clients say it in their answer alone."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        return last_line(done.stderr) or last_line("\n".join(json.loads(done.stdout)["ServerErrors"]))
    return ""


def last_line(words: str) -> str:
    """What a program said last: of several lines that is the error."""
    lines = [" ".join(line.split()) for line in words.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    logged = LOGGED.search(last)
    return (logged[1] if logged else last).rstrip(".")


def _docker(program: str, info: dict[str, Any]) -> Engine | None:
    """None where the client alone answered, whose exit code may be 0 all the same."""
    if not info["ServerVersion"]:
        return None
    options = {part for option in info["SecurityOptions"] or [] for part in option.split(",")}
    return Engine(
        name="docker",
        program=program,
        version=info["ServerVersion"],
        rootless="name=rootless" in options,
        remapped="name=userns" in options,
        selinux="name=selinux" in options,
        cdi=bool(info.get("CDISpecDirs")),
        cgroup_version=int(info.get("CgroupVersion") or 1),
        controllers=frozenset(controller for key, controller in CONTROLLERS.items() if info.get(key)),
        data=info.get("DockerRootDir", ""),
    )


def _podman(program: str, info: dict[str, Any]) -> Engine:
    host = info["host"]
    return Engine(
        name="podman",
        program=program,
        version=info["version"]["Version"],
        rootless=host["security"]["rootless"],
        selinux=host["security"]["selinuxEnabled"],
        cdi=True,
        cgroup_version=int(host["cgroupVersion"].removeprefix("v")),
        controllers=frozenset(CONTROLLERS.values()) & frozenset(host["cgroupControllers"] or []),
        data=info.get("store", {}).get("graphRoot", ""),
    )


def remedy(reasons: dict[str, str]) -> str:
    """What to do where these engines do not work."""
    if any(DENIED in reason.lower() for reason in reasons.values()):
        return f"Let {_user()} use the engine (for docker: add the user to the group docker), or use runtime=local."
    if all(reason == NOT_INSTALLED for reason in reasons.values()):
        return f"Install {' or '.join(reasons)}, or use runtime=local."
    return "Start the engine, check DOCKER_HOST, or use runtime=local."


def _user() -> str:
    return f"user {os.getuid()}"
