"""What can go wrong around a run in a container: permissions, memory, disk, signals, an engine that dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker import DOCKER, caged, kept, left, start, training_container
from tests.small_disk import ends_for_want_of_room, small_disk
from tests.test_cli import REPO, hwprof
from tests.test_run import PATIENCE_S, SMALL, interrupt, run, status, wait_for
from toolkit.capture import containers, images
from toolkit.capture.engines import Engine
from toolkit.errors import BAD_INPUT
from toolkit.reports import summary_json, tensorboard_text

pytestmark = pytest.mark.e2e

STRANGER = 12345
AS_STRANGER = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}")


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for a user who is not root, and not in any group; pytest's own folders are closed to others."""
    if os.getuid():
        pytest.skip("the test starts hwprof as a second user, which takes root")
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, STRANGER, STRANGER)
        monkeypatch.setenv("HOME", home)
        yield Path(home)


def as_stranger(*arguments: str | Path, groups: str) -> subprocess.CompletedProcess[str]:
    """`hwprof` as that user, with these supplementary groups, by a Python that lies where others may go."""
    whose = [*AS_STRANGER, f"--groups={groups}" if groups else "--clear-groups"]
    again = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    system = Path("/usr/bin", f"python3.{sys.version_info.minor}")
    for python in (sys.executable, system):
        if subprocess.run([*whose, python, "-c", again], capture_output=True, check=False).returncode == 0:
            places = os.pathsep.join([str(REPO), sysconfig.get_path("purelib")])
            command = [*whose, python, "-c", "from toolkit.commands.cli import main; main()", *arguments]
            variables = os.environ | {"PYTHONPATH": places}
            return subprocess.run(command, cwd=REPO, env=variables, capture_output=True, text=True, check=False)
    pytest.skip(f"the second user may enter the folders of no Python: neither {sys.executable} nor {system}")


def socket_path() -> Path:
    """Where docker's engine listens."""
    return Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))


def test_a_caller_who_is_not_root_gets_their_own_files(engine: Engine, image: images.Image, stranger: Path) -> None:
    """Their user runs inside and owns every file; belonging to the socket's group is enough."""
    group = str(socket_path().stat().st_gid)
    settings = [f"--set={setting}" for setting in (*SMALL, "passes=time", "epochs=1", DOCKER)]
    answer = as_stranger("run", "--runs", stranger / "runs", *settings, groups=group)
    assert answer.returncode == 0, answer.stderr
    (folder,) = (stranger / "runs").iterdir()
    assert {path.lstat().st_uid for path in (folder, *folder.rglob("*"))} == {STRANGER}
    assert json.loads((folder / "run.json").read_text())["runtime"]["user"] == f"{STRANGER}:{STRANGER}"


def test_an_engine_without_permission_is_one_line(engine: Engine, stranger: Path) -> None:
    """In docker's own words, with the remedy; exit code 2, and nothing begun."""
    settings = [f"--set={setting}" for setting in (*SMALL, DOCKER)]
    answer = as_stranger("run", "--runs", stranger / "runs", *settings, groups="")
    assert answer.returncode == BAD_INPUT
    (line,) = (line for line in answer.stderr.splitlines() if line.startswith("hwprof:"))
    assert "permission denied" in line
    assert "add the user to the group docker" in line
    assert not (stranger / "runs").exists()


