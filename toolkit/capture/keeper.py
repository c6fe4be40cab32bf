"""One container of a pass, kept from outside. `python -m toolkit.capture.keeper RAW/container.json`.

Starts the container, hands its own standard input's end on to the supervisor inside, and sees to it that the container
ends and is removed: on SIGTERM, when its launcher is gone, and past its time where the supervisor inside cannot see to
it. Then it gives the run folder back to the caller and writes outcome.json where the supervisor could not.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.capture.engines import last_line
from toolkit.capture.files import give, is_full, read_object, write_whole
from toolkit.capture.supervise import STOP, launcher_lets_go, outcome, overdue, signal_name, stopped

# Longer than the supervisor needs to end worker and samplers by itself.
STOP_WITHIN_S = 60
# The engine's own answers; one that hangs must not hang everything else.
ANSWER_WITHIN_S = 120
LOOK_EVERY_S = 0.1
SIGNALLED = 128


class Order(NamedTuple):
    """What is to run: `command` starts the container `name`, which has `grace_s` over its time limit to end by itself.

    `run_folder` belongs to user `lend_to` meanwhile, where that is not None.
    """

    engine: str
    program: str
    name: str
    command: list[str]
    run_folder: str
    lend_to: int | None
    timeout_s: int
    grace_s: int


class State(NamedTuple):
    """What the engine knows of a container that is gone; `error`: why it never started, in the engine's words."""

    id: str
    exit_code: int
    out_of_memory: bool
    error: str


def main(path: Path) -> int:
    """Runs the order at `path` to its end; the exit code is the outcome's."""
    order = Order(**json.loads(path.read_text(encoding="utf-8")))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    let_go = launcher_lets_go()
    try:
        ended = _keep(order, path, let_go)
    except OSError as error:
        # a file system that does not know owners, a program that went away: the pass says so, and nothing runs
        ended = outcome("failed", f"its keeper cannot work: {error}")
        remove(order.program, order.name)
    finally:
        with contextlib.suppress(OSError):
            take_back(Path(order.run_folder), order.lend_to)
    # On a full disk the exit code has to do.
    with contextlib.suppress(OSError):
        write_whole(path.with_name("outcome.json"), json.dumps(ended))
    return int(ended["exit_code"])


def _keep(order: Order, path: Path, let_go: threading.Event) -> dict[str, Any]:
    """Runs the container to its end, however that comes; what outcome.json is to say."""
    lend(Path(order.run_folder), order.lend_to)
    log = path.with_suffix(".log")
    with log.open("wb") as words:
        client = subprocess.Popen(order.command, stdin=subprocess.PIPE, stdout=words, stderr=words)
        ending = _watch(client, order, let_go)
        _end(client, order, ending)
    state = inspect(order.program, order.name)
    if state is None and (path.parent / "worker.log").exists():
        _end_without_engine(path.parent)
    remove(order.program, order.name)
    said = last_line(log.read_text(encoding="utf-8", errors="replace"))
    return _outcome(order, path.parent, state, ending, said)


def lend(folder: Path, uid: int | None) -> None:
    """Makes a folder the container's user's, where that is not the caller."""
    if uid is not None:
        give(folder, uid, uid)


def take_back(folder: Path, uid: int | None) -> None:
    """Makes what was lent, and what was made in it, the caller's."""
    if uid is not None:
        give(folder, os.getuid(), os.getgid())


def inspect(program: str, name: str) -> State | None:
    """The engine's own record of a container; None where it has none, or does not answer."""
    done = ask(program, "container", "inspect", name)
    if done is None or done.returncode:
        return None
    (found,) = json.loads(done.stdout)
    state = found["State"]
    return State(found["Id"], state["ExitCode"], state["OOMKilled"], state.get("Error", ""))


def remove(program: str, name: str) -> None:
    """Ends a container for good, whatever its state, and with it what it left in the engine's store."""
    ask(program, "rm", "--force", "--volumes", name)


def ask(program: str, *words: str) -> subprocess.CompletedProcess[str] | None:
    """The engine's answer; None where there is none in time."""
    try:
        return subprocess.run(
            [program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=ANSWER_WITHIN_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None


def death(engine: str, state: State | None, own: dict[str, Any] | None, said: str) -> dict[str, Any]:
    """How a container ended that nobody here ended; `own`: its supervisor's words, `said`: its client's last."""
    if own is not None and (own["status"] != "interrupted" or state is not None):
        return own
    if state is None:
        return outcome("failed", f"{engine} lost the container: {said or 'it gave no reason'}")
    if state.out_of_memory:
        return outcome("out_of_memory", "the kernel killed the container for memory")
    if state.error:
        return outcome("failed", f"{engine} could not start the container: {state.error}")
    if state.exit_code - SIGNALLED in signal.valid_signals():
        name = signal_name(state.exit_code - SIGNALLED)
        return outcome("killed", f"the container was killed by {name}")
    return outcome("failed", f"the container ended with code {state.exit_code}: {said or 'it said nothing'}")


def _watch(client: "subprocess.Popen[bytes]", order: Order, let_go: threading.Event) -> str | None:
    """Until the container ends by itself; else the status for which it has to be ended."""
    latest = time.monotonic() + order.timeout_s + order.grace_s
    while client.poll() is None:
        if let_go.wait(LOOK_EVERY_S):
            return "interrupted"
        if time.monotonic() > latest:
            return "timed_out"
    return None


def _end(client: "subprocess.Popen[bytes]", order: Order, ending: str | None) -> None:
    """Ends the container: by closing its standard input and by SIGTERM where it may still listen, then for good."""
    if client.stdin is not None:
        client.stdin.close()
    if ending == "interrupted":
        ask(order.program, "stop", "--time", str(STOP_WITHIN_S), order.name)
    elif ending == "timed_out":
        ask(order.program, "kill", order.name)
    try:
        client.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        remove(order.program, order.name)
        client.kill()
        client.wait()


def _end_without_engine(raw: Path) -> None:
    """Where the engine died: asks the supervisor by a file in the folder that both see, which it removes at its end."""
    # new, for a link of this name would be followed to wherever it leads
    with contextlib.suppress(FileExistsError):
        (raw / STOP).touch(exist_ok=False)
    latest = time.monotonic() + STOP_WITHIN_S
    while (raw / STOP).exists() and time.monotonic() < latest:
        time.sleep(LOOK_EVERY_S)


def _outcome(order: Order, raw: Path, state: State | None, ending: str | None, said: str) -> dict[str, Any]:
    own = read_object(raw / "outcome.json") or None
    if own is None and is_full(raw):
        return outcome("failed", f"no space left in {raw}")
    if ending == "interrupted":
        return own or stopped()
    if ending == "timed_out":
        return overdue(order.timeout_s)
    return death(order.engine, state, own, said)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
