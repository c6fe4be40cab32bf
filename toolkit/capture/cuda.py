"""Does the driver run the CUDA that a lock brings? By NVIDIA's own rule, before anything is installed or started.

NVIDIA, CUDA Compatibility, "Minor Version Compatibility", table 1: what was built with any CUDA of a major version runs
on every driver of that major version, the oldest of which are in LEAST_DRIVER, and on newer ones. Forward
compatibility, by libraries of the `cuda-compat` packages, is not used: no lock holds them.
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
"""

from toolkit.capture.samplers.nvml import Presence
from toolkit.errors import HwprofError

LEAST_DRIVER = {11: 450, 12: 525, 13: 580}


def check(needed: str | None, presence: Presence) -> str | None:
    """What to tell of the comparison of a lock's CUDA (`12.9`; None: it brings none) with the driver; None: it fits.

    Raises HwprofError where the driver cannot run it.
    """
    if needed is None:
        return None
    if presence.cuda is None:
        return f"The driver {presence.driver} does not say which CUDA it runs; CUDA {needed} is tried all the same."
    major = int(needed.partition(".")[0])
    if presence.cuda[0] >= major:
        return None
    least = f" {LEAST_DRIVER[major]} or newer" if major in LEAST_DRIVER else ""
    raise HwprofError(
        f"CUDA {needed} is needed, but driver {presence.driver} runs CUDA up to {presence.cuda[0]}.{presence.cuda[1]}.",
        remedy=f"Install NVIDIA's driver{least}, or use device=cpu.",
    )
