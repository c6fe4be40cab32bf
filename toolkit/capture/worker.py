"""The worker: one process, one framework, one pass. `python -m toolkit.capture.worker SPEC PASS DEVICE FOLDER`.

Writes into FOLDER: worker.jsonl (marks and scalars as they happen), facts.json, description.json, the native profiler's
trace/ and, last, outcome.json. Imports the standard library and, through `workloads`, one framework.
"""

import contextlib
import importlib
import json
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from toolkit.capture import description, environment, followers
from toolkit.capture.files import write_whole
from toolkit.capture.loop import Session
from toolkit.capture.memory_errors import line, out_of_memory
from toolkit.capture.record import Recorder
from toolkit.capture.samplers import pyspy
from toolkit.capture.workload import Replica
from toolkit.capture.workloads import MODULES
from toolkit.errors import FAILED, INTERRUPTED, HwprofError
from toolkit.spec import RunSpec, from_json


def main(arguments: list[str]) -> int:
    """Runs one pass and returns the exit code that outcome.json explains."""
    spec_path, *_, folder_name = arguments
    folder = Path(folder_name)
    spec = from_json(Path(spec_path).read_text())
    if spec.pyspy:
        pyspy.let_others_read()
    # A person's Ctrl-C arrives as SIGTERM from the launcher; either way the record is closed properly.
    signal.signal(signal.SIGTERM, _interrupt)
    with Recorder(folder / "worker.jsonl") as record:
        outcome = _outcome(spec, arguments, record)
    if record.failure is not None:
        reason = f"its record cannot be written: {record.failure.strerror}"
        outcome = {"status": "failed", "reason": reason, "exit_code": FAILED}
    # On a full disk the exit code has to do.
    with contextlib.suppress(OSError):
        write_whole(folder / "outcome.json", json.dumps(outcome))
    return int(outcome["exit_code"])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _outcome(spec: RunSpec, arguments: list[str], record: Recorder) -> dict[str, Any]:
    try:
        with followers.led(spec, arguments) as replica:
            _run(spec, arguments, record, () if replica is None else (replica,))
    except followers.FollowerError as error:
        return error.outcome
    except KeyboardInterrupt:
        return {"status": "interrupted", "reason": "stopped by a signal", "exit_code": INTERRUPTED}
    except HwprofError as error:
        return {"status": "failed", "reason": str(error), "exit_code": error.exit_code}
    except Exception as error:  # noqa: BLE001 - a framework may raise anything; the record must still say what
        traceback.print_exc()
        status = "out_of_memory" if out_of_memory(error) else "failed"
        return {"status": status, "reason": line(error), "exit_code": FAILED}
    return {"status": "complete", "reason": None, "exit_code": 0}


def _run(spec: RunSpec, arguments: list[str], record: Recorder, place: tuple[Replica, ...]) -> None:
    """`place`: that of this process among several, where there are several."""
    _, pass_name, device, folder_name = arguments
    folder = Path(folder_name)
    with record.mark("run", pass_name):
        with record.mark("stage", "setup"):
            workload = importlib.import_module(MODULES[spec.framework]).build(spec, device, *place)
            facts = workload.facts() | environment.facts()
            write_whole(folder / "facts.json", json.dumps(facts, indent=1))
            write_whole(folder / description.FILE, workload.describe())
            profiler = workload.profiler(folder / "trace") if pass_name == "profile" else None
        spied = spec.pyspy and pass_name == "profile"
        _mark_for_pyspy(record, spied=spied)
        Session(workload, spec, record, profiler).run()
        _mark_for_pyspy(record, spied=spied)


def _mark_for_pyspy(record: Recorder, *, spied: bool) -> None:
    """Before and after everything else, for py-spy may attach late."""
    if spied:
        with record.mark("sync", "pyspy"):
            pyspy.hwprof_pyspy_marker()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
