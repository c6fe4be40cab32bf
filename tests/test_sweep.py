"""`hwprof sweep` for real: killed, interrupted and resumed; and what cannot run, as results."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import HWPROF, REPO, hwprof
from tests.test_house import make
from tests.test_run import PATIENCE_S, training_worker, wait_for
from toolkit.capture import sweeps
from toolkit.capture.sweeps import BEGUN, COMPLETE, Entry

SMALL = ("model=cifar_cnn", "steps=3", "epochs=2", "validation_steps=1", "threads=1", "runtime=local", "device=cpu")


def started(runs: Path, *arguments: str) -> subprocess.Popen[str]:
    """A sweep that runs."""
    command = [HWPROF, "sweep", "--runs", runs, *arguments]
    return subprocess.Popen(command, cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def entries(runs: Path) -> list[Entry]:
    """What the one sweep has recorded."""
    folders = sweeps.folders(runs)
    return sweeps.entries(sweeps.read(folders[0])) if folders else []


def ended(runs: Path) -> list[Entry]:
    """Its repeats that were complete."""
    return [entry for entry in entries(runs) if entry.status == COMPLETE]


def in_a_run_after(number: int, runs: Path) -> Callable[[], Any]:
    """Whether so many runs are done and the worker of the next is there."""

    def is_there() -> bool:
        found = entries(runs)
        if len(ended(runs)) != number or found[-1].status != BEGUN:
            return False
        return (runs / str(found[-1].run) / "raw" / "time" / "worker.jsonl").exists()

    return is_there


@pytest.mark.e2e
def test_a_sweep_that_was_killed_and_stopped_comes_to_the_same_end(tmp_path: Path) -> None:
    """SIGKILL and Ctrl-C in mid-run cost that run alone: finished repeats stay, the others are made on --resume."""
    settings = [f"--set={setting}" for setting in (*SMALL, "framework=torch,tf", "batch=8,16")]
    killed = started(tmp_path, *settings, "--repeats=1", "--order-seed=5")
    wait_for(in_a_run_after(1, tmp_path))
    killed.kill()
    killed.communicate(timeout=PATIENCE_S)
    first = ended(tmp_path)
    stopped = started(tmp_path, "--resume", "last")
    wait_for(in_a_run_after(2, tmp_path))
    os.kill(stopped.pid, signal.SIGINT)
    _, errors = stopped.communicate(timeout=PATIENCE_S)
    assert stopped.returncode == 130
    name = sweeps.folders(tmp_path)[0].name
    assert errors.splitlines()[-1].endswith(f"`hwprof sweep --resume {name}` goes on; what ran is kept.")
    assert training_worker(tmp_path) is None
    answer = hwprof("sweep", "--resume", name, "--runs", tmp_path, "--json", "--force")
    assert answer.returncode == 0, answer.stderr
    assert ended(tmp_path)[:1] == first
    assert sorted((entry.point, entry.repeat) for entry in ended(tmp_path)) == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert [entry.status for entry in entries(tmp_path)].count("abandoned") == 1
    assert [entry.status for entry in entries(tmp_path)].count("interrupted") == 1
    found = json.loads(answer.stdout)
    assert [(point["settings"], point["status"]) for point in found["points"]] == [
        ({"framework": framework, "batch": str(batch)}, COMPLETE) for framework in ("torch", "tf") for batch in (8, 16)
    ]
    assert all(point["time_ns"]["estimate"] > 0 and point["peak_bytes"]["estimate"] > 0 for point in found["points"])
    assert {(optimum["settings"]["framework"], optimum["aim"]) for optimum in found["optima"]} == {
        (framework, aim) for framework in ("torch", "tf") for aim in ("throughput", "latency")
    }
    assert json.loads(hwprof("show", name, "--runs", tmp_path, "--json", "--force").stdout) == found
    listed = hwprof("list", "--runs", tmp_path).stdout
    assert name in listed
    assert "4 of 4" in listed


@pytest.mark.e2e
def test_what_cannot_run_is_a_result(tmp_path: Path) -> None:
    """A point that a framework has not and one that runs out of memory are rows of the table, each with its reason."""
    settings = [f"--set={setting}" for setting in (*SMALL, "framework=torch,tf", "layout=channels_first")]
    answer = hwprof("sweep", "--runs", tmp_path, *settings, "--set=image_size=200000", "--repeats=1")
    assert answer.returncode == 0, answer.stderr
    assert "2 of 2 points done" in answer.stdout
    assert "point 1 out_of_memory: time pass: " in answer.stdout
    assert "point 2 unsupported: TensorFlow's models are built with their channels last." in answer.stdout
    assert [entry.point for entry in entries(tmp_path)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set=framework=torch,troch"], "Unknown framework 'troch'. Did you mean 'torch'?"),
        (["--set=batch=8,32", "--repeats=5..3"], "repeats '5..3' is no number of runs."),
        (["--set=batch=8,32", "--width=0.05"], "--width 0.05 is no share."),
        (["--resume=last"], "There are no sweeps in"),
        (["--resume=last", "--set=batch=8"], "--resume goes on with what was asked then. Leave --set out."),
        (["--resume=last", "--repeats=20..30", "--width=1%"], "Leave --repeats, --width out."),
        (["--set=device=cuda", "--set=model=cifar_cnn"], "device=cuda, but there is no GPU"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    """Before anything is made: exit code 2, and no folder."""
    if "--set=device=cuda" in arguments and Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    answer = hwprof("sweep", "--runs", tmp_path / "runs", *arguments)
    assert answer.returncode == 2
    assert said in answer.stderr.splitlines()[-1]
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_shows_every_point(tmp_path: Path) -> None:
    """Those that would run and those that could not, with the reason; nothing is made."""
    settings = ("--set=framework=torch,tf", "--set=compile=eager,inductor", "--set=model=cifar_cnn")
    answer = hwprof("sweep", "--dry-run", "--runs", tmp_path / "runs", *settings)
    assert answer.returncode == 0
    assert "4 points" in answer.stdout
    assert "point 4: TensorFlow has no compile mode 'inductor'." in answer.stdout
    assert not (tmp_path / "runs").exists()


def test_a_sweep_of_another_machine_is_not_gone_on_with(tmp_path: Path) -> None:
    """Figures of two machines are never put together."""
    assert hwprof("sweep", "--help").returncode == 0
    folder = tmp_path / "20261121-000000-sweep-0000"
    folder.mkdir()
    told = {"created": "2026-11-21T00:00:00+00:00", "host": "elsewhere", "seed": 1, "axes": {}, "points": []}
    (folder / sweeps.FILE).write_text(json.dumps(told | {"limits": {"least": 1, "most": 1, "width": 0.05}}))
    answer = hwprof("sweep", "--resume", "last", "--runs", tmp_path)
    assert answer.returncode == 2
    assert "was begun on elsewhere" in answer.stderr


def test_make_hands_over_the_matrix() -> None:
    """Variables become settings as for `make profile`; what a sweep itself is told becomes its options."""
    shown = make("-n", "sweep", "FRAMEWORK=torch,tf", "BATCH=8,32", "REPEATS=3..4", "WIDTH=2%", "RUNS=r", "DRY_RUN=1")
    words = shown.stdout.splitlines()[-1].replace("'", "").split()
    assert words == [
        ".venv/toolkit/bin/hwprof", "sweep", "--runs", "r", "--repeats", "3..4", "--width", "2%", "--dry-run",
        "--set", "batch=8,32", "--set", "framework=torch,tf",
    ]  # fmt: skip
