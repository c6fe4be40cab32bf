"""Passes in containers for real: runs down to the report, and what a container is from inside.

What every finished run must fulfil is test_run's, and is asked of these runs too.
"""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests import cifar
from tests.commands import hwprof
from tests.docker import DOCKER, MIB, caged
from tests.test_run import (  # noqa: F401 - pytest runs the tests among these here too, on this module's `finished`
    PATIENCE_S,
    SMALL,
    run,
    status,
    test_a_run_folder_is_whole,
    test_a_run_is_trusted_and_its_figures_are_there,
    test_analyses_run_again_from_raw,
    test_every_report_says_where_it_ran,
    test_every_report_says_whether_it_is_verified,
    test_ledgers_sum_exactly_and_hold_what_ran,
    test_reports_read_what_was_stored,
    test_the_trace_lies_on_the_run_s_clock,
    test_what_this_machine_lacks_is_said_with_its_reason,
    wait_for,
)
from toolkit.capture import containers, images, keeper, preflight
from toolkit.capture.engines import Engine
from toolkit.capture.samplers.nvml import Gpu
from toolkit.errors import HwprofError
from toolkit.reports import summary_json, tensorboard_text
from toolkit.spec import RunSpec

pytestmark = pytest.mark.e2e

ODD = 'of mine, "all": ü'

# What a process inside can say of its own cage.
LOOK = """
import json, os, pathlib, socket
def may_write(folder):
    try:
        path = pathlib.Path(folder, "hwprof-was-here")
        path.write_text("")
        path.unlink()
        return True
    except OSError:
        return False
def may_connect():
    try:
        socket.create_connection(("192.0.2.1", 80), 1).close()
        return True
    except OSError:
        return False
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
places = ["/", "/etc", "/opt/hwprof", "/opt/hwprof/toolkit", "/usr", "/var", "/root", "/home", "/dev", "/sys"]
places += ["/proc/sys/kernel", "/data", "/out", "/tmp", "/dev/shm"]
print(json.dumps({
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "capabilities": {name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")},
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "interfaces": os.listdir("/sys/class/net"),
    "connects": may_connect(),
    "writable": [place for place in places if may_write(place)],
    "variables": dict(os.environ),
    "sockets": [str(path) for path in pathlib.Path("/").glob("*run/**/*.sock")],
    "first_process": pathlib.Path("/proc/1/cmdline").read_bytes().split(b"\\0")[0].decode(),
}))
"""


