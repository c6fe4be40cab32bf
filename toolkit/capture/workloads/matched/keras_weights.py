"""A matched Keras model's tensors under torchvision's names and in torch's axes, and back."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from toolkit.capture.workloads.matched.keras_layers import StochasticDepth

Array = NDArray[Any]

# torch's axes of a Keras kernel: [h, w, in, out] is [out, in, h, w] there, a depthwise [h, w, in, 1] is [in, 1, h, w].
CONV = (3, 2, 0, 1)
DEPTHWISE = (2, 3, 0, 1)
TORCH_NAMES = {
    "kernel": "weight", "bias": "bias",
    "gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip


class Place(NamedTuple):
    """Where one of torch's tensors lies in a Keras model, and how its axes turn."""

    variable: Any
    to_torch: Callable[[Array], Array]
    from_torch: Callable[[Array], Array]


def places(model: keras.Model) -> dict[str, Place]:
    """Every variable of the model's layers by torch's name for it, in the layers' order."""
    return dict(_places(model))


def state(model: keras.Model) -> dict[str, Array]:
    """Weights and remembered statistics as NumPy arrays, by torch's names, in torch's axes."""
    return {name: place.to_torch(np.asarray(place.variable)) for name, place in places(model).items()}


def load(model: keras.Model, values: dict[str, Array]) -> None:
    """Gives every variable its value out of `values`; KeyError where a name is missing."""
    for name, place in places(model).items():
        place.variable.assign(place.from_torch(values[name]))


def drop_nothing(model: keras.Model) -> None:
    """Turns off what drops at random: dropout and stochastic depth."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout | StochasticDepth):
            layer.rate = 0.0


def _places(model: keras.Model) -> Iterator[tuple[str, Place]]:
    flattened = None
    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten):
            flattened = layer.input.shape[1:]
        for variable in layer.weights:
            yield f"{layer.name}.{TORCH_NAMES[variable.name]}", _place(layer, variable, flattened)
        if isinstance(layer, keras.layers.Dense):
            flattened = None


def _place(layer: Any, variable: Any, flattened: tuple[int, int, int] | None) -> Place:
    if variable.name != "kernel":
        return Place(variable, _same, _same)
    if isinstance(layer, keras.layers.Dense):
        return Place(variable, *_dense(flattened))
    axes = DEPTHWISE if isinstance(layer, keras.layers.DepthwiseConv2D) else CONV
    back = tuple(int(axis) for axis in np.argsort(axes))
    return Place(variable, lambda array: array.transpose(axes), lambda array: array.transpose(back))


def _same(array: Array) -> Array:
    return array


def _dense(flattened: tuple[int, int, int] | None) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """[in, out] is [out, in] in torch; what was flattened lies height, width, channel here and channel first there."""
    if flattened is None:
        return np.transpose, np.transpose
    height, width, channels = flattened

    def to_torch(kernel: Array) -> Array:
        return kernel.reshape(height, width, channels, -1).transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)

    def from_torch(weight: Array) -> Array:
        apart = weight.reshape(-1, channels, height, width)
        return apart.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])

    return to_torch, from_torch
