"""Environments from locks, with a real venv, a real pip and wheels made here: nothing is downloaded or faked."""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.wheels import make_wheel
from toolkit.capture import venvs
from toolkit.capture.venvs import Worker, ensure
from toolkit.errors import HwprofError

# Each makes an environment with the real venv and the real pip, which takes seconds.
pytestmark = pytest.mark.e2e


class Machine:
    """A repository root with locks, and the folder of wheels that is all that pip can see."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wheels = root / "wheels"
        self.locks = root / "containers" / "locks"
        self.locks.mkdir(parents=True)
        self.wheels.mkdir()
        self.said: list[str] = []

    def lock(self, name: str, version: str, *, sha256: str = "", package: str = "tiny") -> Path:
        """Writes lock `name` with one pin; its hash is that of a wheel made for it where none is given."""
        sha256 = sha256 or make_wheel(self.wheels, version, package)
        path = self.locks / f"{name}.txt"
        path.write_text(f"# size: about 1 kB\n{package}=={version} \\\n    --hash=sha256:{sha256}\n")
        return path

    def ensure(self, framework: str = "torch", variant: str = "cuda") -> Worker:
        """What is tested, in this root, keeping what it says."""
        return ensure(framework, variant, say=self.said.append, root=self.root)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose pip sees the wheels made here and no index."""
    made = Machine(tmp_path)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(made.wheels), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return made


def version_in(worker: Worker) -> str:
    """The version of the package that the worker's own Python imports."""
    command = [str(worker.python), "-c", "import tiny; print(tiny.VERSION)"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_an_environment_is_made_once_and_again_when_its_lock_changes(machine: Machine) -> None:
    """The first call installs the lock and says so in a line, the second does nothing, a changed lock is installed."""
    lock = machine.lock("torch-cuda", "1.0")
    worker = machine.ensure()
    assert version_in(worker) == "1.0"
    assert machine.said == ["Installing torch-cuda from containers/locks/torch-cuda.txt; about 1 kB, once …"]
    assert (worker.framework, worker.variant, worker.lock, worker.fallback) == ("torch", "cuda", lock, None)
    assert worker.lock_sha256 == hashlib.sha256(lock.read_bytes()).hexdigest()

    leftover = machine.root / ".venv" / "torch-cuda" / "leftover"
    leftover.touch()
    assert machine.ensure() == worker
    assert len(machine.said) == 1

    machine.lock("torch-cuda", "2.0")
    assert version_in(machine.ensure()) == "2.0"
    assert not leftover.exists()


def test_an_interrupted_installation_is_made_again(machine: Machine) -> None:
    """A folder without a stamp is removed and installed from nothing."""
    machine.lock("torch-cuda", "1.0")
    folder = machine.root / ".venv" / "torch-cuda"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "half").touch()
    assert version_in(machine.ensure()) == "1.0"
    assert not (folder / "half").exists()


@pytest.mark.parametrize("changed", [{"python": "3.10"}, {"folder": "/elsewhere"}, {"lock_sha256": "ab" * 32}])
def test_a_stamp_of_other_circumstances_counts_for_nothing(machine: Machine, changed: dict[str, str]) -> None:
    """An environment of another Python, another place or another lock is not taken for whole."""
    lock = machine.lock("torch-cuda", "1.0")
    folder = stamped(machine, lock, python=sys.executable)
    assert venvs._made_from(folder, [lock])
    stamp = folder / venvs.STAMP
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | changed))
    assert not venvs._made_from(folder, [lock])


def test_an_environment_whose_python_is_gone_counts_for_nothing(machine: Machine) -> None:
    """A stamp beside a dangling link to an interpreter is not taken for whole."""
    lock = machine.lock("torch-cuda", "1.0")
    assert not venvs._made_from(stamped(machine, lock, python="/no/such/python"), [lock])


def stamped(machine: Machine, lock: Path, *, python: str) -> Path:
    """A folder that has all that an environment is known by: an interpreter and a stamp."""
    folder = machine.root / ".venv" / lock.stem
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(python)
    venvs._write_stamp(folder, lock)
    return folder


def test_a_wheel_that_is_not_the_locked_one_is_refused(machine: Machine) -> None:
    """A hash mismatch is one line with package, both hashes and a remedy, and leaves nothing that counts as made."""
    real = make_wheel(machine.wheels, "1.0")
    lock = machine.lock("torch-cuda", "1.0", sha256="ab" * 32)
    with pytest.raises(HwprofError) as refused:
        machine.ensure()
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith("Installing torch-cuda from torch-cuda.txt failed: tiny==1.0 has the sha256")
    assert real in line
    assert "ab" * 32 in line
    assert not venvs._made_from(machine.root / ".venv" / "torch-cuda", [lock])


