"""Turns a plan into the command line of a hardened container.

Nothing of the caller's environment goes in but what is listed, no network, no capability, no way to more privileges, a
read-only root, limits, and one writable mount: the run folder, whose files are the caller's when the container is gone.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from toolkit.capture import modules
from toolkit.capture.engines import Engine
from toolkit.capture.environment import RECORDED_VARIABLES
from toolkit.capture.files import write_whole
from toolkit.capture.images import Image
from toolkit.capture.keeper import STOP_WITHIN_S, Order
from toolkit.capture.samplers.nvml import Gpu
from toolkit.capture.supervise import OVERDUE_S
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import RunSpec

PYTHON = "/opt/hwprof/env/bin/python"
RUN_FOLDER = Path("/out")
DATA_FOLDER = Path("/data")
WEIGHTS_FOLDER = Path("/weights")
TEMPORARY = "/tmp"  # noqa: S108 - the container's own
# Who a container's processes are where the caller is root: no user of the host, and the image's own.
NOBODY = 65532
CDI_DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
CDI_GPUS = "nvidia.com/gpu"
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
# Clients put the proxies of their configuration into containers, with the passwords in their addresses.
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
ORDER = "container.json"
# Over its time limit, for supervise to end worker and samplers by itself.
GRACE_S = OVERDUE_S
REFUSED = "\0\r\n"


class Limits(NamedTuple):
    """What a container may use; None where the engine cannot limit it here. `processes` counts threads too."""

    memory_bytes: int | None
    processors: tuple[int, ...] | None
    processes: int | None
    shm_bytes: int


class Container(NamedTuple):
    """What all containers of a run have in common.

    `user`: uid:gid inside. `lend_to`: whom the run folder is given while a container runs, where the caller is root.
    """

    engine: Engine
    image: Image
    user: str
    lend_to: int | None
    limits: Limits
    capabilities: tuple[str, ...]
    gpus: tuple[Gpu, ...]
    variables: dict[str, str]
    data_dir: str
    weights_dir: str
    timeout_s: int

    @property
    def read_only(self) -> dict[Path, str]:
        """Folders of the machine that it reads, by where they lie inside."""
        folders = {DATA_FOLDER: self.data_dir, WEIGHTS_FOLDER: self.weights_dir}
        return {inside: folder for inside, folder in folders.items() if folder}


def settle(
    engine: Engine, image: Image, spec: RunSpec, *, gpus: Sequence[Gpu], variables: Mapping[str, str]
) -> Container:
    """The container of a spec; `gpus` are those that it is to see."""
    caller = os.getuid()
    nobody = caller == 0 and not engine.rootless
    user = f"{NOBODY}:{NOBODY}" if nobody else f"{caller}:{os.getgid()}"
    inherited = {name: os.environ[name] for name in RECORDED_VARIABLES if name in os.environ}
    return Container(
        engine=engine,
        image=image,
        # rootless docker has one mapping: the container's root is the caller
        user="0:0" if engine.rootless and engine.name == "docker" else user,
        lend_to=NOBODY if nobody else None,
        limits=limits(engine, spec),
        capabilities=("SYS_PTRACE",) if spec.pyspy and _ptrace_is_restricted() else (),
        gpus=tuple(gpus),
        variables=inherited | dict(variables) | _gpu_variables(gpus),
        data_dir=spec.data_dir,
        weights_dir=spec.weights_dir,
        timeout_s=spec.timeout_s,
    )


def check_limits(spec: RunSpec) -> None:
    """HwprofError for more processors than there are to give."""
    mine = len(os.sched_getaffinity(0))
    if spec.limit_processors > mine:
        problem = f"limit_processors={spec.limit_processors}, but hwprof itself may use {mine}."
        raise HwprofError(problem, remedy=f"Give at most {mine}, or 0 for all of them.")


def limits(engine: Engine, spec: RunSpec) -> Limits:
    """The limits of a spec, with what its zeros mean on this machine."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # In whole MiB, so that the kernel, which counts pages, has the same number.
    memory = (spec.limit_memory_mib or machine // 10 * 9 >> 20) << 20
    processors = sorted(os.sched_getaffinity(0))[: spec.limit_processors or None]
    able = engine.controllers
    return Limits(
        memory_bytes=memory if "memory" in able else None,
        processors=tuple(processors) if "cpuset" in able else None,
        processes=spec.limit_processes if "pids" in able else None,
        shm_bytes=spec.limit_shm_mib << 20 or memory // 2,
    )


def unlimited(container: Container) -> str | None:
    """What this engine cannot limit here, in one sentence; None where it can limit all."""
    missing = [name for name, value in container.limits._asdict().items() if value is None]
    if not missing:
        return None
    what = ", ".join(name.removesuffix("_bytes") for name in missing)
    version = container.engine.cgroup_version
    return (
        f"{container.engine} cannot limit {what} here: those controllers of cgroup v{version} are not delegated to it."
    )


def command(container: Container, *, name: str, folder: Path, inside: Sequence[str]) -> list[str]:
    """The whole command line: a container called `name` with `folder` as its run folder, Python on `inside` in it.

    HwprofError for a folder that no mount can name.
    """
    read = [_mount(Path(source), target, "readonly") for target, source in container.read_only.items()]
    mounts = [_mount(folder, RUN_FOLDER), *read]
    variables = {name: "" for proxy in PROXIES for name in (proxy, proxy.upper())} | container.variables
    return [
        container.engine.program, "run", "--name", name, "--interactive", "--pull", "never", "--log-driver", "none",
        *("--network", "none", "--hostname", "hwprof", "--read-only", "--workdir", TEMPORARY),
        *("--tmpfs", f"{TEMPORARY}:rw,exec,nosuid,nodev,size={container.limits.shm_bytes}"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", container.user),
        *(word for capability in container.capabilities for word in ("--cap-add", capability)),
        *_of_engine(container.engine), *_limit_options(container.limits),
        *(gpu_options(container.engine) if container.gpus else []),
        *(word for mount in mounts for word in ("--mount", mount)),
        *(word for key, value in variables.items() for word in ("--env", f"{key}={value}")),
        *("--stop-timeout", str(STOP_WITHIN_S), "--no-healthcheck", "--entrypoint", PYTHON),
        container.image.id, *inside,
    ]  # fmt: skip


def keep(container: Container, *, name: str, folder: Path, inside: Sequence[str], place: Path) -> list[str]:
    """The command line that runs such a container to its end, as `keeper` describes; its order is written to `place`.

    The other arguments are `command`'s.
    """
    order = Order(
        engine=str(container.engine),
        program=container.engine.program,
        name=name,
        command=command(container, name=name, folder=folder, inside=inside),
        run_folder=str(folder),
        lend_to=container.lend_to,
        timeout_s=container.timeout_s,
        grace_s=GRACE_S,
    )
    path = place / ORDER
    write_whole(path, json.dumps(order._asdict(), indent=1))
    return [sys.executable, *modules.words("toolkit.capture.keeper"), str(path)]


def _mount(source: Path, target: Path, *options: str) -> str:
    """A bind mount for --mount, which reads comma-separated values as RFC 4180 has them."""
    text = str(source)
    if any(character in text for character in REFUSED):
        raise HwprofError(f"{text!r} holds a line break, which no mount can name.", remedy="Use another folder.")
    fields = ["type=bind", f"src={text}", f"dst={target}", *options]
    return ",".join('"' + field.replace('"', '""') + '"' for field in fields)


def _of_engine(engine: Engine) -> list[str]:
    """What one engine needs and another does not know."""
    options = []
    if engine.name == "podman":
        options.append("--http-proxy=false")
        if engine.rootless:
            options.append("--userns=keep-id")
    elif engine.remapped:
        # else no file in the run folder would be the caller's
        options.append("--userns=host")
    if engine.selinux:
        # the other way would be to relabel folders that are the caller's
        options += ["--security-opt", "label=disable"]
    return options


def _limit_options(limits: Limits) -> list[str]:
    options = ["--shm-size", str(limits.shm_bytes)]
    if limits.memory_bytes is not None:
        # Equal to the memory, it leaves no swap, in which every timing would drown.
        options += ["--memory", str(limits.memory_bytes), "--memory-swap", str(limits.memory_bytes)]
    if limits.processors is not None:
        # A set of processors, not a quota of time: a quota stops all threads at once in the middle of a step.
        options += ["--cpuset-cpus", ",".join(map(str, limits.processors))]
    if limits.processes is not None:
        options += ["--pids-limit", str(limits.processes)]
    return options


def gpu_options(engine: Engine) -> list[str]:
    """All GPUs, so that they keep their numbers; those in use are told apart by CUDA_VISIBLE_DEVICES.

    HwprofError where the engine knows no way.
    """
    if engine.cdi and cdi_knows_gpus():
        return ["--device", f"{CDI_GPUS}=all"]
    if engine.name == "docker":
        return ["--gpus", "all"]
    places = ", ".join(map(str, CDI_DIRECTORIES))
    raise HwprofError(
        f"{engine} has no GPU to give: there is no CDI specification of {CDI_GPUS} in {places}.",
        remedy="Make one: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml.",
        exit_code=FAILED,
    )


def _gpu_variables(gpus: Sequence[Gpu]) -> dict[str, str]:
    """By UUID, for a container may number GPUs in its own way; without any, a base image may not bring them either."""
    if not gpus:
        return {"NVIDIA_VISIBLE_DEVICES": "void"}
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in gpus)}


def cdi_knows_gpus() -> bool:
    """Whether a CDI specification of NVIDIA's GPUs lies where engines look for them."""
    files = [file for folder in CDI_DIRECTORIES for kind in ("*.json", "*.yaml") for file in folder.glob(kind)]
    return any(CDI_GPUS in file.read_text(encoding="utf-8", errors="replace") for file in files)


def _ptrace_is_restricted() -> bool:
    """Yama's scopes 2 and 3 want the capability; in scope 1 the worker itself lets py-spy in."""
    try:
        return int(YAMA.read_text(encoding="ascii")) > 1
    except (OSError, ValueError):
        return False
