"""`hwprof doctor` on machines that lack something: for real, in mount namespaces or behind sockets of their own."""

import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.commands import HWPROF, REPO
from tests.drivers import POWERLESS, scripted
from tests.test_engines import DOCKER, PODMAN, put
from toolkit.capture import doctor, images, venvs
from toolkit.capture.checks import host, versions
from toolkit.capture.checks.machine import Finding, Machine, warning
from toolkit.capture.engines import Engine
from toolkit.capture.samplers import pyspy
from toolkit.clock import ClockPair
from toolkit.reports.doctor import Diagnosis

# A doctor that waits for an engine as long as the engine's own client does would need half a minute.
PATIENCE_S = 25
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
OLD_DRIVER = "driver 470.57.02\ncuda 11040\n"


UNSHARE = shutil.which("unshare") or "unshare"
MOUNT = shutil.which("mount") or "mount"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - mounted over in a namespace of the test's own


def mounted(at: Path, size: str) -> tuple[str, ...]:
    """A prefix that runs a command where `at` is a disk of that size, which that command alone sees."""
    script = f'{MOUNT} -t tmpfs -o size={size} none "$0" && exec "$@"'
    return UNSHARE, "--mount", "/bin/sh", "-c", script, str(at)


def mounts_work() -> bool:
    """Whether this user may mount at all."""
    try:
        return (
            subprocess.run([*mounted(Path("/mnt"), "1m"), "/bin/true"], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


needs_docker = pytest.mark.skipif(shutil.which("docker") is None, reason="needs docker's client")
needs_mounts = pytest.mark.skipif(not mounts_work(), reason="needs the right to mount, as root has it")
as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to do something as another user")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The variables of a machine without container engines: its PATH holds nothing."""
    (tmp_path / "bin").mkdir()
    hidden = {"CUDA_VISIBLE_DEVICES", "DOCKER_HOST", "COLUMNS", "NO_COLOR", "FORCE_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"PATH": str(tmp_path / "bin")}


def examined(
    *arguments: str | Path, env: dict[str, str], prefix: tuple[str, ...] = (), ready: bool = True
) -> Diagnosis:
    """What `hwprof doctor --json` says; it has to end well, in the way that `ready` says."""
    command = [*prefix, HWPROF, "doctor", "--json", *arguments]
    done = subprocess.run(
        command, cwd=REPO, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0 if ready else 1, "")
    diagnosis = msgspec.json.decode(done.stdout, type=Diagnosis)
    assert diagnosis.ready == ready
    return diagnosis


def found(diagnosis: Diagnosis, name: str) -> Finding:
    """The one finding of that name."""
    (finding,) = (finding for finding in diagnosis.findings if finding.name == name)
    return finding


def test_every_check_says_something_and_json_keeps_to_its_form(bare: dict[str, str], tmp_path: Path) -> None:
    """One object: version, ready, findings of four fields; a remedy with all that is not ok and with nothing else."""
    done = subprocess.run([HWPROF, "doctor", "--json"], cwd=REPO, env=bare, capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)
    assert list(said) == ["hwprof", "ready", "findings"]
    assert all(list(finding) == ["name", "state", "found", "remedy"] for finding in said["findings"])
    assert all((finding["remedy"] is None) == (finding["state"] == "ok") for finding in said["findings"])
    names = [finding["name"] for finding in said["findings"]]
    assert len(set(names)) == len(names)
    assert {"python", "runs", "docker", "podman", "gpu", "shm", "py-spy", "clock"} <= set(names)
    assert said["ready"] == all(finding["state"] != "problem" for finding in said["findings"]) == (not done.returncode)


def test_without_engines_runs_are_local_and_it_says_so(bare: dict[str, str]) -> None:
    """Docker and podman that are not installed are a warning each, and no reason not to run."""
    diagnosis = examined(env=bare)
    for name in ("docker", "podman"):
        finding = found(diagnosis, name)
        assert (finding.state, finding.found[:13]) == ("warning", "not installed")
        assert finding.remedy == f"Install {name}, or use runtime=local."


@pytest.mark.e2e
def test_an_engine_that_answers_is_described(engine: Engine) -> None:
    """Its version as it says it itself, and whether it can build; and a line for the image of each framework."""
    diagnosis = examined(env=dict(os.environ))
    finding = found(diagnosis, "docker")
    assert finding.state == "ok"
    assert finding.found.startswith(f"{engine.version}, ")
    assert "BuildKit" in finding.found
    assert {"docker torch-cpu", "docker tf-cpu"} <= {finding.name for finding in diagnosis.findings}


@pytest.mark.e2e
@needs_docker
def test_a_dead_socket_is_a_warning_in_docker_s_own_words(tmp_path: Path) -> None:
    """An address where nothing listens: which, and what to do; runs go elsewhere."""
    finding = found(examined(env=os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/gone"}), "docker")
    assert finding.state == "warning"
    assert f"unix://{tmp_path}/gone" in finding.found
    assert finding.remedy == "Start the engine, check DOCKER_HOST, or use runtime=local."


@pytest.fixture
def silent_socket(tmp_path: Path) -> Iterator[Path]:
    """A socket that takes connections and never answers."""
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


@pytest.mark.e2e
@needs_docker
def test_an_engine_that_never_answers_holds_nobody_up(silent_socket: Path) -> None:
    """It is given up, and named; everything else is looked at all the same."""
    diagnosis = examined(env=os.environ | {"DOCKER_HOST": f"unix://{silent_socket}"})
    finding = found(diagnosis, "docker")
    assert finding.state == "warning"
    assert "does not answer within 2 s" in finding.found
    assert found(diagnosis, "clock").state == "ok"


@pytest.mark.e2e
@needs_docker
@as_root
def test_a_socket_without_permission_says_who_may_use_it(silent_socket: Path) -> None:
    """Another user's socket, without root's right to pass: permission denied, and the group that has it."""
    silent_socket.chmod(0o600)
    os.chown(silent_socket, 65534, 65534)
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    finding = found(examined(env=os.environ | {"DOCKER_HOST": f"unix://{silent_socket}"}, prefix=prefix), "docker")
    assert finding.state == "warning"
    assert "permission denied" in finding.found
    assert "group docker" in str(finding.remedy)


def test_a_driver_too_old_for_a_lock_is_a_problem_with_numbers(
    bare: dict[str, str], driver: Path, tmp_path: Path
) -> None:
    """Both CUDA versions, the driver's own, and the one to install; runs would take the GPU, so exit code 1."""
    old = {"NVML_SCRIPT": scripted(tmp_path, OLD_DRIVER + "gpu Stub GPU")}
    diagnosis = examined(env=bare | old | {"LD_LIBRARY_PATH": str(driver)}, ready=False)
    finding = found(diagnosis, "cuda torch")
    assert finding.state == "problem"
    assert finding.found == "needs CUDA 13.0, but driver 470.57.02 runs CUDA up to 11.4"
    assert finding.remedy == "Install NVIDIA's driver 580 or newer, or use DEVICE=cpu."
    assert "525 or newer" in str(found(diagnosis, "cuda tf").remedy)


def test_a_driver_that_fits_is_said_with_its_gpu(bare: dict[str, str], driver: Path) -> None:
    """Name, memory, driver; each lock's CUDA runs; NVML's own file; a new major version runs the older one's."""
    diagnosis = examined(env=bare | {"LD_LIBRARY_PATH": str(driver)})
    assert found(diagnosis, "gpu 0").found == "Stub GPU, 8 GiB, driver 580.00.01, CUDA 13.0"
    assert {found(diagnosis, f"cuda {name}").state for name in ("torch", "tf")} == {"ok"}
    assert found(diagnosis, "nvml").found.startswith(f"{driver}/libnvidia-ml.so.1: power, energy")
    assert "env torch-cuda" in {finding.name for finding in diagnosis.findings}


def test_what_a_gpu_does_not_tell_is_named(bare: dict[str, str], driver: Path, tmp_path: Path) -> None:
    """A GPU without a power sensor has no power and no energy, in NVML's own words."""
    diagnosis = examined(env=bare | {"LD_LIBRARY_PATH": str(driver), "NVML_SCRIPT": scripted(tmp_path, POWERLESS)})
    assert "power (Not Supported), energy (Not Supported)" in found(diagnosis, "nvml").found


@pytest.mark.usefixtures("no_cdi")
def test_an_engine_that_cannot_pass_gpus_on_says_what_it_lacks(bare: dict[str, str], driver: Path) -> None:
    """Docker NVIDIA's hook, podman a CDI specification; where both are found, how they are passed on."""
    folder = Path(bare["PATH"])
    put(folder, "docker", answer=DOCKER)
    put(folder, "podman", answer=PODMAN)
    diagnosis = examined(env=bare | {"LD_LIBRARY_PATH": str(driver)})
    assert found(diagnosis, "docker gpus").remedy == "Install NVIDIA's container toolkit."
    assert "nvidia-ctk cdi generate" in str(found(diagnosis, "podman gpus").remedy)
    put(folder, "nvidia-container-runtime-hook")
    assert (
        found(examined(env=bare | {"LD_LIBRARY_PATH": str(driver)}), "docker gpus").found == "passed on by --gpus all"
    )


def test_hidden_gpus_are_no_gpus(bare: dict[str, str], driver: Path, tmp_path: Path) -> None:
    """CUDA_VISIBLE_DEVICES counts here as in runs: no device to mismatch, and the variable to unset."""
    hidden = {"LD_LIBRARY_PATH": str(driver), "CUDA_VISIBLE_DEVICES": "-1"}
    old = {"NVML_SCRIPT": scripted(tmp_path, OLD_DRIVER + "gpu Stub GPU")}
    diagnosis = examined(env=bare | old | hidden)
    assert "CUDA_VISIBLE_DEVICES='-1' hides them" in found(diagnosis, "gpu").found
    assert "cuda torch" not in {finding.name for finding in diagnosis.findings}


@needs_mounts
@pytest.mark.parametrize(("room", "state"), [("1m", "problem"), ("200m", "warning"), ("2g", "ok")])
def test_a_full_disk_stops_runs(bare: dict[str, str], tmp_path: Path, room: str, state: str) -> None:
    """A disk too small for one run is a problem, one too small for long ones a warning."""
    prefix = mounted(tmp_path, room)
    diagnosis = examined("--runs", tmp_path / "runs", env=bare, prefix=prefix, ready=state != "problem")
    finding = found(diagnosis, "runs")
    assert finding.state == state
    assert f"{tmp_path / 'runs'}: " in finding.found


@needs_mounts
def test_a_small_shared_memory_is_said_in_loader_workers(bare: dict[str, str]) -> None:
    """As in a container of docker's defaults: how many loader processes it does for, and how to enlarge it."""
    finding = found(examined(env=bare, prefix=mounted(SHARED_MEMORY, "64m")), "shm")
    assert finding.state == "warning"
    assert f"{SHARED_MEMORY}: 64 MiB free, for 1 loader workers" in finding.found
    assert "LOADER_WORKERS=1 or fewer" in str(finding.remedy)


def test_runs_that_cannot_be_written_are_a_problem(bare: dict[str, str], tmp_path: Path) -> None:
    """A file where the folder should be, in the launcher's own words."""
    (tmp_path / "runs").write_text("")
    finding = found(examined("--runs", tmp_path / "runs", env=bare, ready=False), "runs")
    assert finding.remedy == "Give another with --runs."


def test_it_fits_80_columns_without_colour_in_a_pipe(bare: dict[str, str], driver: Path, tmp_path: Path) -> None:
    """However long what it found is; and a GPU's name cannot speak to the terminal. No framework's CUDA runs there."""
    script = scripted(tmp_path, OLD_DRIVER + "gpu \x1b[31m" + "GPU " * 20)
    named = {"NVML_SCRIPT": script, "COLUMNS": "80", "LD_LIBRARY_PATH": str(driver)}
    done = subprocess.run(
        [HWPROF, "doctor"], cwd=REPO, env=bare | named, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 1
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("make profile cannot run here: 3 problems.")


def test_output_that_takes_ascii_alone_breaks_nothing(bare: dict[str, str], tmp_path: Path) -> None:
    """A name that a terminal or pipe cannot take is shown with question marks."""
    command = [HWPROF, "doctor", "--runs", tmp_path / "läufe"]
    environment = bare | {"PYTHONIOENCODING": "ascii", "COLUMNS": "300"}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"{tmp_path}/l?ufe: ".encode() in done.stdout


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_that_want_it(
    bare: dict[str, str], variables: dict[str, str], *, coloured: bool
) -> None:
    """States are coloured on a terminal; NO_COLOR is heeded."""
    ours, theirs = pty.openpty()
    environment = bare | {"TERM": "xterm-256color"} | variables
    with subprocess.Popen([HWPROF, "doctor"], cwd=REPO, env=environment, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        # Linux ends a terminal whose other side is closed with an error.
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            os.close(ours)
    assert process.returncode == 0
    assert "make profile can run here" in shown.decode()
    assert bool(COLOUR.search(shown.decode())) == coloured


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without engines, whose repository is a copy of ours."""
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    for folder in ("containers", "toolkit"):
        shutil.copytree(REPO / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return Machine(runs=tmp_path / "runs", root=tmp_path)


def test_environments_are_current_stale_or_missing(machine: Machine) -> None:
    """By their stamps, as local runs tell them; with what it takes to make one, from the lock's own first line."""
    made = machine.root / ".venv" / "tf-cpu"
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "python").symlink_to(sys.executable)
    lock = machine.root / "containers" / "locks" / "tf-cpu.txt"
    venvs._write_stamp(made, lock)
    said = {finding.name: finding.found for finding in versions.environments(machine)}
    assert said["env tf-cpu"] == "there, of the lock as it is"
    assert said["env torch-cpu"] == "not there yet; the first run that needs it makes it; about 230 MB"
    lock.write_text(lock.read_text() + "# moved\n")
    said = {finding.name: finding.found for finding in versions.environments(machine)}
    assert said["env tf-cpu"] == "of another lock or Python; the first run that needs it makes it; about 320 MB"


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("{lock}-{sources}", "there, of lock and sources as they are"),
        ("{lock}-0123456789ab", "of the lock as it is and older sources; the next run renews its last layer"),
        ("0123456789ab-{sources}", "of another lock; the first run that needs it makes it; about 320 MB"),
    ],
)
def test_images_are_told_by_lock_and_sources(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, says: str
) -> None:
    """By their names, of which an engine lists those it holds; podman puts its own registry before them."""
    name = images.name(images.Recipe("tf", "cpu", machine.root))
    lock, _, sources = name.partition(":")[2].partition("-")
    held = f"localhost/hwprof-tf-cpu:{tag.format(lock=lock, sources=sources)}"
    put(tmp_path, "podman", answer=PODMAN)
    monkeypatch.setenv("PATH", str(tmp_path))
    machine = Machine(runs=tmp_path, root=machine.root)
    (tmp_path / "podman").write_text(f"#!/bin/sh\necho {held}\n")
    said = {finding.name: finding.found for finding in versions.images_there(machine)}
    assert said["podman torch-cpu"] == "not there yet; the first run that needs it makes it; about 230 MB"
    assert said["podman tf-cpu"] == says


@needs_mounts
def test_a_disk_too_small_for_an_environment_is_a_problem(machine: Machine) -> None:
    """What it takes, what is free and where, before an installation fails half way."""
    (machine.root / ".venv").mkdir()
    code = """
import sys
from pathlib import Path
from toolkit.capture.checks import versions
from toolkit.capture.checks.machine import Machine
root = Path(sys.argv[1])
print(*versions.environments(Machine(runs=root, root=root)), sep="\\n")
"""
    command = [*mounted(machine.root / ".venv", "64m"), sys.executable, "-c", code, machine.root]
    shown = subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout
    assert (
        f"state='problem', found='not there yet, takes 1.1 GiB, and {machine.root / '.venv'} has 64 MiB free'" in shown
    )


def test_a_wall_clock_that_is_set_meanwhile_is_a_warning(machine: Machine) -> None:
    """Since the doctor began: runs across such a step would be untrusted."""
    machine.pair = ClockPair(machine.pair.realtime_ns - 5_000_000, machine.pair.monotonic_ns)
    (finding,) = host.clocks(machine)
    assert finding.state == "warning"
    assert "set by 5.0 ms" in finding.found


@as_root
def test_py_spy_without_permission_is_a_warning_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's py-spy may not read our process, whatever the machine's ptrace_scope."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(pyspy.PROGRAM, folder / "real")
        (folder / "py-spy").write_text(f'#!/bin/sh\nexec setpriv --reuid=65534 --clear-groups {folder}/real "$@"\n')
        (folder / "py-spy").chmod(0o755)
        monkeypatch.setattr(pyspy, "PROGRAM", folder / "py-spy")
        (finding,) = host.pyspy(Machine(runs=folder, root=REPO))
    assert finding.state == "warning"
    assert finding.found.endswith("Permission Denied")
    assert "ptrace_scope" in str(finding.remedy)


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine so odd that nobody thought of it the doctor still says what it can."""

    def odd(_: Machine) -> Iterator[Finding]:
        raise OSError("the sky fell")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "CHECKS", {"odd": odd, "clock": host.clocks})
    first, second = doctor.examine(runs=tmp_path, root=REPO)
    assert first == warning(
        "odd", "could not be looked at: OSError: the sky fell",
        "Please report this, with the output of `hwprof doctor --json`.",
    )  # fmt: skip
    assert second.name == "clock"
