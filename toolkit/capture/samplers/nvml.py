"""GPU power, memory, utilisation, clocks and temperature from NVML (module pynvml, distribution nvidia-ml-py)."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pynvml

from toolkit.capture.record import Recorder


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


# Metric -> (reading of a device handle, unit). Power is NVML's own average over about a second on most parts; energy is
# counted since the driver was loaded.
READINGS: dict[str, tuple[Callable[[Any], float], str]] = {
    "power": (pynvml.nvmlDeviceGetPowerUsage, "mW"),
    "energy": (pynvml.nvmlDeviceGetTotalEnergyConsumption, "mJ"),
    "memory_used": (lambda handle: pynvml.nvmlDeviceGetMemoryInfo(handle).used, "B"),
    "utilisation": (lambda handle: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu, "%"),
    "sm_clock": (lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM), "MHz"),
    "memory_clock": (lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM), "MHz"),
    "temperature": (
        lambda handle: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        "degC",
    ),
}


def detect() -> Presence:
    """What NVML shows now. A machine without driver or GPU is no error: the reason says so."""
    try:
        with _session():
            gpus = tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
            reason = None if gpus else "the driver shows no GPU"
            return Presence(gpus, pynvml.nvmlSystemGetDriverVersion(), reason, _cuda())
    except pynvml.NVMLError as error:
        return Presence((), None, str(error))


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
    found: dict[str, str] = {}
    with contextlib.suppress(pynvml.NVMLError), _session():
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            found |= {metric: reason for metric in READINGS if (reason := _refusal(handle, metric))}
    return found


def _refusal(handle: Any, metric: str) -> str | None:
    try:
        READINGS[metric][0](handle)
    except pynvml.NVMLError as error:
        return str(error)
    return None


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


class NvmlSampler:
    """Reads every metric of every GPU. One that fails is recorded as unavailable, with NVML's reason, and left."""

    source = "nvml"

    def __init__(self, record: Recorder) -> None:
        self._record = record
        self._readings: list[tuple[str, Any, str]] = []
        try:
            pynvml.nvmlInit()
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as error:
            record.unavailable(self.source, None, "all", str(error))
            return
        self._readings = [(str(index), handle, metric) for index, handle in enumerate(handles) for metric in READINGS]

    def sample(self) -> None:
        """Writes one reading of each."""
        for reading in list(self._readings):
            device, handle, metric = reading
            read, unit = READINGS[metric]
            try:
                self._record.counter(self.source, device, metric, read(handle), unit)
            except pynvml.NVMLError as error:
                self._record.unavailable(self.source, device, metric, str(error))
                self._readings.remove(reading)
