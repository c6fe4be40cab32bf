"""One pass, watched: samplers first, then the worker. `python -m toolkit.capture.supervise SPEC PASS DEVICE FOLDER`.

The same command line runs in a local environment and in a container. Standard input is the launcher's hand on it: when
that closes, or on SIGTERM, everything here ends. Whatever happens to the worker, outcome.json says it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from toolkit.capture.files import write_whole
from toolkit.errors import FAILED, INTERRUPTED
from toolkit.spec import RunSpec, from_json

# The native profiler may be in the middle of writing its trace.
WORKER_GRACE_S = 15
SAMPLERS_GRACE_S = 25


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Someone asked for the end."""


def main(arguments: list[str]) -> int:
    """Runs the pass; the exit code is the outcome's."""
    spec_path, pass_name, _, folder_name = arguments
    folder = Path(folder_name)
    spec = from_json(Path(spec_path).read_text())
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_when_launcher_is_gone, daemon=True).start()
    with (folder / "worker.log").open("wb") as log:
        outcome = _watch(spec, arguments, pass_name, folder, log)
    # On a full disk the exit code has to do.
    with contextlib.suppress(OSError):
        write_whole(folder / "outcome.json", json.dumps(outcome))
    return int(outcome["exit_code"])


def _watch(spec: RunSpec, arguments: list[str], pass_name: str, folder: Path, log: Any) -> dict[str, Any]:
    kills = _out_of_memory_kills()
    samplers = _start_samplers(spec, pass_name, folder, log)
    worker = subprocess.Popen(
        [sys.executable, "-m", "toolkit.capture.worker", *arguments],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    ended: dict[str, Any] | None = None
    try:
        _tell_pid(samplers, worker.pid)
        worker.wait(spec.timeout_s)
    except Stopped:
        ended = {"status": "interrupted", "reason": "stopped on request", "exit_code": INTERRUPTED}
    except subprocess.TimeoutExpired:
        reason = f"it ran past timeout_s={spec.timeout_s}"
        ended = {"status": "timed_out", "reason": reason, "exit_code": FAILED}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end(worker)
    _end_samplers(samplers)
    return ended or _own_outcome(folder) or _death(worker.returncode, _out_of_memory_kills() - kills)


def _start_samplers(spec: RunSpec, pass_name: str, folder: Path, log: Any) -> subprocess.Popen[str]:
    """The samplers' process, once it has taken its baseline. py-spy attaches in the profile pass only."""
    pyspy = "true" if spec.pyspy and pass_name == "profile" else "false"
    samplers = subprocess.Popen(
        [sys.executable, "-m", "toolkit.capture.sampling", folder, str(spec.sample_hz), pyspy],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
    )  # fmt: skip
    if samplers.stdout is not None:
        samplers.stdout.readline()
    return samplers


def _tell_pid(samplers: subprocess.Popen[str], pid: int) -> None:
    # Samplers that are gone already end no run; their missing record shows.
    with contextlib.suppress(BrokenPipeError):
        if samplers.stdin is not None:
            samplers.stdin.write(f"{pid}\n")
            samplers.stdin.flush()


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Ends the worker and everything it started: politely, then for good."""
    if worker.poll() is None:
        worker.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(WORKER_GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def _end_samplers(samplers: subprocess.Popen[str]) -> None:
    with contextlib.suppress(BrokenPipeError):
        if samplers.stdin is not None:
            samplers.stdin.close()
    try:
        samplers.wait(SAMPLERS_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(samplers.pid, signal.SIGKILL)
        samplers.wait()


def _own_outcome(folder: Path) -> dict[str, Any] | None:
    path = folder / "outcome.json"
    return json.loads(path.read_text()) if path.exists() else None


def _death(returncode: int, kills: int) -> dict[str, Any]:
    """What to say of a worker that could not say it itself."""
    if returncode >= 0:
        return {"status": "failed", "reason": f"the worker exited with code {returncode}", "exit_code": FAILED}
    name = signal.Signals(-returncode).name
    if name == "SIGKILL" and kills > 0:
        return {"status": "out_of_memory", "reason": "the kernel killed the worker for memory", "exit_code": FAILED}
    return {"status": "killed", "reason": f"the worker was killed by {name}", "exit_code": FAILED}


def _out_of_memory_kills() -> int:
    """Processes that the kernel has killed for memory since it started."""
    lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _stop_when_launcher_is_gone() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