def test_without_an_engine_docker_is_an_error_and_auto_is_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for by name is not replaced; auto says why it takes the local environment."""
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = hwprof("run", "--runs", tmp_path / "runs", *(f"--set={setting}" for setting in (*SMALL, DOCKER)))
    assert answer.returncode == BAD_INPUT
    assert answer.stderr.splitlines()[-1].startswith("hwprof: docker: not installed. Install docker, or use runtime=l")
    folder = run(tmp_path / "runs", "passes=time", "epochs=1", "runtime=auto")
    runtime = json.loads((folder / "run.json").read_text())["runtime"]
    assert (runtime["name"], runtime["asked"], runtime["fallbacks"]) == ("local", "auto", [])
    assert runtime["why"] == "Runtime local (auto: docker: not installed; podman: not installed)."


def test_an_image_that_cannot_be_had(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither there nor to be built, as without a network: an error for docker, a fallback in every report for auto."""
    monkeypatch.setenv(images.BASE_VARIABLE, "registry.invalid/no/such:image")
    answer = hwprof("run", "--runs", tmp_path / "runs", *(f"--set={setting}" for setting in (*SMALL, DOCKER)))
    assert answer.returncode != 0
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("hwprof: ")
    assert "registry.invalid/no/such:image" in last
    assert "HWPROF_BASE_IMAGE" in last
    folder = run(tmp_path / "runs", "passes=time", "epochs=1", "runtime=auto")
    runtime = json.loads((folder / "run.json").read_text())["runtime"]
    assert runtime["name"] == "local"
    (fallback,) = runtime["fallbacks"]
    assert fallback.startswith(f"The local environment stands in for {engine}: ")
    assert "registry.invalid/no/such:image" in fallback
    shown = " ".join(hwprof("show", "last", "--runs", folder.parent).stdout.split())
    assert "fallback: The local environment stands in" in shown
    assert "stands in for docker" in tensorboard_text.text(folder)


# --- ends that are not well


def test_a_worker_killed_for_memory_is_out_of_memory(engine: Engine, tmp_path: Path) -> None:
    """The supervisor inside lives on, and tells it by the container's own count of such kills."""
    settings = ["limit_memory_mib=800", "batch=4096", "image_size=64", "passes=time", DOCKER]
    folder = run(tmp_path, *settings, code=1)
    ended = status(tmp_path)
    assert (ended["status"], ended["reason"]) == (
        "out_of_memory", "time pass: the kernel killed the worker for memory",
    )  # fmt: skip
    assert left(engine, folder.name) == []


def test_a_first_process_killed_for_memory_is_out_of_memory(
    engine: Engine, image: images.Image, tmp_path: Path
) -> None:
    """Nobody inside is left to tell it: the engine does."""
    code = "import mmap; hog = mmap.mmap(-1, 1 << 30); hog.write(bytes(1 << 30))"
    ended = kept(caged(engine, image, limit_memory_mib=100), tmp_path, code)
    assert (ended["status"], ended["reason"]) == ("out_of_memory", "the kernel killed the container for memory")


def test_too_little_memory_to_begin_with_is_said_before_the_run(engine: Engine, tmp_path: Path) -> None:
    """A limit in which not even Python starts ends in one line, without a run."""
    settings = [f"--set={setting}" for setting in (*SMALL, DOCKER, "limit_memory_mib=6")]
    answer = hwprof("run", "--runs", tmp_path, *settings)
    assert answer.returncode == 1
    assert "the kernel killed the container for memory" in answer.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_container_that_someone_kills_is_recorded_as_killed(engine: Engine, tmp_path: Path) -> None:
    """`docker kill`: what was recorded is kept, the epoch is marked incomplete, and nothing is left."""
    process = start(tmp_path)
    name = wait_for(lambda: training_container(tmp_path))
    subprocess.run([engine.program, "kill", name], check=True, capture_output=True)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "killed: time pass: the container was killed by SIGKILL" in errors.splitlines()[-1]
    assert status(tmp_path)["status"] == "killed"
    summary = summary_json.read(next(tmp_path.glob("*/summary.json")))
    assert [epoch.complete for epoch in summary.epochs] == [False]
    assert left(engine, name) == []


