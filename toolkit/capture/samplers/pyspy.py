"""py-spy beside the worker, on request: Python stacks of all its threads as a Chrome trace."""

import ctypes
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from time import monotonic_ns

from toolkit.capture import modules
from toolkit.capture.record import Records

PROGRAM = Path(sysconfig.get_path("scripts")) / "py-spy"
RATE_HZ = 100
STOP_WITHIN_S = 20
# Six samples: one that comes late is not missed.
MARKER_NS = 60_000_000
PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)


def hwprof_pyspy_marker() -> None:
    """Called by the worker inside a mark: the frame of this name is what places py-spy's trace on the run's clock.

    Its name is what ingest looks for. It is busy all the while, for py-spy leaves out threads that sleep.
    """
    end = monotonic_ns() + MARKER_NS
    while monotonic_ns() < end:
        pass


class PySpy:
    """`py-spy record` of one process; what it says when it fails is recorded as the reason."""

    def __init__(self, record: Records, pid: int, trace: Path) -> None:
        self._record = record
        self._pid = pid
        self._trace = trace
        self._log = trace.with_suffix(".log")
        options = ["--format", "chrometrace", "--rate", str(RATE_HZ), "--nonblocking", "--threads"]
        try:
            # A file, for a pipe that nobody reads would stop it when full.
            with self._log.open("wb") as log:
                self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                    [PROGRAM, "record", "--pid", str(pid), "--output", trace, *options],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                )  # fmt: skip
        except OSError as error:
            self._process = None
            record.unavailable("pyspy", None, "stacks", f"py-spy did not start: {error}")

    def finish(self) -> None:
        """Waits for py-spy, which ends with its process, or when told so while that lives on; records a failure."""
        if self._process is None:
            return
        if Path("/proc", str(self._pid)).exists():
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._trace.exists():
            reason = _reason(self._log.read_text(errors="replace"))
            self._record.unavailable("pyspy", None, "stacks", f"py-spy failed: {reason}")


def let_others_read() -> None:
    """Called by the worker, whose ancestor py-spy is not: in Yama's scope 1 only those may read it, or whom it names.

    prctl(2), PR_SET_PTRACER; a kernel without Yama refuses it, and needs it not.
    """
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY)


def refusal(timeout_s: float) -> str | None:
    """Why py-spy cannot read a process that lets it, as a worker does, tried on one; None where it can."""
    child = [sys.executable, *modules.words("toolkit.capture.samplers.pyspy")]
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is not None:
            process.stdout.readline()
        command = [str(PROGRAM), "dump", "--nonblocking", "--pid", str(process.pid)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return _reason(done.stderr) if done.returncode else None


def _reason(said: str) -> str:
    """py-spy's error and its cause, without the advice of sudo, which is for the caller, and its own code's stack.

    Error: Failed to get process executable name. Check that the process is running.
    Caused by:
        0: Permission denied (os error 13)
    Stack backtrace: …
    """
    lines = [line.strip() for line in said.partition("Stack backtrace:")[0].splitlines() if line.strip()]
    if not lines:
        return "it gave no reason"
    place = next((place for place, line in enumerate(lines) if line.startswith("Error:")), len(lines) - 1)
    error = lines[place].removeprefix("Error:").strip().partition(": Try running")[0]
    causes = lines[place + 2 :] if "Caused by:" in lines else []
    return f"{error} ({causes[-1].partition(': ')[2] or causes[-1]})" if causes else error


if __name__ == "__main__":
    # The process that `refusal` tries it on: says when it can be read, and waits for its standard input to close.
    let_others_read()
    sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stdin.read()
