"""What devices could do at most, by their makers' data sheets: dense arithmetic by precision, and memory bandwidth.

Dense throughout: data sheets also print twice the figure, "with sparsity", which no framework reaches on dense tensors;
where a sheet gives only that, it is halved here. `fp16` and `bf16` accumulate in float32, as frameworks ask for. A
processor's peak is in no table: it follows from clocks and units under load, which a processor does not tell.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

TERA = 10**12
GIGA = 10**9
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


class Peak(NamedTuple):
    """A device's most FLOP/s by precision (those that it has), and bytes/s of its memory, by the document `source`."""

    flops_per_s: Mapping[str, int]
    bytes_per_s: int
    source: str


def _peak(figures: tuple[float | None, ...], gigabytes_per_s: float, source: str) -> Peak:
    """TFLOP/s in the order of PRECISIONS; None is what the device's matrix units do not have."""
    told = {name: round(tera * TERA) for name, tera in zip(PRECISIONS, figures, strict=True) if tera is not None}
    return Peak(told, round(gigabytes_per_s * GIGA), source)


_V100 = "NVIDIA V100 Tensor Core GPU data sheet, 2020"
_A100 = "NVIDIA A100 Tensor Core GPU data sheet, 2022"
_H100 = "NVIDIA H100 Tensor Core GPU data sheet, 2024"
_H200 = "NVIDIA H200 Tensor Core GPU data sheet, 2024"
_ADA = "NVIDIA Ada GPU Architecture whitepaper 2.01, 2023"

# What drivers and frameworks call a device, in full, but for NVIDIA's own name in front -> its peak.
_PEAKS: tuple[tuple[str, Peak], ...] = (
    (r"Tesla V100-(SXM2|DGXS)-\d+GB", _peak((15.7, None, None, 125), 900, _V100)),
    (r"Tesla V100-PCIE-\d+GB", _peak((14, None, None, 112), 900, _V100)),
    (r"Tesla V100S-PCIE-32GB", _peak((16.4, None, None, 130), 1134, _V100)),
    (r"(Tesla )?T4", _peak((8.1, None, None, 65), 320, "NVIDIA T4 Tensor Core GPU data sheet, 2019")),
    (r"A100-(SXM4|PCIE)-40GB", _peak((19.5, 156, 312, 312), 1555, _A100)),
    (r"A100-SXM4-80GB", _peak((19.5, 156, 312, 312), 2039, _A100)),
    (r"A100 80GB PCIe", _peak((19.5, 156, 312, 312), 1935, _A100)),
    (r"A10", _peak((31.2, 62.5, 125, 125), 600, "NVIDIA A10 Tensor Core GPU data sheet, 2021")),
    (r"A30", _peak((10.3, 82, 165, 165), 933, "NVIDIA A30 Tensor Core GPU data sheet, 2021")),
    (r"A40", _peak((37.4, 74.8, 149.7, 149.7), 696, "NVIDIA A40 data sheet, 2021")),
    (r"L4", _peak((30.3, 60, 121, 121), 300, "NVIDIA L4 Tensor Core GPU data sheet, 2023")),
    (r"L40", _peak((90.5, 90.5, 181.05, 181.05), 864, "NVIDIA L40 data sheet, 2023")),
    (r"L40S", _peak((91.6, 183, 362.05, 362.05), 864, "NVIDIA L40S data sheet, 2023")),
    (r"H100 80GB HBM3", _peak((67, 494.5, 989.5, 989.5), 3350, _H100)),
    (r"H100 PCIe", _peak((51, 378, 756.5, 756.5), 2000, "NVIDIA H100 Tensor Core GPU data sheet, 2023")),
    (r"H100 NVL", _peak((60, 417.5, 835.5, 835.5), 3900, _H100)),
    (r"H200", _peak((67, 494.5, 989.5, 989.5), 4800, _H200)),
    (r"H200 NVL", _peak((60, 417.5, 835.5, 835.5), 4800, _H200)),
    (
        r"GeForce RTX 3090",
        _peak((35.6, 35.6, 71, 71), 936, "NVIDIA Ampere GA102 GPU Architecture whitepaper 2.1, 2021"),
    ),
    (r"GeForce RTX 4090", _peak((82.6, 82.6, 165.2, 165.2), 1008, _ADA)),
    (
        r"AMD Instinct MI300X( VF)?",
        _peak((163.4, 653.7, 1307.4, 1307.4), 5300, "AMD Instinct MI300X Accelerator data sheet, 2023"),
    ),
    (
        r"AMD Instinct MI210",
        _peak((45.3, None, 181, 181), 1638.4, "AMD Instinct MI210 Accelerator data sheet, 2022"),
    ),
)


def peak_of(device: str | None) -> Peak | None:
    """The peak of a device by the name that its driver, or a framework, gives it; None where it is in no table."""
    name = (device or "").removeprefix("NVIDIA ")
    return next((peak for pattern, peak in _PEAKS if re.fullmatch(pattern, name)), None)