def test_a_container_that_someone_stops_ends_in_order(engine: Engine, tmp_path: Path) -> None:
    """`docker stop` reaches the first process: the worker closes its record, and the run is interrupted."""
    process = start(tmp_path)
    name = wait_for(lambda: training_container(tmp_path))
    subprocess.run([engine.program, "stop", name], check=True, capture_output=True)
    process.communicate(timeout=PATIENCE_S)
    assert status(tmp_path)["status"] == "interrupted"
    assert next(tmp_path.glob("*/raw/time/worker.jsonl")).read_text().splitlines()[-1].startswith('["clock"')
    assert left(engine, name) == []


def test_a_container_that_hangs_is_ended_from_outside(
    engine: Engine, image: images.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first process that heeds neither its time limit nor any signal."""
    code = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()"
    monkeypatch.setattr(containers, "GRACE_S", 0)
    ended = kept(caged(engine, image, timeout_s=1), tmp_path, code)
    assert ended["status"] == "timed_out"
    assert ended["reason"] == "it ran past timeout_s=1 and did not end by itself"


def test_a_run_past_its_time_is_ended_inside(engine: Engine, tmp_path: Path) -> None:
    """timeout_s ends the pass as it does locally."""
    folder = run(tmp_path, "steps=100000", "timeout_s=8", DOCKER, code=1)
    assert json.loads((folder / "run.json").read_text())["status"] == "timed_out"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_container(number: signal.Signals, engine: Engine, tmp_path: Path) -> None:
    """Exit code 130, status interrupted, a readable report, and no container."""
    process = start(tmp_path, "passes=time")
    name = wait_for(lambda: training_container(tmp_path))
    interrupt(process, number, tmp_path)
    assert left(engine, name) == []


def test_a_dead_launcher_takes_its_container_with_it(engine: Engine, tmp_path: Path) -> None:
    """Killed hard, it leaves no container and no file of another user, and its run shows as incomplete."""
    process = start(tmp_path)
    name = wait_for(lambda: training_container(tmp_path))
    process.kill()
    process.communicate()
    assert wait_for(lambda: not left(engine, name))
    assert wait_for(lambda: {path.lstat().st_uid for path in tmp_path.rglob("*")} == {os.getuid()})
    (listed,) = json.loads(hwprof("list", "--runs", tmp_path, "--json").stdout)
    assert listed["status"] == "incomplete"


def test_a_full_disk_ends_the_run_with_one_clear_line(engine: Engine, tmp_path: Path) -> None:
    """As locally: the line names the folder, and no container is left."""
    with small_disk(tmp_path, "120k"):
        ends_for_want_of_room(tmp_path, *SMALL, DOCKER)
        (folder,) = tmp_path.iterdir()
        assert left(engine, folder.name) == []


class Relay:
    """Stands between docker's client and its engine, and can go away as an engine does that dies."""

    def __init__(self, path: Path, engine: Path) -> None:
        self._engine = engine
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._open = [self._server]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._engine))
            self._open += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """Drops every connection, and takes no more."""
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                each.close()


@pytest.fixture
def relay(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """An engine's address that can be made to die."""
    # Not in pytest's folder: a socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder, "s")
        relayed = Relay(address, socket_path())
        monkeypatch.setenv("DOCKER_HOST", f"unix://{address}")
        yield relayed
        relayed.close()


def test_an_engine_that_dies_in_mid_run_is_recorded(
    engine: Engine, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run failed, in the client's own words; its record is kept, and what ran in the container ends too."""
    process = start(tmp_path)
    name = wait_for(lambda: training_container(tmp_path))
    relay.close()
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert f"failed: time pass: {engine} lost the container: " in errors.splitlines()[-1]
    assert status(tmp_path)["status"] == "failed"
    assert summary_json.read(next(tmp_path.glob("*/summary.json"))).steps[0].steps > 0
    monkeypatch.setenv("DOCKER_HOST", f"unix://{relay._engine}")
    command = [engine.program, "ps", "--quiet", "--filter", f"name={name}"]
    assert wait_for(lambda: not subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    subprocess.run([engine.program, "rm", "--force", name], check=True, capture_output=True)
