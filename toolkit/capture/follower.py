"""A replica beside the worker, a process of its own: trains as rank 0 does, and records nothing but its native trace.

`python -m toolkit.capture.follower SPEC PASS DEVICE FOLDER RENDEZVOUS LEADER RANK`, LEADER being rank 0's process.
Standard input says when a part of the work begins, standard output takes its sums; what frameworks print goes to the
log.
"""

import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from toolkit.capture.files import write_whole
from toolkit.capture.followers import words
from toolkit.capture.memory_errors import line, out_of_memory
from toolkit.capture.workload import NativeProfiler, Replica, Workload
from toolkit.capture.workloads import MODULES
from toolkit.errors import FAILED, INTERRUPTED, HwprofError
from toolkit.spec import RunSpec, from_json

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Runs to rank 0's end; the exit code."""
    spec_path, pass_name, device, folder, rendezvous, leader, rank = arguments
    _end_with(int(leader))
    signal.signal(signal.SIGTERM, _interrupt)
    answers = _own_output()

    def total(own: Sequence[float]) -> list[float]:
        answers.write(f"{json.dumps(list(own))}\n")
        answers.flush()
        return list(own)

    try:
        spec = from_json(Path(spec_path).read_text())
        replica = Replica(int(rank), Path(rendezvous), _wait, total)
        workload = import_module(MODULES[spec.framework]).build(spec, device, replica)
        profiler = workload.profiler(Path(folder) / "trace") if pass_name == "profile" else None
        _train(workload, spec, profiler)
        # Until rank 0 lets it go: it may not be done with the group.
        sys.stdin.read()
    except (KeyboardInterrupt, _LeaderIsGoneError):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a framework may raise anything; rank 0 tells it in these words
        traceback.print_exc()
        write_whole(words(Path(folder), int(rank)), json.dumps(_outcome(error)))
        return FAILED
    return 0


class _LeaderIsGoneError(Exception):
    """Its pipe is closed."""


def _end_with(leader: int) -> None:
    """Has the kernel kill this process as soon as rank 0 is gone, whatever ended that; prctl(2)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != leader:
        sys.exit(INTERRUPTED)


def _own_output() -> TextIO:
    """Standard output for the sums alone; whatever else is printed there joins the log."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "w")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait() -> None:
    """Until rank 0 begins."""
    if not sys.stdin.readline():
        raise _LeaderIsGoneError


def _train(workload: Workload, spec: RunSpec, profiler: NativeProfiler | None) -> None:
    """Every step that rank 0 takes, and none of the rest; the trace is written even where one raises."""
    workload.warm_up(spec.warmup_steps)
    recording = profiler
    if recording is not None:
        recording.start()
    try:
        for epoch in range(1, spec.epochs + 1):
            for batch in workload.train_batches(epoch):
                if recording is not None:
                    recording.begin_step("train")
                workload.train_step(workload.to_device(batch))
                if recording is not None and not recording.end_step():
                    workload.sync()
                    recording.stop()
                    recording = None
            workload.sync()
            workload.train_loss()
    finally:
        if recording is not None:
            recording.stop()


def _outcome(error: Exception) -> dict[str, Any]:
    if isinstance(error, HwprofError):
        return {"status": "failed", "reason": str(error), "exit_code": error.exit_code}
    return {
        "status": "out_of_memory" if out_of_memory(error) else "failed",
        "reason": line(error),
        "exit_code": FAILED,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
