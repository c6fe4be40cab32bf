"""Initial weights made once, from a seed, for every framework to load: NumPy arrays under torchvision's names."""

import hashlib
import math
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
State = dict[str, Array]
Shapes = Mapping[str, tuple[int, ...]]


def initial(shapes: Shapes, seed: int) -> State:
    """Weights for parameters and buffers of torch's shapes, float32; the same bytes for the same seed, in any order.

    Convolutions: normal, He et al. 2015 by fan-out, as torchvision's ResNet, VGG and MobileNetV2 draw them. Dense
    layers: uniform within 1/sqrt(fan-in), PyTorch's default. Biases 0; batch norm scales by 1, shifts by 0, and has
    seen mean 0 and variance 1.
    """
    return {name: _drawn(name, shape, seed) for name, shape in shapes.items()}


def digest(state: Mapping[str, Array]) -> str:
    """SHA-256 over names, shapes and values, in the names' order."""
    hashed = hashlib.sha256()
    for name in sorted(state):
        hashed.update(f"{name} {state[name].shape}\n".encode())
        hashed.update(np.ascontiguousarray(state[name]).data)
    return hashed.hexdigest()


def _drawn(name: str, shape: tuple[int, ...], seed: int) -> Array:
    # A stream of its own for each name: no tensor depends on which came before it.
    draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
    match shape:
        case (filters, _, height, width):
            return draw.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(2 / (filters * height * width)))
        case (_, inputs):
            return (draw.random(shape, dtype=np.float32) * 2 - 1) * np.float32(1 / math.sqrt(inputs))
        case _:
            return np.full(shape, name.endswith(("running_var", ".weight")), dtype=np.float32)
