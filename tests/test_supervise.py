"""What a supervisor and a keeper say of ends that nobody told them of, and how they are asked to end."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.commands import REPO
from toolkit.capture import containers, keeper, preflight, supervise
from toolkit.capture.containers import Container
from toolkit.capture.engines import Engine
from toolkit.capture.images import Image
from toolkit.capture.keeper import Order, State, death
from toolkit.errors import HwprofError
from toolkit.spec import RunSpec

# A process that adopts orphans, as the first one of a container does, and leaves none of them as a zombie.
ADOPT = """
import ctypes, os, subprocess, sys, time
from toolkit.capture.supervise import _reap
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
ours = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
orphan = "import os\\npid = os.fork()\\nprint(pid) if pid else os._exit(0)"
told = int(subprocess.run([sys.executable, "-c", orphan], stdout=subprocess.PIPE, check=True).stdout)
while os.path.exists(f"/proc/{told}"):
    _reap({ours.pid})
    time.sleep(0.01)
ours.stdin.close()
os.waitid(os.P_PID, ours.pid, os.WEXITED | os.WNOWAIT)
_reap({ours.pid})
print(ours.wait())
"""
# An engine whose container interrupts whoever started its keeper, and ends when its standard input does.
INTERRUPTING = """#!/bin/sh
[ "$1" = run ] || exit 1
kill -INT "$(cut -d ' ' -f 4 "/proc/$PPID/stat")"
exec cat
"""
INTERRUPTED_LOOK = """
import json, pathlib, sys
from tests.test_supervise import of_engine
from toolkit.capture import preflight
folder = pathlib.Path(sys.argv[2])
try:
    preflight._look(of_engine(sys.argv[1]), folder)
except KeyboardInterrupt:
    print(json.loads((folder / "outcome.json").read_text())["status"])
