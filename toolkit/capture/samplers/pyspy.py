"""py-spy beside the worker, on request: Python stacks of all its threads as a Chrome trace."""

import subprocess
import sysconfig
from pathlib import Path

from toolkit.capture.record import Recorder

RATE_HZ = 100
STOP_WITHIN_S = 20


class PySpy:
    """`py-spy record` of one process; what it says when it fails is recorded as the reason."""

    def __init__(self, record: Recorder, pid: int, trace: Path) -> None:
        self._record = record
        self._trace = trace
        self._log = trace.with_suffix(".log")
        program = Path(sysconfig.get_path("scripts")) / "py-spy"
        options = ["--format", "chrometrace", "--rate", str(RATE_HZ), "--nonblocking", "--threads"]
        try:
            # A file, for a pipe that nobody reads would stop it when full.
            with self._log.open("wb") as log:
                self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                    [program, "record", "--pid", str(pid), "--output", trace, *options],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                )  # fmt: skip
        except OSError as error:
            self._process = None
            record.unavailable("pyspy", None, "stacks", f"py-spy did not start: {error}")

    def finish(self) -> None:
        """Waits for py-spy, which ends with its process, and records a failure."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._trace.exists():
            lines = self._log.read_text(errors="replace").strip().splitlines() or [
                "it wrote nothing and gave no reason"
            ]
            self._record.unavailable("pyspy", None, "stacks", f"py-spy failed: {lines[-1]}")
