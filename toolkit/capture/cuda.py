"""Does the driver run the CUDA that a lock brings? By NVIDIA's own rule, before anything is installed or started.

NVIDIA, CUDA Compatibility, "Minor Version Compatibility", table 1: what was built with any CUDA of a major version runs
on every driver of that major version, the oldest of which are in LEAST_DRIVER, and on newer ones. Forward
compatibility, by libraries of the `cuda-compat` packages, is not used: no lock holds them.
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
"""

from typing import NamedTuple

from toolkit.capture.samplers.nvml import Presence

LEAST_DRIVER = {11: 450, 12: 525, 13: 580}


class Mismatch(NamedTuple):
    """What does not fit, with both numbers, and what to do about it."""

    problem: str
    remedy: str


def mismatch(needed: str, presence: Presence) -> Mismatch | None:
    """What keeps the driver from running CUDA `needed` (`12.9`); None where it can, or does not say what it can."""
    major = int(needed.partition(".")[0])
    if presence.cuda is None or presence.cuda[0] >= major:
        return None
    least = f" {LEAST_DRIVER[major]} or newer" if major in LEAST_DRIVER else ""
    return Mismatch(
        f"needs CUDA {needed}, but driver {presence.driver} runs CUDA up to {dotted(presence.cuda)}",
        f"Install NVIDIA's driver{least}, or use DEVICE=cpu.",
    )


def dotted(version: tuple[int, int] | None) -> str:
    """Major and minor as people write them."""
    return "unknown" if version is None else ".".join(map(str, version))
