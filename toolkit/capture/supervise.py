"""One pass, watched: samplers first, then the worker. `python -m toolkit.capture.supervise SPEC PASS DEVICE FOLDER`.

The same command line runs in a local environment and in a container, where this is the first process: it takes signals,
and reaps what others leave, without an init of the engine's. Standard input is the launcher's hand on it: when that
closes, or on SIGTERM, everything here ends. Whatever happens to the worker, outcome.json says it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.capture import beside, modules
from toolkit.capture.beside import Sampled, Samplers
from toolkit.capture.cgroups import Group
from toolkit.capture.files import write_whole
from toolkit.errors import FAILED, INTERRUPTED
from toolkit.spec import RunSpec, from_json

# The native profiler may be in the middle of writing its trace.
WORKER_GRACE_S = 15
# From outside, past its time limit: what it takes to end both, and then some.
OVERDUE_S = 60
FIRST_PROCESS = 1
# A file of this name in FOLDER means SIGTERM: an engine that died leaves containers running that nothing else can end.
# It goes with the supervisor.
STOP = "stop"
# Looking costs microseconds, and a worker that has ended is noticed this late.
LOOK_EVERY_S = 0.05


def main(arguments: list[str]) -> int:
    """Runs the pass; the exit code is the outcome's."""
    spec_path, _, _, folder_name = arguments
    folder = Path(folder_name)
    spec = from_json(Path(spec_path).read_text())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = launcher_lets_go()
    with (folder / "worker.log").open("wb") as log:
        ended = _watch(spec, arguments, log, stop)
    # On a full disk the exit code has to do.
    with contextlib.suppress(OSError):
        write_whole(folder / "outcome.json", json.dumps(ended))
    (folder / STOP).unlink(missing_ok=True)
    return int(ended["exit_code"])


def launcher_lets_go() -> threading.Event:
    """Set once whoever started this process wants it to end (SIGTERM), or is gone: then standard input closes."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_set_at_end_of_input, args=[stop], daemon=True).start()
    return stop


def outcome(status: str, reason: str, exit_code: int = FAILED) -> dict[str, Any]:
    """What outcome.json holds."""
    return {"status": status, "reason": reason, "exit_code": exit_code}


def stopped() -> dict[str, Any]:
    """The outcome of a pass that was asked to end."""
    return outcome("interrupted", "stopped on request", INTERRUPTED)


def overdue(timeout_s: int) -> dict[str, Any]:
    """The outcome of a pass whose supervisor did not end it in time either."""
    return outcome("timed_out", f"it ran past timeout_s={timeout_s} and did not end by itself")


def signal_name(number: int) -> str:
    """SIGKILL and the like; most real-time signals have a number only."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _watch(spec: RunSpec, arguments: list[str], log: Any, stop: threading.Event) -> dict[str, Any]:
    folder = Path(arguments[-1])
    group = Group()
    kills = group.out_of_memory_kills()
    samplers = beside.start(folder, _sampled(spec, arguments), log)
    worker = subprocess.Popen(
        [sys.executable, *modules.words("toolkit.capture.worker"), *arguments],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    beside.tell(samplers, worker.pid)
    ended = _wait(worker, samplers, spec.timeout_s, lambda: stop.wait(LOOK_EVERY_S) or (folder / STOP).exists())
    _end(worker)
    beside.end(samplers)
    later = group.out_of_memory_kills()
    killed_for_memory = None if kills is None or later is None else later > kills
    return ended or _own_outcome(folder) or _death(worker.returncode, killed_for_memory=killed_for_memory)


def _wait(
    worker: subprocess.Popen[bytes], samplers: Samplers, timeout_s: float, stops: Callable[[], bool]
) -> dict[str, Any] | None:
    """Until the worker ends by itself; else why it has to be ended."""
    latest = time.monotonic() + timeout_s
    while worker.poll() is None:
        if stops():
            return stopped()
        if time.monotonic() > latest:
            return outcome("timed_out", f"it ran past timeout_s={timeout_s}")
        if os.getpid() == FIRST_PROCESS:
            _reap({worker.pid, *(sampler.pid for sampler in samplers if sampler.poll() is None)})
    return None


def _reap(ours: set[int]) -> None:
    """Takes leave of orphans that ended: they become the first process's children, and stay as zombies without it."""
    while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if ended.si_pid in ours:
            return
        os.waitpid(ended.si_pid, 0)


def _sampled(spec: RunSpec, arguments: list[str]) -> Sampled:
    """py-spy attaches in the profile pass only."""
    _, pass_name, device, _ = arguments
    return Sampled(spec.samplers, spec.sample_hz, device, pyspy=spec.pyspy and pass_name == "profile")


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Ends the worker and everything it started: politely, then for good."""
    if worker.poll() is None:
        worker.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(WORKER_GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def _own_outcome(folder: Path) -> dict[str, Any] | None:
    path = folder / "outcome.json"
    return json.loads(path.read_text()) if path.exists() else None


def _death(returncode: int, *, killed_for_memory: bool | None) -> dict[str, Any]:
    """What to say of a worker that could not say it itself; None: whether it was for memory cannot be known here."""
    if returncode >= 0:
        return outcome("failed", f"the worker exited with code {returncode}")
    name = signal_name(-returncode)
    if name == "SIGKILL" and killed_for_memory:
        return outcome("out_of_memory", "the kernel killed the worker for memory")
    unknown = ", whether for memory is not known here" if name == "SIGKILL" and killed_for_memory is None else ""
    return outcome("killed", f"the worker was killed by {name}{unknown}")


def _set_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
