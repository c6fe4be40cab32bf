"""Replicas that are processes: rank 0, which is the worker, starts the others, and they end with it.

Lines go between them through pipes: rank 0 tells each of its followers that a part of the work begins, which they wait
for without computing, and each answers with numbers of its own. A follower that ends before rank 0 lets it go ends the
pass with its own words, which it writes to FOLDER/rank<n>.json; one whose rank 0 is gone is killed by the kernel.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from toolkit.capture import modules
from toolkit.capture.files import write_whole
from toolkit.capture.supervise import signal_name
from toolkit.capture.workload import Replica
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import DDP, RunSpec

BEGIN = "begin"
# Where a follower's end shows first as an error of rank 0's own: its connection closes a moment before it is gone.
NOTICED_WITHIN_S = 5.0
# Rank 0 may be waiting, deaf to signals, for what never comes.
GRACE_S = 10.0
END_WITHIN_S = 5.0


class FollowerError(Exception):
    """A follower ended by itself; `outcome` is what outcome.json is to hold."""

    def __init__(self, outcome: dict[str, Any]) -> None:
        super().__init__(outcome["reason"])
        self.outcome = outcome


def needed(spec: RunSpec) -> int:
    """How many there are beside rank 0."""
    return spec.replicas - 1 if spec.parallel == DDP else 0


@contextlib.contextmanager
def led(spec: RunSpec, arguments: Sequence[str]) -> Iterator[Replica | None]:
    """Rank 0's replica, its followers running inside; None where there are none. `arguments` are the worker's."""
    if not needed(spec):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="hwprof-ranks-") as place, _Followers(spec, arguments, place) as followers:
        yield Replica(0, Path(place) / "store", followers.begin, followers.total)


def words(folder: Path, rank: int) -> Path:
    """Where a follower says how it failed."""
    return folder / f"rank{rank}.json"


class _Followers:
    """The processes, each watched by a thread that interrupts this process where one ends too early."""

    def __init__(self, spec: RunSpec, arguments: Sequence[str], place: str) -> None:
        self._folder = Path(arguments[-1])
        self._released = False
        self._failed = threading.Event()
        self._failure: dict[str, Any] = {}
        started = [sys.executable, *modules.words("toolkit.capture.follower")]
        command = [*started, *arguments, f"{place}/store", str(os.getpid())]
        # In the worker's own session, which its supervisor ends as a whole.
        self._processes = [
            subprocess.Popen([*command, str(rank)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for rank in range(1, needed(spec) + 1)
        ]
        for rank, process in enumerate(self._processes, 1):
            threading.Thread(target=self._watch, args=[rank, process], daemon=True).start()

    def begin(self) -> None:
        """Tells all of them to go on."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.write(f"{BEGIN}\n")
                process.stdin.flush()

    def total(self, own: Sequence[float]) -> list[float]:
        """The sums of `own` and of what each of them answers."""
        answers = [process.stdout.readline() for process in self._processes if process.stdout is not None]
        return [sum(numbers) for numbers in zip(own, *(json.loads(answer) for answer in answers), strict=True)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # First of all: a watcher that sees a follower's end now interrupts, and would take the place of what it found.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # What rank 0 says of its own input is the reason, though a follower, with the same, may have said so first.
        own = isinstance(error, HwprofError)
        if kind is not None and not own:
            self._failed.wait(NOTICED_WITHIN_S if kind is not KeyboardInterrupt else 0)
        # From here on nobody's end is a failure.
        self._released = True
        self._end(politely=kind is None)
        if self._failed.is_set() and not own:
            raise FollowerError(self._failure) from error

    def _end(self, *, politely: bool) -> None:
        """Closes their input, which lets them go; after a failure with a signal, and at last for good."""
        for process in self._processes:
            with contextlib.suppress(BrokenPipeError):
                if process.stdin is not None:
                    process.stdin.close()
            if not politely:
                process.terminate()
        latest = time.monotonic() + END_WITHIN_S
        for process in self._processes:
            try:
                process.wait(max(latest - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _watch(self, rank: int, process: "subprocess.Popen[str]") -> None:
        returncode = process.wait()
        if self._released or self._failed.is_set():
            return
        self._failure = failure(rank, returncode, words(self._folder, rank))
        self._failed.set()
        os.kill(os.getpid(), signal.SIGTERM)
        if not self._heard():
            with contextlib.suppress(OSError):
                write_whole(self._folder / "outcome.json", json.dumps(self._failure))
            os._exit(FAILED)

    def _heard(self) -> bool:
        """Whether rank 0 came to its end within the grace."""
        waited = threading.Event()
        for _ in range(int(GRACE_S * 10)):
            if self._released:
                return True
            waited.wait(0.1)
        return self._released


def failure(rank: int, returncode: int, said: Path) -> dict[str, Any]:
    """How a follower ended, in its own words where it left any."""
    with contextlib.suppress(OSError, ValueError):
        told: dict[str, Any] = json.loads(said.read_text(encoding="utf-8"))
        return told | {"reason": f"rank {rank}: {told['reason']}"}
    if returncode < 0:
        reason = f"rank {rank} was killed by {signal_name(-returncode)}"
        return {"status": "killed", "reason": reason, "exit_code": FAILED}
    return {"status": "failed", "reason": f"rank {rank} exited with code {returncode}", "exit_code": FAILED}
