"""The command line of a container: what each kind of engine, caller and device gets. Nothing is run."""

import csv
import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from toolkit.capture import containers, cuda, environment
from toolkit.capture.engines import Engine
from toolkit.capture.images import Image
from toolkit.capture.samplers.nvml import Gpu, Presence
from toolkit.errors import HwprofError
from toolkit.spec import RunSpec

DOCKER = Engine("docker", "/usr/bin/docker", "27.5.1")
PODMAN = Engine("podman", "/usr/bin/podman", "5.4.0", cdi=True)
IMAGE = Image(
    "hwprof-torch-cpu:abc", "sha256:0123", {}, "torch", "cpu", Path("torch-cpu.txt"), "abc", built=False, fallback=None
)  # fmt: skip
GPUS = (Gpu(1, "A", "GPU-aa", None), Gpu(0, "B", "GPU-bb", None))
CALLER, GROUP = 1234, 567


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A caller who is not root, none of the variables that go in, and a machine without CDI or Yama."""
    monkeypatch.setattr(os, "getuid", lambda: CALLER)
    monkeypatch.setattr(os, "getgid", lambda: GROUP)
    monkeypatch.setattr(containers, "CDI_DIRECTORIES", (tmp_path / "cdi",))
    monkeypatch.setattr(containers, "YAMA", tmp_path / "ptrace_scope")
    for name in environment.RECORDED_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def words(engine: Engine, folder: Path = Path("/runs/a"), gpus: tuple[Gpu, ...] = (), **settings: Any) -> list[str]:
    """The command line for a spec."""
    container = containers.settle(engine, IMAGE, RunSpec(**settings), gpus=gpus, variables={})
    return containers.command(container, name="n", folder=folder, inside=["-c", "pass"])


def values(command: list[str], option: str) -> list[str]:
    """What the command line gives an option, in order."""
    return [after for word, after in itertools.pairwise(command) if word == option]


@pytest.mark.parametrize(
    ("engine", "user", "userns"),
    [
        (DOCKER, f"{CALLER}:{GROUP}", []),
        (DOCKER._replace(rootless=True), "0:0", []),
        (DOCKER._replace(remapped=True), f"{CALLER}:{GROUP}", ["--userns=host"]),
        (PODMAN, f"{CALLER}:{GROUP}", []),
        (PODMAN._replace(rootless=True), f"{CALLER}:{GROUP}", ["--userns=keep-id"]),
    ],
    ids=["docker", "rootless docker", "docker that remaps", "podman", "rootless podman"],
)
def test_the_caller_owns_what_is_written(engine: Engine, user: str, userns: list[str]) -> None:
    """Whoever is inside is the caller outside, by the mapping that the engine has."""
    command = words(engine)
    assert values(command, "--user") == [user]
    assert [word for word in command if word.startswith("--userns")] == userns


def test_root_is_nobody_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run folder is lent; where root is a rootless engine's caller, its root is already nobody outside."""
    monkeypatch.setattr(os, "getuid", lambda: 0)
    container = containers.settle(DOCKER, IMAGE, RunSpec(), gpus=(), variables={})
    assert (container.user, container.lend_to) == ("65532:65532", 65532)
    container = containers.settle(DOCKER._replace(rootless=True), IMAGE, RunSpec(), gpus=(), variables={})
    assert (container.user, container.lend_to) == ("0:0", None)


@pytest.mark.parametrize(
    ("scope", "pyspy", "added"),
    [(None, True, []), ("0", True, []), ("1", True, []), ("2", True, ["SYS_PTRACE"]), ("2", False, [])],
)
def test_ptrace_is_given_only_where_py_spy_needs_it(
    scope: str | None, *, pyspy: bool, added: list[str]
) -> None:  # fmt: skip
    """Asked for, and a kernel that wants the capability; in scope 1 the worker itself lets py-spy in."""
    if scope:
        containers.YAMA.write_text(f"{scope}\n")
    command = words(DOCKER, pyspy=pyspy)
    assert values(command, "--cap-add") == added
    assert values(command, "--cap-drop") == ["ALL"]


def test_an_engine_s_own_ways(tmp_path: Path) -> None:
    """Podman would pass the host's proxies on; a labelled host would refuse the mounts."""
    assert "--http-proxy=false" in words(PODMAN)
    assert "--http-proxy=false" not in words(DOCKER)
    assert values(words(DOCKER._replace(selinux=True)), "--security-opt") == ["no-new-privileges", "label=disable"]


