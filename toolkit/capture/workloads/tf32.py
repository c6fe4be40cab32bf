"""TF32: products of float32 rounded to 10 bits of mantissa, which NVIDIA's tensor cores compute from Ampere on."""

from toolkit.errors import HwprofError
from toolkit.spec import RunSpec

# Compute capability (major, minor) of NVIDIA's GPUs; A100 is 8.0 (CUDA C++ Programming Guide, "Compute Capabilities").
AMPERE = (8, 0)

Capability = tuple[int, int]


def check(spec: RunSpec, capability: Capability | None) -> None:
    """HwprofError where TF32 is asked of what has none; `capability` is None on a processor."""
    if spec.precision == "tf32" and not has(capability):
        device = "a CPU" if capability is None else f"a GPU of compute capability {capability[0]}.{capability[1]}"
        raise HwprofError(
            f"precision=tf32, but {device} has no TF32.",
            remedy="Use precision=fp32, or an NVIDIA GPU of compute capability 8.0 or higher (Ampere).",
        )


def has(capability: Capability | None) -> bool:
    """Whether float32 products may come out as TF32 there."""
    return capability is not None and capability >= AMPERE
