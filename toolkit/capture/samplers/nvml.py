"""What NVML shows of the GPUs here (module pynvml, distribution nvidia-ml-py)."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pynvml

from toolkit.capture.samplers import nvml_readings


class Gpu(NamedTuple):
    """A GPU that the driver shows; memory in bytes, None where the driver does not tell."""

    number: int
    name: str
    uuid: str
    memory_bytes: int | None


class Presence(NamedTuple):
    """GPUs, driver version and the newest CUDA that it runs (major, minor), or the reason why there are none to see."""

    gpus: tuple[Gpu, ...]
    driver: str | None
    reason: str | None
    cuda: tuple[int, int] | None = None


def detect() -> Presence:
    """What NVML shows now. A machine without driver or GPU is no error: the reason says so."""
    try:
        with _session():
            gpus = tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
            reason = None if gpus else "the driver shows no GPU"
            return Presence(gpus, pynvml.nvmlSystemGetDriverVersion(), reason, _cuda())
    except pynvml.NVMLError as error:
        return Presence((), None, str(error))


def visible(presence: Presence, variable: str | None) -> Presence:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, in its order."""
    if variable is None:
        return presence
    gpus = {gpu.number: gpu for gpu in presence.gpus}
    found = tuple(gpus[number] for number in left({gpu.number: gpu.uuid for gpu in presence.gpus}, variable))
    hides = "names a MIG instance, and runs take whole GPUs" if "MIG-" in variable else "hides them"
    reason = presence.reason or f"CUDA_VISIBLE_DEVICES={variable!r} {hides}"
    return presence._replace(gpus=found, reason=None if found else reason)


def left(uuids: Mapping[int, str], variable: str) -> list[int]:
    """Numbers of the GPUs that CUDA_VISIBLE_DEVICES names, by number or UUID; the first that fits none ends it."""
    found = []
    for name in map(str.strip, variable.split(",")):
        fitting = [number for number, uuid in uuids.items() if name and (uuid.startswith(name) or str(number) == name)]
        if not fitting:
            break
        found.append(fitting[0])
    return found


@contextlib.contextmanager
def _session() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        index,
        pynvml.nvmlDeviceGetName(handle),
        pynvml.nvmlDeviceGetUUID(handle),
        _memory(handle),
    )


def _cuda() -> tuple[int, int] | None:
    """NVML counts CUDA 12.4 as 12040; a driver that does not know the question is older than CUDA 10."""
    with contextlib.suppress(pynvml.NVMLError):
        number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
        return number // 1000, number % 1000 // 10
    return None


def unreadable() -> dict[str, str]:
    """Metric -> NVML's reason, of the metrics that a GPU here does not tell; empty where NVML does not answer."""
    taken = nvml_readings.Taken()
    with contextlib.suppress(pynvml.NVMLError), _session():
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            for reading in nvml_readings.POWER + nvml_readings.USUAL:
                nvml_readings.take(reading, handle, taken)
    return {metric: str(error) for metric, error in taken.refused.items()}


def library() -> str | None:
    """The file that NVML was loaded from into this process, once `detect` has been called."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
            # address permissions offset device inode path, the last of which may hold spaces
            path = line.split(maxsplit=5)[-1]
            if Path(path).name.startswith("libnvidia-ml.so"):
                return path
    return None


def _memory(handle: Any) -> int | None:
    """Parts that share the host's memory tell none of their own."""
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError:
        return None