def test_gpus_come_by_cdi_where_it_knows_them_else_by_docker_s_own_way() -> None:
    """All of them, so that they keep their numbers; those to be used are named by UUID."""
    command = words(DOCKER._replace(cdi=True), gpus=GPUS)
    assert values(command, "--gpus") == ["all"]
    assert "CUDA_VISIBLE_DEVICES=GPU-aa,GPU-bb" in values(command, "--env")
    with pytest.raises(HwprofError, match=r"podman 5\.4\.0 has no GPU to give.*nvidia-ctk cdi generate"):
        words(PODMAN, gpus=GPUS)
    (folder,) = containers.CDI_DIRECTORIES
    folder.mkdir()
    (folder / "nvidia.yaml").write_text("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n")
    for engine in (PODMAN, DOCKER._replace(cdi=True)):
        assert values(words(engine, gpus=GPUS), "--device") == ["nvidia.com/gpu=all"]
    assert values(words(DOCKER, gpus=GPUS), "--gpus") == ["all"]


def test_without_a_gpu_none_comes_in() -> None:
    """Not even where a base image asks for all of them."""
    command = words(DOCKER)
    assert values(command, "--gpus") == values(command, "--device") == []
    assert "NVIDIA_VISIBLE_DEVICES=void" in values(command, "--env")


@pytest.mark.parametrize("name", ["plain", "a,b", 'a"b', '",dst=/etc,"', "a:b", "a b", "ü", "=", "a\\b", "$HOME"])
def test_a_folder_of_any_name_is_one_mount(name: str) -> None:
    """--mount is one line of comma-separated values, and no name breaks out of its own."""
    mounts = values(words(DOCKER, Path("/runs", name), data_dir=f"/data of {name}"), "--mount")
    assert [next(csv.reader([mount])) for mount in mounts] == [
        ["type=bind", f"src=/runs/{name}", "dst=/out"],
        ["type=bind", f"src=/data of {name}", "dst=/data", "readonly"],
    ]


@pytest.mark.parametrize("name", ["a\nb", "a\rb"])
def test_a_line_break_in_a_folder_s_name_is_refused(name: str) -> None:
    """In one line, naming the folder."""
    with pytest.raises(HwprofError, match="holds a line break") as refused:
        words(DOCKER, Path("/runs", name))
    assert "\n" not in str(refused.value)


def test_only_listed_variables_go_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes a framework's computation does, what may be a secret does not; proxies are emptied."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_x=1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy")
    command = words(DOCKER)
    assert "XLA_FLAGS=--xla_x=1" in values(command, "--env")
    assert "HTTPS_PROXY=" in values(command, "--env")
    assert not [word for word in command if "hunter2" in word]


def test_limits_that_an_engine_cannot_give_are_left_out_and_named() -> None:
    """As with a rootless engine to which no controller is delegated."""
    engine = PODMAN._replace(rootless=True, controllers=frozenset({"pids"}))
    container = containers.settle(engine, IMAGE, RunSpec(limit_processes=70), gpus=(), variables={})
    command = containers.command(container, name="n", folder=Path("/runs/a"), inside=[])
    assert values(command, "--pids-limit") == ["70"]
    assert not {"--memory", "--memory-swap", "--cpuset-cpus"} & set(command)
    assert containers.unlimited(container) == (
        "rootless podman 5.4.0 cannot limit memory, processors here: those controllers of cgroup v2 are not delegated "
        "to it."
    )
    assert containers.unlimited(containers.settle(DOCKER, IMAGE, RunSpec(), gpus=(), variables={})) is None


def test_limits_by_default_and_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No swap beside the memory; half of the memory may be shared; processors of those that hwprof itself may use."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 2, 9})
    assert values(words(DOCKER), "--cpuset-cpus") == ["2,5,9"]
    command = words(DOCKER, limit_memory_mib=512, limit_processors=2)
    assert values(command, "--memory") == values(command, "--memory-swap") == [str(512 << 20)]
    assert values(command, "--shm-size") == [str(256 << 20)]
    assert values(command, "--cpuset-cpus") == ["2,5"]
    with pytest.raises(HwprofError, match="limit_processors=4, but hwprof itself may use 3"):
        containers.check_limits(RunSpec(limit_processors=4))


@pytest.mark.parametrize(
    ("needed", "runs", "said"),
    [
        ("13.0", (12, 9), "needs CUDA 13.0, but driver 575.10 runs CUDA up to 12.9"),
        ("12.9", (11, 8), "needs CUDA 12.9, but driver 575.10 runs CUDA up to 11.8"),
        ("12.9", (12, 0), None),
        ("12.9", (13, 1), None),
        ("13.0", None, None),
    ],
)
def test_a_driver_runs_every_cuda_of_its_major_version_and_older(
    needed: str, runs: tuple[int, int] | None, said: str | None
) -> None:
    """Minor versions do not matter, newer drivers run older CUDA, and one that does not say is not refused."""
    found = cuda.mismatch(needed, Presence(GPUS, "575.10", None, runs))
    assert (found.problem if found else None) == said
