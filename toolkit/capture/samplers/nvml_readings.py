"""What one question to NVML reads: values by metric, and for each value that is refused NVML's own reason.

Power is told three ways, by sensors of their own windows: `power` is what nvidia-smi shows, `power_average` and
`power_instant` are fields of their own since driver 530. Energy is counted since the driver was loaded.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pynvml

# Field -> metric. nvml.h: each value of a field has a return code and a time of its own.
POWER_FIELDS = {pynvml.NVML_FI_DEV_POWER_INSTANT: "power_instant", pynvml.NVML_FI_DEV_POWER_AVERAGE: "power_average"}
PCIE_FIELDS = {
    pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES: "pcie_sent",
    pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES: "pcie_received",
}
BUFFERED = "power_buffer"
_VALUES = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}


class Taken:
    """Values, the driver's own times (us of CLOCK_REALTIME) of those that have one, and what was refused."""

    __slots__ = ("refused", "told_us", "values")

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.told_us: dict[str, int] = {}
        self.refused: dict[str, Exception] = {}


class Reading(NamedTuple):
    """One question: its metrics with their units, and what asks it of a device's handle and adds the answer."""

    units: dict[str, str]
    ask: Callable[[Any, Taken], None]


def take(reading: Reading, handle: Any, taken: Taken) -> None:
    """Adds the answer; a question that is refused as a whole has refused each of its metrics."""
    try:
        reading.ask(handle, taken)
    except pynvml.NVMLError as error:
        taken.refused.update(dict.fromkeys(reading.units, error))


def samples(handle: Any, after_us: int) -> list[tuple[int, float]]:
    """(us of CLOCK_REALTIME, mW) of what the driver's buffer of power holds that is newer than `after_us`."""
    try:
        kind, found = pynvml.nvmlDeviceGetSamples(handle, pynvml.NVML_TOTAL_POWER_SAMPLES, after_us)
    except pynvml.NVMLError_NotFound:
        return []
    # The bindings ask twice, and hand on the places that the second answer left empty.
    return [(one.timeStamp, getattr(one.sampleValue, _VALUES[kind])) for one in found if one.timeStamp > after_us]


def _one(metric: str, unit: str, question: Callable[[Any], float]) -> Reading:
    def ask(handle: Any, taken: Taken) -> None:
        taken.values[metric] = question(handle)

    return Reading({metric: unit}, ask)


def _fields(fields: dict[int, str], unit: str) -> Reading:
    # With their scope: without, the bindings try each as a pair, and catch the error.
    asked = [(field, 0) for field in fields]

    def ask(handle: Any, taken: Taken) -> None:
        for metric, told in zip(fields.values(), pynvml.nvmlDeviceGetFieldValues(handle, asked), strict=True):
            code = told.nvmlReturn
            if code == pynvml.NVML_SUCCESS:
                taken.values[metric] = getattr(told.value, _VALUES[told.valueType])
                taken.told_us[metric] = told.timestamp
            else:
                taken.refused[metric] = pynvml.NVMLError(code)

    return Reading(dict.fromkeys(fields.values(), unit), ask)


def _memory(handle: Any, taken: Taken) -> None:
    """Used by processes, and reserved by the driver; one that tells no version 2 counts both as used."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NotSupported) as error:
        taken.values["memory_used"] = pynvml.nvmlDeviceGetMemoryInfo(handle).used
        taken.refused["memory_reserved"] = error
        return
    taken.values["memory_used"], taken.values["memory_reserved"] = memory.used, memory.reserved


def _utilisation(handle: Any, taken: Taken) -> None:
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    taken.values["utilisation"], taken.values["memory_utilisation"] = rates.gpu, rates.memory


def _pcie(kind: int) -> Callable[[Any], float]:
    return lambda handle: pynvml.nvmlDeviceGetPcieThroughput(handle, kind)


def _ecc(kind: int) -> Callable[[Any], float]:
    return lambda handle: pynvml.nvmlDeviceGetTotalEccErrors(handle, kind, pynvml.NVML_VOLATILE_ECC)


POWER: tuple[Reading, ...] = (
    _fields(POWER_FIELDS, "mW"),
    _one("power", "mW", pynvml.nvmlDeviceGetPowerUsage),
    _one("energy", "mJ", pynvml.nvmlDeviceGetTotalEnergyConsumption),
)
USUAL: tuple[Reading, ...] = (
    MEMORY := Reading({"memory_used": "B", "memory_reserved": "B"}, _memory),
    Reading({"utilisation": "%", "memory_utilisation": "%"}, _utilisation),
    _one("sm_clock", "MHz", lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
    _one("memory_clock", "MHz", lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM)),
    _one("temperature", "degC", lambda handle: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
    _one("throttle_reasons", "bits", pynvml.nvmlDeviceGetCurrentClocksThrottleReasons),
)
# Bytes since the driver was loaded, which wrap; and counts of errors since then.
SLOW: tuple[Reading, ...] = (
    _fields(PCIE_FIELDS, "B"),
    _one("ecc_corrected", "errors", _ecc(pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED)),
    _one("ecc_uncorrected", "errors", _ecc(pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)),
)
# For GPUs without the counting fields. NVML watches for 20 ms before it answers.
PCIE_RATES: tuple[Reading, ...] = (
    _one("pcie_send_rate", "KiB/s", _pcie(pynvml.NVML_PCIE_UTIL_TX_BYTES)),
    _one("pcie_receive_rate", "KiB/s", _pcie(pynvml.NVML_PCIE_UTIL_RX_BYTES)),
)
UNITS = {metric: unit for reading in POWER + USUAL + SLOW + PCIE_RATES for metric, unit in reading.units.items()} | {
    BUFFERED: "mW"
}