@pytest.fixture(scope="module", params=["torch", "tf"])
def finished(request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each framework in a container of docker's."""
    return run(tmp_path_factory.mktemp("runs"), f"framework={request.param}", DOCKER)


def test_the_record_names_image_engine_and_limits(engine: Engine, finished: Path) -> None:
    """The image by its id and labels, the lock by its hash, the limits as they hold inside; in every report."""
    runtime = json.loads((finished / "run.json").read_text())["runtime"]
    assert runtime["engine_version"] == engine.version
    command = [engine.program, "image", "inspect", "--format", "{{.Id}}", runtime["image"]]
    assert runtime["image_id"] == subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert runtime["image_labels"]["hwprof.lock_sha256"] == runtime["lock_sha256"]
    facts = json.loads((finished / "raw" / "time" / "facts.json").read_text())
    assert facts["cgroup"]["memory_bytes"] == runtime["limits"]["memory_bytes"]
    assert facts["cgroup"]["processes"] == runtime["limits"]["processes"] == 4096
    assert facts["shm_bytes"] == runtime["limits"]["shm_bytes"]
    assert facts["cpus"] == len(runtime["limits"]["processors"])
    shown = " ".join(hwprof("show", finished.name, "--runs", finished.parent).stdout.split())
    for words in (f"docker {engine.version}", runtime["image"], runtime["image_id"][7:19], "4096 processes"):
        assert words in shown
    assert runtime["image_id"][7:] in tensorboard_text.text(finished)


def test_every_file_is_the_caller_s(finished: Path) -> None:
    """Whoever it was inside, nothing is left in the run folder that its owner could not remove."""
    assert {path.lstat().st_uid for path in (finished, *finished.rglob("*"))} == {os.getuid()}
    assert not list(finished.parent.glob(".*"))


def test_the_container_s_own_use_is_sampled(finished: Path) -> None:
    """Memory and processor of the control group, within their limits."""
    samples = {sample.metric: sample for sample in summary_json.read(finished / "summary.json").samples}
    limit = json.loads((finished / "run.json").read_text())["runtime"]["limits"]["memory_bytes"]
    assert 0 < samples["cgroup_memory"].most <= limit
    assert samples["cgroup_cpu"].most > 0


def test_folders_of_any_name_can_be_mounted(engine: Engine, tmp_path: Path) -> None:
    """Runs and dataset may lie where commas, quotes, colons and spaces are; the dataset is seen by its inner name."""
    data = cifar.folder(tmp_path / f"data {ODD}", train=20, test=10)
    settings = ["dataset=cifar10", f"data_dir={data}", "passes=time", "epochs=1", DOCKER]
    folder = run(tmp_path / f"runs {ODD}", *settings)
    assert json.loads((folder / "spec.json").read_text())["data_dir"] == str(data)
    assert json.loads((folder / "raw" / "spec.json").read_text())["data_dir"] == "/data"
    assert status(folder.parent)["status"] == "complete"


def test_py_spy_attaches_inside(engine: Engine, tmp_path: Path) -> None:
    """Without a capability where the kernel lets a process be read by its siblings."""
    folder = run(tmp_path, "pyspy=true", "passes=profile", DOCKER)
    assert (folder / "raw" / "profile" / "pyspy.json").exists()


# --- what a container is from inside


def test_a_container_is_a_cage(
    engine: Engine, image: images.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its user, no network, nothing to write but the run folder and two temporary ones, no capability, no variable."""
    data, runs, config = tmp_path / "data", tmp_path / "run", tmp_path / "config"
    for folder in (data, runs, config):
        folder.mkdir()
    proxies = {"default": {"httpProxy": "http://user:password@proxy", "noProxy": "inner"}}
    (config / "config.json").write_text(json.dumps({"proxies": proxies}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    monkeypatch.setenv("HWPROF_SECRET", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    container = caged(engine, image, data_dir=str(data), limit_memory_mib=300, limit_processes=50, limit_processors=1)
    keeper.lend(runs, container.lend_to)
    command = containers.command(container, name=f"hwprof-test-{os.getpid()}", folder=runs, inside=["-c", LOOK])
    told = subprocess.run([command[0], "run", "--rm", *command[2:]], capture_output=True, text=True, check=True)
    seen = json.loads(told.stdout)
    uid, gid = map(int, container.user.split(":"))
    assert seen["user"] == [uid, gid, [gid]]
    assert uid != 0
    assert set(seen["capabilities"].values()) == {0}
    assert seen["no_new_privileges"] == "1"
    assert seen["interfaces"] in ([], ["lo"])
    assert not seen["connects"]
    assert seen["writable"] == ["/out", "/tmp", "/dev/shm"]  # noqa: S108 - what is writable inside, only named
    assert seen["sockets"] == []
    assert seen["first_process"] == containers.PYTHON
    assert seen["variables"]["OMP_NUM_THREADS"] == "3"
    assert not {"HWPROF_SECRET", "DOCKER_HOST"} & seen["variables"].keys()
    assert not [value for value in seen["variables"].values() if "password" in value or "hunter2" in value]


def test_limits_hold_inside(engine: Engine, image: images.Image, tmp_path: Path) -> None:
    """Memory, shared memory, processes and processors are what the spec says, as the container itself sees them."""
    settings = {"limit_memory_mib": 300, "limit_shm_mib": 70, "limit_processes": 60, "limit_processors": 1}
    found = preflight.check(caged(engine, image, **settings), tmp_path)
    assert found["cgroup"]["memory_bytes"] == 300 * MIB
    assert found["cgroup"]["processes"] == 60
    assert found["shm_bytes"] == 70 * MIB
    assert found["cpus"] == 1


def test_a_gpu_that_the_engine_cannot_give_is_an_error(engine: Engine, image: images.Image, tmp_path: Path) -> None:
    """Whether the engine says so or stays silent: the container does not see the GPU that it is to run on."""
    gpu = Gpu(0, "Imagined GPU", "GPU-of-no-machine", None)
    container = containers.settle(engine, image, RunSpec(), gpus=[gpu], variables={})
    with pytest.raises(HwprofError) as refused:
        preflight.check(container, tmp_path)
    assert "device=cpu" in refused.value.remedy


def test_a_dataset_that_the_container_s_user_cannot_read_is_an_error(
    engine: Engine, image: images.Image, tmp_path: Path
) -> None:
    """Before the run, with the file and what to do."""
    if os.getuid():
        pytest.skip("the container runs as the caller unless that is root, and may read what the caller may")
    data = cifar.folder(tmp_path / "data", train=20, test=10)
    (data / "test_batch.bin").chmod(stat.S_IRUSR)
    with pytest.raises(
        HwprofError, match=r"User 65532 of the container cannot read test_batch\.bin of .*chmod -R o\+rX"
    ):
        preflight.check(caged(engine, image, data_dir=str(data)), tmp_path)


# --- whom an engine works for, and what happens where it does not
