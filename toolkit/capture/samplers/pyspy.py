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
        program = Path(sysconfig.get_path("scripts")) / "py-spy"
        options = ["--format", "chrometrace", "--rate", str(RATE_HZ), "--nonblocking", "--threads"]
        try:
            self._process: subprocess.Popen[str] | None = subprocess.Popen(
                [program, "record", "--pid", str(pid), "--output", trace, *options],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        except OSError as error:
            self._process = None
            record.unavailable("pyspy", None, "stacks", f"py-spy did not start: {error}")

    def finish(self) -> None:
        """Waits for py-spy, which ends with its process, and records a failure."""
        if self._process is None:
            return
        try:
            _, errors = self._process.communicate(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, errors = self._process.communicate()
        if not self._trace.exists():
            lines = errors.strip().splitlines() or ["it wrote nothing and gave no reason"]
            self._record.unavailable("pyspy", None, "stacks", f"py-spy failed: {lines[-1]}")
