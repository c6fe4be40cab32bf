"""Which container engine is found, or why none is; programs that stand in for docker and podman say what those say."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from toolkit.capture import engines

DOCKER: dict[str, Any] = {
    "ServerVersion": "27.5.1",
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "CPUSet": True,
    "PidsLimit": True,
    "CDISpecDirs": [],
    "DockerRootDir": "/var/lib/docker",
}
PODMAN: dict[str, Any] = {
    "host": {
        "cgroupVersion": "v2",
        "cgroupControllers": ["cpu", "io", "memory", "pids"],
        "security": {"rootless": True, "selinuxEnabled": True},
    },
    "version": {"Version": "5.4.0"},
    "store": {"graphRoot": "/home/me/storage"},
}
# What docker's client says where no engine answers: exit code 0, and an answer without a server in it.
NO_SERVER = {"ServerVersion": "", "SecurityOptions": None, "ServerErrors": ["…"]}


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH without any engine; and programs can be put there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(path: Path, name: str, *, answer: object = "", says: str = "", code: int = 0) -> None:
    """An engine's program that gives one answer to whatever it is asked."""
    text = json.dumps(answer) if answer else ""
    program = path / name
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{text}'\nprintf '%s\\n' '{says}' >&2\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def refusal(asked: str) -> engines.NoEngineError:
    """Why none is found."""
    with pytest.raises(engines.NoEngineError) as caught:
        engines.find(asked)
    return caught.value


def test_docker_comes_before_podman(path: Path) -> None:
    """`auto` takes docker where both answer, podman where docker does not, and each by name."""
    put(path, "docker", answer=DOCKER)
    put(path, "podman", answer=PODMAN)
    assert [engines.find(asked).name for asked in ("auto", "docker", "podman")] == ["docker", "docker", "podman"]
    put(path, "docker", answer=NO_SERVER, says="Cannot connect to the Docker daemon at unix:///nowhere.", code=0)
    assert engines.find("auto").name == "podman"


def test_what_an_engine_is_and_can_do(path: Path) -> None:
    """Version, cgroups, what it can limit, and who its containers' root is."""
    put(path, "docker", answer=DOCKER)
    put(path, "podman", answer=PODMAN)
    docker, podman = engines.find("docker"), engines.find("podman")
    assert (str(docker), docker.program) == ("docker 27.5.1", str(path / "docker"))
    assert docker.controllers == {"memory", "cpuset", "pids"}
    assert (docker.cgroup_version, docker.rootless, docker.remapped, docker.selinux, docker.cdi) == (2, *[False] * 4)
    assert str(podman) == "rootless podman 5.4.0"
    assert podman.controllers == {"memory", "pids"}
    assert (podman.rootless, podman.selinux, podman.cdi) == (True, True, True)
    assert (docker.data, podman.data) == ("/var/lib/docker", "/home/me/storage")
    options = ["name=rootless", "name=userns"]
    put(path, "docker", answer=DOCKER | {"SecurityOptions": options, "CDISpecDirs": ["/etc/cdi"]})
    docker = engines.find("docker")
    assert (docker.rootless, docker.remapped, docker.cdi) == (True, True, True)


@pytest.mark.parametrize(
    ("says", "remedy"),
    [
        ("permission denied while trying to connect to the Docker daemon socket", "add the user to the group docker"),
        ("Cannot connect to the Docker daemon at unix:///nowhere. Is the docker daemon running?", "Start the engine"),
    ],
)
def test_an_engine_that_does_not_answer_is_refused_in_its_own_words(path: Path, says: str, remedy: str) -> None:
    """With the remedy that fits, whatever the exit code; an engine that is not there is to be installed."""
    for code in (0, 1):
        put(path, "docker", answer=NO_SERVER, says=f"first words\n{says}", code=code)
        refused = refusal("auto")
        assert refused.reasons == {"docker": says.rstrip("."), "podman": "not installed"}
        assert remedy in refused.remedy
    assert refusal("podman").remedy == "Install podman, or use runtime=local."


def test_a_reason_that_stands_in_the_answer_alone_is_found(path: Path) -> None:
    """Some clients say nothing beside it, and end well."""
    put(path, "docker", answer=NO_SERVER | {"ServerErrors": ["Cannot connect to the Docker daemon."]})
    assert refusal("docker").reasons == {"docker": "Cannot connect to the Docker daemon"}


@pytest.mark.parametrize("answer", [PODMAN, {"ServerVersion": 3}, [], {}], ids=["podman's", "other", "list", "empty"])
def test_what_is_no_docker_s_answer_is_refused(path: Path, answer: object) -> None:
    """Podman under docker's name, or what no engine says, is no docker; nothing raises."""
    put(path, "docker", answer=answer)
    assert refusal("docker").reasons == {"docker": f"{path / 'docker'} info gave no answer that can be read"}