"""
OWN = {"status": "complete", "reason": None, "exit_code": 0}
STOPPED = supervise.stopped()


def gone(exit_code: int, *, out_of_memory: bool = False, error: str = "") -> State:
    """What an engine knows of a container that ended so."""
    return State("id", exit_code, out_of_memory, error)


def of_engine(program: str) -> Container:
    """A container of an engine that this program is."""
    image = Image("hwprof-torch-cpu:abc", "sha256:0", {}, "torch", "cpu", Path(), "abc", built=False, fallback=None)
    return containers.settle(Engine("docker", program, "9"), image, RunSpec(), gpus=(), variables={})


def test_orphans_are_reaped_and_children_left_alone() -> None:
    """What ends without a parent is gone from the process table; the supervisor's own keep their exit code."""
    done = subprocess.run(
        [sys.executable, "-c", ADOPT], cwd=REPO, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "0"


@pytest.mark.parametrize(
    ("returncode", "for_memory", "status", "reason"),
    [
        (-9, True, "out_of_memory", "the kernel killed the worker for memory"),
        (-9, False, "killed", "the worker was killed by SIGKILL"),
        (-9, None, "killed", "the worker was killed by SIGKILL, whether for memory is not known here"),
        (-11, True, "killed", "the worker was killed by SIGSEGV"),
        (-11, None, "killed", "the worker was killed by SIGSEGV"),
        (-40, None, "killed", "the worker was killed by signal 40"),
        (3, True, "failed", "the worker exited with code 3"),
    ],
)
def test_a_worker_s_death(returncode: int, for_memory: bool | None, status: str, reason: str) -> None:  # noqa: FBT001 - a parameter
    """Memory is the cause only where the control group says so, and unknown where it says nothing."""
    said = supervise._death(returncode, killed_for_memory=for_memory)
    assert (said["status"], said["reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("state", "own", "status", "reason"),
    [
        (gone(0), OWN, "complete", None),
        (None, OWN, "complete", None),
        (gone(130), STOPPED, "interrupted", "stopped on request"),
        (None, STOPPED, "failed", "docker 9 lost the container: last words"),
        (None, None, "failed", "docker 9 lost the container: last words"),
        (gone(137, out_of_memory=True), None, "out_of_memory", "the kernel killed the container for memory"),
        (gone(137), None, "killed", "the container was killed by SIGKILL"),
        (gone(127, error="no python"), None, "failed", "docker 9 could not start the container: no python"),
        (gone(168), None, "killed", "the container was killed by signal 40"),
        (gone(255), None, "failed", "the container ended with code 255: last words"),
        (gone(160), None, "failed", "the container ended with code 160: last words"),
        (gone(1), None, "failed", "the container ended with code 1: last words"),
    ],
)  # fmt: skip
def test_a_container_s_death(
    state: State | None, own: dict[str, Any] | None, status: str, reason: str | None
) -> None:  # fmt: skip
    """Its supervisor's own words count, but for a stop that nobody asked for; then the engine's; then its client's."""
    said = death("docker 9", state, own, "last words")
    assert (said["status"], said["reason"]) == (status, reason)


def test_a_keeper_that_cannot_work_says_so(tmp_path: Path) -> None:
    """A program that is not there, or a folder that cannot be lent: the outcome is failed, and no traceback."""
    order = Order("docker 9", "/no/such", "name", ["/no/such", "run"], str(tmp_path), None, 60, 0)
    (tmp_path / "container.json").write_text(json.dumps(order._asdict()))
    command = [sys.executable, "-m", "toolkit.capture.keeper", tmp_path / "container.json"]
    done = subprocess.run(command, cwd=REPO, stdin=subprocess.PIPE, capture_output=True, text=True, check=False)
    ended = json.loads((tmp_path / "outcome.json").read_text())
    assert (done.returncode, done.stderr, ended["status"]) == (1, "", "failed")
    assert ended["reason"] == "its keeper cannot work: [Errno 2] No such file or directory: '/no/such'"


def test_a_keeper_that_breaks_gives_the_run_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it was that nobody thought of: else its files would stay another user's."""
    order = Order("docker 9", "/no/such", "name", [], str(tmp_path), 12345, 60, 0)
    (tmp_path / "container.json").write_text(json.dumps(order._asdict()))
    taken: list[tuple[Path, int | None]] = []
    monkeypatch.setattr(keeper, "_keep", Mock(side_effect=ValueError("odd")))
    monkeypatch.setattr(keeper, "launcher_lets_go", threading.Event)
    monkeypatch.setattr(keeper, "take_back", lambda *given: taken.append(given))
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(ValueError, match="odd"):
            keeper.main(tmp_path / "container.json")
    finally:
        signal.signal(signal.SIGINT, before)
    assert taken == [(tmp_path, 12345)]


def test_nothing_in_the_run_folder_is_imported_outside(tmp_path: Path) -> None:
    """A container writes there what it likes; its keeper, which works there as the caller, imports none of it."""
    for name in ("json.py", "signal.py", "toolkit.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')")
    container = of_engine("/no/such")
    command = containers.keep(container, name="name", folder=tmp_path, inside=["-c", "pass"], place=tmp_path)
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPO)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stderr, json.loads((tmp_path / "outcome.json").read_text())["status"]) == ("", "failed")


def test_a_ctrl_c_waits_for_the_container_that_looks_around(tmp_path: Path) -> None:
    """Its keeper has written how it ended when the launcher goes on, so nothing of it is left behind."""
    engine = tmp_path / "docker"
    engine.write_text(INTERRUPTING)
    engine.chmod(0o755)
    command = [sys.executable, "-c", INTERRUPTED_LOOK, engine, tmp_path]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_runs_that_take_no_probe_are_named(tmp_path: Path) -> None:
    """The folder that cannot be written, before any engine is asked."""
    (tmp_path / "runs").touch()
    with pytest.raises(HwprofError, match=r"The folder of runs .*/runs cannot be written: File exists"):
        preflight.check(of_engine("/no/such"), tmp_path / "runs")


def test_a_file_stops_a_pass_as_a_signal_does(tmp_path: Path) -> None:
    """Where the engine is gone the run folder is all that launcher and supervisor share; the file goes in the end."""
    spec = tmp_path / "spec.json"
    spec.write_text(RunSpec().as_json())
    (tmp_path / supervise.STOP).touch()
    command = [sys.executable, "-m", "toolkit.capture.supervise", spec, "time", "cpu", tmp_path]
    with subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE) as process:
        process.wait(120)
    assert process.returncode == STOPPED["exit_code"]
    assert not (tmp_path / supervise.STOP).exists()
