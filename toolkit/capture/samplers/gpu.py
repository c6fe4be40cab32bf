"""The GPUs beside a worker: power as often as its sensor needs, the rest at the rates that are asked for.

Every reading is recorded, the unchanged ones too, with the moment after it was taken; nothing is kept in memory. What a
device does not tell is recorded once, with NVML's reason: for good where it can never be told, else it is tried again.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic_ns
from typing import Any

import pynvml

from toolkit.capture.record import Records
from toolkit.capture.samplers import nvml, nvml_readings
from toolkit.capture.samplers.nvml_readings import MEMORY, PCIE_RATES, POWER, SLOW, USUAL, Reading, Taken

SOURCE = "nvml"
# What no second try changes.
FINAL = (
    pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission, pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_InvalidArgument, pynvml.NVMLError_ArgumentVersionMismatch,
)  # fmt: skip
ARCHITECTURES = {
    value: name.removeprefix("NVML_DEVICE_ARCH_").lower()
    for name, value in vars(pynvml).items()
    if name.startswith("NVML_DEVICE_ARCH_")
}


# Shown (device, metric), a value and the moment of CLOCK_MONOTONIC at which it was read.
See = Callable[[tuple[str, str], float, int], None]


class Device:
    """One GPU, or one MIG instance of it, and what has been told of it so far."""

    def __init__(self, name: str, handle: Any) -> None:
        self.name, self.handle = name, handle
        # metrics that have had a value, whose refusal has been said, and that are not asked for again
        self.told: set[str] = set()
        self.said: set[str] = set()
        self.never: set[str] = set()
        self.buffered_us = 0
        self.is_lost = False


class GpuSampler:
    """Reads every GPU that NVML shows; `used` is whether the worker uses any.

    Without driver or GPU it has recorded the reason, and has no devices.
    """

    def __init__(self, record: Records, *, used: bool = True, now_ns: Callable[[], int] = monotonic_ns) -> None:
        self._record, self._used, self._now_ns = record, used, now_ns
        self.devices: list[Device] = []
        self._instances: list[Device] = []
        try:
            pynvml.nvmlInit()
            count, driver = pynvml.nvmlDeviceGetCount(), pynvml.nvmlSystemGetDriverVersion()
        except pynvml.NVMLError as error:
            record.unavailable(SOURCE, None, "all", str(error))
            return
        if not count:
            record.unavailable(SOURCE, None, "all", "the driver shows no GPU")
        record.write("units", nvml_readings.UNITS)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        self._visible = None if visible is None else nvml.left(_uuids(count), visible)
        self._names_instance = "MIG-" in (visible or "")
        for index in range(count):
            self._add(index, driver)

    def power(self, see: See | None = None) -> None:
        """Each power sensor and the energy counter, once; `see` is shown each value."""
        self._read(self.devices, POWER, see)

    def usual(self) -> None:
        """Memory, utilisation, clocks, temperature, reasons to throttle; memory of each MIG instance."""
        self._read(self.devices, USUAL)
        self._read(self._instances, (MEMORY,))

    def slow(self) -> None:
        """PCIe traffic, which may take 40 ms, and ECC errors."""
        self._read(self.devices, SLOW)
        for device in self.devices:
            if "pcie_sent" in device.never:
                self._read([device], PCIE_RATES)

    def buffers(self) -> None:
        """What the driver has put into its buffer of power since the last time."""
        for device in [one for one in self.devices if not one.is_lost and nvml_readings.BUFFERED not in one.never]:
            try:
                found = nvml_readings.samples(device.handle, device.buffered_us)
            except pynvml.NVMLError as error:
                self._refused(device, nvml_readings.BUFFERED, error)
                continue
            if found:
                device.buffered_us = found[-1][0]
                device.told.add(nvml_readings.BUFFERED)
                self._record.write("samples", SOURCE, device.name, nvml_readings.BUFFERED, found)

    def _add(self, index: int, driver: str) -> None:
        """Records what a GPU is, and takes it up; with its instances where it is in MIG mode."""
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            name, uuid = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetUUID(handle)
        except pynvml.NVMLError as error:
            self._record.unavailable(SOURCE, str(index), "all", str(error))
            return
        device = Device(str(index), handle)
        architecture = self._ask(device, "architecture", pynvml.nvmlDeviceGetArchitecture)
        limit = self._ask(device, "power_limit", pynvml.nvmlDeviceGetEnforcedPowerLimit)
        mig = self._ask(device, "mig", pynvml.nvmlDeviceGetMigMode)
        is_mig = None if mig is None else bool(mig[0])
        # Of which GPU an instance is, its name does not tell.
        named = self._visible is None or index in self._visible or (is_mig is True and self._names_instance)
        used = self._used and named
        told = (name, uuid, ARCHITECTURES.get(architecture), driver, is_mig, used, limit)
        self._record.write("gpu", device.name, *told)
        self.devices.append(device)
        if is_mig:
            self._instances += _instances(device)

    def _ask(self, device: Device, what: str, ask: Callable[[Any], Any]) -> Any:
        try:
            return ask(device.handle)
        except pynvml.NVMLError as error:
            self._refused(device, what, error)
            return None

    def _read(self, devices: Iterable[Device], readings: Iterable[Reading], see: See | None = None) -> None:
        """One record a device: the moments of its values lie closer than one question takes."""
        for device in [one for one in devices if not one.is_lost]:
            taken = Taken()
            for reading in readings:
                if not (device.never and device.never.issuperset(reading.units)):
                    nvml_readings.take(reading, device.handle, taken)
            at = self._now_ns()
            if taken.values:
                device.told.update(taken.values)
                self._record.write("readings", at, SOURCE, device.name, taken.values, taken.told_us)
            for metric, error in taken.refused.items():
                self._refused(device, metric, error)
            if see is not None:
                for metric, value in taken.values.items():
                    see((device.name, metric), value, at)

    def _refused(self, device: Device, metric: str, error: Exception) -> None:
        """Says it once. A lost GPU is told as a whole, and asked no more."""
        had_been_told = metric in device.told
        if isinstance(error, pynvml.NVMLError_GpuIsLost):
            device.is_lost, metric, had_been_told = True, "all", bool(device.told)
        if isinstance(error, FINAL) and not had_been_told:
            device.never.add(metric)
        if metric in device.said:
            return
        device.said.add(metric)
        if had_been_told:
            self._record.write("lost", self._now_ns(), SOURCE, device.name, metric, str(error))
        else:
            self._record.unavailable(SOURCE, device.name, metric, str(error))


def _instances(device: Device) -> list[Device]:
    """The MIG instances that exist, by number: places without one are refused."""
    found = []
    with suppress(pynvml.NVMLError):
        for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(device.handle)):
            with suppress(pynvml.NVMLError_NotFound):
                handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device.handle, index)
                found.append(Device(f"{device.name}.mig{index}", handle))
    return found


def _uuids(count: int) -> dict[int, str]:
    """By number; empty where a GPU does not answer, which CUDA counts all the same."""
    found = dict.fromkeys(range(count), "")
    for index in found:
        with suppress(pynvml.NVMLError):
            found[index] = pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index))
    return found
