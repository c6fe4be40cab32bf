"""GPU power, memory, utilisation, clocks and temperature from NVML (module pynvml, distribution nvidia-ml-py)."""

from collections.abc import Callable
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
    """GPUs and driver version, or the reason why there are none to see."""

    gpus: tuple[Gpu, ...]
    driver: str | None
    reason: str | None


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
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Presence((), None, str(error))
    try:
        gpus = tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
        return Presence(gpus, pynvml.nvmlSystemGetDriverVersion(), None if gpus else "the driver shows no GPU")
    except pynvml.NVMLError as error:
        return Presence((), None, str(error))
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
