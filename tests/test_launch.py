"""What the launcher settles before anything starts, that it waits for nothing forever, and the order of launches."""

import json
import os
import sys
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.commands import hwprof
from tests.drivers import scripted
from tests.test_run import wait_for
from toolkit.capture import launch, runs, supervise, venvs
from toolkit.capture.pretrained import Start
from toolkit.capture.runtime import Runtime, Wish
from toolkit.capture.samplers.nvml import Gpu, Presence, visible
from toolkit.errors import BAD_INPUT, HwprofError
from toolkit.spec import RunSpec

START = Start("random", "", None, None)
PRESENCE = Presence(tuple(Gpu(number, f"GPU {number}", f"GPU-{number}abc", None) for number in range(4)), "580", None)


def test_replicas_have_a_gpu_each() -> None:
    """The first ones; one too few is refused with the number that there is; one replica alone may use all."""
    spec = RunSpec(parallel="ddp", replicas=2)
    assert launch.for_replicas(spec, PRESENCE.gpus) == PRESENCE.gpus[:2]
    assert launch.for_replicas(RunSpec(), PRESENCE.gpus) == PRESENCE.gpus
    assert launch.for_replicas(spec, ()) == ()
    with pytest.raises(HwprofError, match="replicas=2 need a GPU each, and there are 1"):
        launch.for_replicas(spec, PRESENCE.gpus[:1])


@pytest.mark.parametrize(
    ("variable", "numbers"),
    [(None, [0, 1, 2, 3]), ("3", [3]), ("2, 0", [2, 0]), ("GPU-1", [1]), ("", []), ("-1", []), ("1,9,0", [1])],
)
def test_cuda_visible_devices_is_heeded(variable: str | None, numbers: list[int]) -> None:
    """By number or UUID, in its order, to the first that fits none; what hides every GPU is the reason."""
    seen = visible(PRESENCE, variable)
    assert [gpu.number for gpu in seen.gpus] == numbers
    assert (seen.reason is None) == bool(numbers)


def test_a_model_that_no_framework_has_is_refused_with_those_that_this_one_has() -> None:
    """A profile of one's own may name anything; there is then no other framework to advise."""
    with pytest.raises(HwprofError, match=r"^\S+ has no foo\. Use one of its own: "):
        launch.check_model(RunSpec(model="foo"))


def test_a_mig_instance_is_no_hidden_gpu() -> None:
    """Of one that is named there is a GPU, and the reason why it is not used is another."""
    assert visible(PRESENCE, "MIG-0abc").reason == (
        "CUDA_VISIBLE_DEVICES='MIG-0abc' names a MIG instance, and runs take whole GPUs"
    )


@pytest.mark.parametrize("recorded", [True, False], ids=["by what it recorded", "else by when it was asked for"])
def test_runs_stand_in_the_order_in_which_they_were_launched(tmp_path: Path, *, recorded: bool) -> None:
    """Names hold local time, which goes back an hour once a year: the run launched last is the last."""
    launched = {
        "20261025-014000-later": "2026-10-25T01:40:00+01:00",
        "20261025-023000-sooner": "2026-10-25T02:30:00+02:00",
    }
    for name, created in launched.items():
        (tmp_path / name / "raw").mkdir(parents=True)
        (tmp_path / name / "spec.json").write_text("{}")
        if recorded:
            (tmp_path / name / "raw" / "launch.json").write_text(json.dumps({"created": created}))
        moment = datetime.fromisoformat(created).timestamp()
        os.utime(tmp_path / name / "spec.json", (moment, moment) if not recorded else (0, 0))
    assert [folder.name[16:] for folder in runs.folders(tmp_path)] == ["sooner", "later"]
    assert runs.find(tmp_path, "last").name.endswith("later")


@pytest.mark.parametrize("runtime", ["local", "auto", "docker"])
def test_a_driver_that_is_too_old_is_refused_before_anything_is_made(
    runtime: str, driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with both CUDA versions, the driver's own and the one to install, whatever it was to run in."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
    monkeypatch.setenv("NVML_SCRIPT", scripted(tmp_path, "driver 535.54.03\ncuda 12020\ngpu Stub GPU"))
    answer = hwprof("run", "--runs", tmp_path / "runs", "--set=framework=torch", f"--set=runtime={runtime}")
    assert answer.returncode == BAD_INPUT
    assert answer.stderr.splitlines()[-1] == (
        "hwprof: torch-cuda needs CUDA 13.0, but driver 535.54.03 runs CUDA up to 12.2. "
        "Install NVIDIA's driver 580 or newer, or use DEVICE=cpu."
    )
    assert not (tmp_path / "runs").exists()


def test_a_pass_whose_folder_cannot_be_made_has_failed(tmp_path: Path) -> None:
    """On a full disk, say: the run says so, and no traceback does."""
    worker = venvs.Worker(
        python=tmp_path, framework="torch", variant="cpu", lock=tmp_path, lock_sha256="", fallback=None
    )  # fmt: skip
    plan = launch.Plan(Wish(RunSpec(), "cpu", PRESENCE, (), tmp_path), START, Runtime("", worker, None, None, ()), ())
    ended = launch.run_passes(tmp_path, plan, say=lambda _: None)
    assert ended.status == "failed"
    assert ended.reason == f"time pass: {tmp_path}/raw/time cannot be written: No such file or directory"


# Stands where a worker's Python is: starts one more process in a session of its own, says both, and never ends.
DEAF = """#!{python}
import os, pathlib, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
pathlib.Path(sys.argv[-1], "pids").write_text(f"{{os.getpid()}} {{child.pid}}")
while True: signal.pause()
"""


def test_a_supervisor_that_hangs_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past time limit and grace its launcher ends the whole tree, and says that it ran out of time."""
    python = tmp_path / "python"
    python.write_text(DEAF.format(python=sys.executable))
    python.chmod(0o755)
    worker = venvs.Worker(
        python=python, framework="torch", variant="cpu", lock=tmp_path, lock_sha256="", fallback=None
    )  # fmt: skip
    spec = RunSpec(timeout_s=1, passes=("time",))
    plan = launch.Plan(Wish(spec, "cpu", PRESENCE, (), tmp_path), START, Runtime("", worker, None, None, ()), ())
    monkeypatch.setattr(supervise, "OVERDUE_S", 1)
    (tmp_path / "raw").mkdir()
    ended = launch.run_passes(tmp_path, plan, say=lambda _: None)
    assert ended.status == "timed_out"
    assert ended.reason == "time pass: it ran past timeout_s=1 and did not end by itself"
    pids = [int(pid) for pid in (tmp_path / "raw" / "time" / "pids").read_text().split()]
    assert len(pids) == 2
    # A kill takes its moment.
    assert wait_for(lambda: not any(_runs(pid) for pid in pids))


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
