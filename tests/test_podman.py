"""Runs in podman's containers, for real; and a GPU that a fake CDI specification passes into one."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_run import run
from toolkit.capture import containers, engines, images, preflight
from toolkit.capture.engines import Engine
from toolkit.capture.images import Image, Recipe
from toolkit.capture.samplers.nvml import Gpu
from toolkit.spec import RunSpec

pytestmark = pytest.mark.e2e

CDI = Path("/var/run/cdi")
GPU = Gpu(0, "Stub GPU", "GPU-stub", 8 << 30)
# /dev/full, which no container has under this name.
DEVICE, DEVICE_NUMBERS = "/dev/nvidia-stub", os.makedev(1, 7)


@pytest.fixture(scope="module")
def podman() -> Engine:
    """The podman that answers here, holding the base image that images are built from where docker has it."""
    engine = engines.ask("podman")
    if not isinstance(engine, Engine):
        pytest.skip(f"needs podman: {engine}")
    base = images.base_image()
    known = subprocess.run([engine.program, "image", "exists", base], check=False).returncode == 0
    docker = shutil.which("docker")
    if docker and not known and images.BASE_VARIABLE in os.environ:
        with subprocess.Popen([docker, "save", base], stdout=subprocess.PIPE) as saving:
            subprocess.run([engine.program, "load", "--quiet"], stdin=saving.stdout, check=True, capture_output=True)
    return engine


@pytest.fixture(scope="module")
def image(podman: Engine) -> Image:
    """The image of PyTorch, built where podman does not hold it yet."""
    return images.ensure(podman, Recipe("torch", "cpu"), say=lambda _: None)


def test_a_run_in_podman_is_whole_and_says_where_it_ran(image: Image, tmp_path: Path) -> None:
    """Both passes in a container of the image, whose files are the caller's; engine, image and user are recorded."""
    folder = run(tmp_path / "runs", "framework=torch", "device=cpu", "runtime=podman")
    assert json.loads((folder / "run.json").read_text())["status"] == "complete"
    where = json.loads((folder / "raw" / "launch.json").read_text())["runtime"]
    assert (where["name"], where["asked"], where["image_id"]) == ("podman", "podman", image.id)
    assert json.loads((folder / "summary.json").read_text())["trusted"]
    assert {path.stat().st_uid for path in folder.rglob("*")} == {os.getuid()}
    left = subprocess.run(["podman", "ps", "--all", "--quiet"], check=True, capture_output=True, text=True).stdout
    assert left == ""


@pytest.fixture
def stub_gpus(driver: Path, no_cdi: None) -> Iterator[None]:
    """A specification that gives as nvidia.com/gpu=all a device node and the stand-in for the driver's library."""
    if os.getuid() != 0:
        pytest.skip("needs root, to write a CDI specification where podman reads it")
    edits = {
        "deviceNodes": [{"path": DEVICE, "hostPath": "/dev/full"}],
        "mounts": [{
            "hostPath": str(driver / "libnvidia-ml.so.1"), "containerPath": "/usr/lib/libnvidia-ml.so.1",
            "options": ["ro", "bind"],
        }],
    }  # fmt: skip
    specification = {
        "cdiVersion": "0.3.0", "kind": "nvidia.com/gpu", "devices": [{"name": "all", "containerEdits": edits}],
    }  # fmt: skip
    made = not CDI.exists()
    CDI.mkdir(exist_ok=True)
    file = CDI / "hwprof-test.json"
    file.write_text(json.dumps(specification))
    yield
    file.unlink()
    if made:
        CDI.rmdir()


@pytest.mark.usefixtures("stub_gpus")
def test_a_gpu_passes_into_the_hardened_container(podman: Engine, image: Image, tmp_path: Path) -> None:
    """Device node and driver's library arrive by CDI, for a user without rights, and NVML inside shows the GPU."""
    container = containers.settle(podman, image, RunSpec(), gpus=[GPU], variables={})
    seen = preflight.check(container, tmp_path)
    assert seen["gpus"] == [GPU.uuid]
    code = f"import os; found = os.stat({DEVICE!r}); print(found.st_mode, found.st_rdev, os.getuid())"
    command = containers.command(container, name="hwprof-test-gpu", folder=tmp_path, inside=["-c", code])
    try:
        said = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    finally:
        subprocess.run([podman.program, "rm", "--force", "hwprof-test-gpu"], check=True, capture_output=True)
    mode, numbers, user = map(int, said.split())
    assert stat.S_ISCHR(mode)
    assert numbers == DEVICE_NUMBERS
    assert user == containers.NOBODY
