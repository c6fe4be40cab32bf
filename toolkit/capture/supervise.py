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
import time
from pathlib import Path
from typing import Any

from toolkit.capture.files import write_whole
from toolkit.errors import FAILED, INTERRUPTED
from toolkit.spec import RunSpec, from_json

# The native profiler may be in the middle of writing its trace.
WORKER_GRACE_S = 15
SAMPLERS_GRACE_S = 25
# Looking costs microseconds, and a worker that has ended is noticed this late.
LOOK_EVERY_S = 0.05


def main(arguments: list[str]) -> int:
    """Runs the pass; the exit code is the outcome's."""
    spec_path, _, _, folder_name = arguments
    folder = Path(folder_name)
    spec = from_json(Path(spec_path).read_text())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_stop_when_launcher_is_gone, args=[stop], daemon=True).start()
    with (folder / "worker.log").open("wb") as log:
        outcome = _watch(spec, arguments, log, stop)
    # On a full disk the exit code has to do.
    with contextlib.suppress(OSError):
        write_whole(folder / "outcome.json", json.dumps(outcome))
    return int(outcome["exit_code"])


def _watch(spec: RunSpec, arguments: list[str], log: Any, stop: threading.Event) -> dict[str, Any]:
    _, pass_name, _, folder_name = arguments
    folder = Path(folder_name)
    kills = _out_of_memory_kills()
    samplers = _start_samplers(spec, pass_name, folder, log)
    worker = subprocess.Popen(
        [sys.executable, "-m", "toolkit.capture.worker", *arguments],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    _tell_pid(samplers, worker.pid)
    ended = _wait(worker, spec.timeout_s, stop)
    _end(worker)
    _end_samplers(samplers)
    return ended or _own_outcome(folder) or _death(worker.returncode, _out_of_memory_kills() - kills)


def _wait(worker: subprocess.Popen[bytes], timeout_s: float, stop: threading.Event) -> dict[str, Any] | None:
    """Until the worker ends by itself; else why it has to be ended."""
    latest = time.monotonic() + timeout_s
    while worker.poll() is None:
        if stop.wait(LOOK_EVERY_S):
            return {"status": "interrupted", "reason": "stopped on request", "exit_code": INTERRUPTED}
        if time.monotonic() > latest:
            return {"status": "timed_out", "reason": f"it ran past timeout_s={timeout_s}", "exit_code": FAILED}
    return None


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


def _stop_when_launcher_is_gone(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