def test_a_missing_wheel_is_named(machine: Machine) -> None:
    """Where pip finds no wheel of a pin and nothing stands in, the error names the pin and the Python."""
    machine.lock("torch-cuda", "9.9", sha256="ab" * 32)
    with pytest.raises(HwprofError, match=r"no wheel of tiny==9\.9 for Python 3\.\d+"):
        machine.ensure()


def test_a_variant_without_wheels_falls_back_in_sight(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU torch falls back to the CUDA build, says so each time, and is tried again only under another pip setup."""
    machine.lock("torch-cpu", "1.0", sha256="ab" * 32, package="slim")
    machine.lock("torch-cuda", "1.0")
    worker = machine.ensure("torch", "cpu")
    assert worker.variant == "cuda"
    assert worker.lock.name == "torch-cuda.txt"
    assert worker.fallback
    assert "CPU wheel index" in worker.fallback
    assert worker.fallback in machine.said

    machine.said.clear()
    assert machine.ensure("torch", "cpu") == worker
    assert machine.said == [worker.fallback]

    refused = machine.root / ".venv" / "torch-cpu.refused"
    assert refused.read_text() == venvs._circumstances(machine.locks / "torch-cpu.txt")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{machine.wheels} {machine.root}")
    assert refused.read_text() != venvs._circumstances(machine.locks / "torch-cpu.txt")


def test_an_unreachable_index_is_told_from_a_missing_wheel(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the error says so, and the fallback, which could not be had either, is not tried."""
    machine.lock("torch-cpu", "1.0", sha256="ab" * 32)
    machine.lock("torch-cuda", "1.0")
    monkeypatch.delenv("PIP_NO_INDEX")
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "FIND_LINKS": "", "RETRIES": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(HwprofError, match="pip could not reach its index"):
        machine.ensure("torch", "cpu")


def test_two_at_once_make_one_environment(machine: Machine) -> None:
    """A process that comes second says that it waits, and then finds the environment made."""
    lock = machine.lock("torch-cuda", "1.0")
    folder = machine.root / ".venv" / "torch-cuda"
    folder.parent.mkdir()
    waits = threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        waits.set()

    second = threading.Thread(target=lambda: ensure("torch", "cuda", say=say, root=machine.root))
    with Path(folder.with_name(".torch-cuda.lock")).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second.start()
        assert waits.wait(60)
        stamped(machine, lock, python=sys.executable)
    second.join(60)
    assert said == ["Another process is installing torch-cuda; waiting for it."]


def test_an_unknown_lock_is_refused_with_the_known_ones(machine: Machine) -> None:
    """A framework or variant without a lock names those that there are."""
    machine.lock("torch-cuda", "1.0")
    with pytest.raises(HwprofError, match=r"no lock for 'mxnet-cpu'\. Known: torch-cuda\."):
        machine.ensure("mxnet", "cpu")


def test_a_smaller_lock_is_added_to_and_a_larger_one_does(machine: Machine) -> None:
    """An environment of the smaller lock of a family grows in place, and the grown one serves for both."""
    folder = machine.root / ".venv" / "toolkit"
    small, large = machine.lock("toolkit", "1.0"), machine.lock("dev", "1.0", package="extra")
    for lock in (small, large, small):
        venvs.install(folder, lock, say=machine.said.append, family=(small, large))
    assert [line.split(";")[0] for line in machine.said] == [
        "Installing toolkit from containers/locks/toolkit.txt",
        "Installing toolkit from containers/locks/dev.txt",
    ]
    subprocess.run([folder / "bin" / "python", "-c", "import tiny, extra"], check=True)


def test_a_folder_that_cannot_be_written_is_one_line(machine: Machine) -> None:
    """Where .venv cannot be made, the error names the folder."""
    machine.lock("torch-cuda", "1.0")
    (machine.root / ".venv").write_text("not a folder")
    with pytest.raises(HwprofError, match=r"Cannot make the environment .*torch-cuda"):
        machine.ensure()


def test_set_up_needs_the_standard_library_only(tmp_path: Path) -> None:
    """The module that make's set-up runs imports with no installed package in sight."""
    copied = shutil.copytree(venvs.ROOT / "toolkit", tmp_path / "toolkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(venvs.ROOT / "containers", tmp_path / "containers")
    command = [sys.executable, "-S", "-c", "import containers.bootstrap"]
    subprocess.run(command, cwd=copied.parent, check=True, env={"PATH": "/usr/bin:/bin"})
