"""What NVML's power sensors are, as they were measured from outside, and what that makes of their error.

Source: Yang, Adamek, Armour, "Part-time Power Measurements: nvidia-smi's Lack of Attention" (arXiv 2312.02741, SC24),
by the result matrix and the local GPUs of its repository JimZeyuYang/GPU_Power_Benchmark@4b5c944.
"""

import re
from typing import NamedTuple

SOURCE = "arXiv 2312.02741"
MS = 1_000_000


class Kind(NamedTuple):
    """A kind of sensor: a new value each `update_ns`, the mean of the last `window_ns`; None: no such mean."""

    update_ns: int
    window_ns: int | None
    words: str


KINDS = {
    "c1": Kind(100 * MS, 25 * MS, "the mean of 25 ms of every 100"),
    "c2": Kind(100 * MS, 100 * MS, "the mean of every 100 ms"),
    "c3": Kind(100 * MS, 1000 * MS, "the mean of the last second, every 100 ms"),
    "c4": Kind(20 * MS, 10 * MS, "the mean of 10 ms of every 20"),
    "c5": Kind(100 * MS, None, "follows the power logarithmically"),
    "c6": Kind(15 * MS, None, "follows the power logarithmically"),
    "c7": Kind(100 * MS, None, "is estimated"),
}
# Chip -> kind of `power` by driver (before 530, 530, after it), of `power_average`, of `power_instant`; na: has none.
MATRIX = {
    "GH100": ("na", "na", "c3", "c3", "c1"),
    "Ada": ("c3", "c2", "c3", "c3", "c2"),
    "Ampere_GA10x": ("c3", "c2", "c3", "c3", "c2"),
    "GA100": ("c1", "c1", "c1", "na", "c1"),
    "Turing": ("c2", "c2", "c2", "na", "c2"),
    "Volta": ("c4", "c4", "c4", "na", "c4"),
    "Pascal": ("c4", "c4", "c4", "na", "c4"),
    "Maxwell2": ("c5", "c5", "c5", "na", "c5"),
    "Maxwell1": ("c5", "c5", "c5", "na", "c5"),
    "Kepler2": ("c5", "na", "na", "na", "na"),
    "Kepler1": ("c6", "na", "na", "na", "na"),
    "Fermi2": ("c7", "na", "na", "na", "na"),
    "Fermi1": ("na", "na", "na", "na", "na"),
}
# The architecture as NVML names it -> chip, where that does not hang on the GPU's name.
CHIPS = {
    "hopper": "GH100", "ada": "Ada", "turing": "Turing", "volta": "Volta", "pascal": "Pascal", "maxwell": "Maxwell2",
    "kepler": "Kepler2",
}  # fmt: skip
GA100 = re.compile(r"\b(A100|A800|A30)\b|\bA100|\bA800")
METRIC_COLUMNS = {"power_average": 3, "power_instant": 4}
CHANGED_WITH_DRIVER = 530
# GPU -> mean error of energy against a meter between the card and its supply, percent.
ENERGY_ERROR_PCT = {
    "RTX 4090": -5.27, "RTX 3090": -5.55, "A100-PCIE-40GB": -5.78, "RTX 2080 Ti": -7.93, "RTX 2060 SUPER": 12.72,
    "GTX 1080 Ti": -0.36,
}  # fmt: skip
WORST_ERROR_PCT = max(map(abs, ENERGY_ERROR_PCT.values()))
# Of an architecture that nobody has measured: the worst of the known ones, which is a quarter of the time, or a second.
UNKNOWN = Kind(100 * MS, None, "not measured by anyone, so the worst of the known ones is assumed")
UNKNOWN_WINDOWS_NS = (25 * MS, 1000 * MS)
# Of the period that is known, where a longer one was found.
LONGEST_PERIOD = 1.05


class Sensor(NamedTuple):
    """One power sensor: a value each `update_ns` is the mean of a window between the two of `windows_ns`, in ns.

    `error` is the share by which energy was found wrong on this GPU, or on the worst of others where `is_own` is false.
    """

    metric: str
    update_ns: int
    windows_ns: tuple[int, int]
    error: float
    is_own: bool
    words: str


def sensor_of(metric: str, gpu: str, architecture: str | None, driver: str, update_ns: int | None) -> Sensor | str:
    """The sensor of `metric`, with the period found at the start where there is one; or why it measures none."""
    kind = UNKNOWN
    if chip := _chip(gpu, architecture):
        column = METRIC_COLUMNS.get(metric, _driver_column(driver))
        known = MATRIX[chip][column]
        # A field that the driver tells although nobody had found it is one that nobody has measured.
        kind = KINDS.get(known, UNKNOWN)
        if known in KINDS and kind.window_ns is None:
            return f"the sensor of {chip} {kind.words} ({SOURCE})"
    own = next((error for name, error in ENERGY_ERROR_PCT.items() if name.lower() in gpu.lower()), None)
    return Sensor(
        metric=metric,
        # At rest it may tell the same several times over, which looks like a longer period.
        update_ns=min(update_ns or kind.update_ns, round(kind.update_ns * LONGEST_PERIOD)),
        windows_ns=UNKNOWN_WINDOWS_NS if kind.window_ns is None else (kind.window_ns, kind.window_ns),
        error=abs(WORST_ERROR_PCT if own is None else own) / 100,
        is_own=own is not None,
        words=kind.words,
    )


def _chip(gpu: str, architecture: str | None) -> str | None:
    if architecture == "ampere":
        return "GA100" if GA100.search(gpu) else "Ampere_GA10x"
    return CHIPS.get(architecture or "")


def _driver_column(driver: str) -> int:
    major = int(found[0]) if (found := re.match(r"\d+", driver)) else CHANGED_WITH_DRIVER + 1
    return 0 if major < CHANGED_WITH_DRIVER else 1 if major == CHANGED_WITH_DRIVER else 2
