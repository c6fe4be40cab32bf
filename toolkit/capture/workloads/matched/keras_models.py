"""torchvision's architectures as Keras 3 models, channels last, ending in logits, one definition for every backend.

A layer bears the name of torchvision's module, by which `keras_weights` finds its tensors. Sources: torchvision 0.28
(models/resnet.py, vgg.py, mobilenetv2.py, efficientnet.py); the CIFAR CNN is the one of the comparison by Rakshath.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import layers

from toolkit.capture.workloads.matched.keras_layers import AdaptiveMean, BatchNorm, StochasticDepth

Tensor = Any
VGG_SIDE = 7
# The weights come from the seed. What Keras would draw is thrown away, and takes JAX a program for each shape.
_Conv2D = partial(layers.Conv2D, kernel_initializer="zeros")
_DepthwiseConv2D = partial(layers.DepthwiseConv2D, depthwise_initializer="zeros")
_Dense = partial(layers.Dense, kernel_initializer="zeros")


def build(name: str, *, image_size: int, classes: int) -> keras.Model:
    """The model `name` of `MODELS`, its kernels zero until weights are loaded."""
    inputs = keras.Input((image_size, image_size, 3))
    return keras.Model(inputs, MODELS[name](inputs, classes), name=name)


def _padded(x: Tensor, kernel: int, stride: int) -> tuple[Tensor, str]:
    """`x` such that a window of odd `kernel` sees torch's padding of kernel // 2 on every side."""
    side = kernel // 2
    if not side:
        return x, "valid"
    # Keras's `same` pads what the last window lacks, the smaller half first: as torch does where that is 2 * `side`.
    lacks = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[1:3]]
    if all(lack == 2 * side for lack in lacks):
        return x, "same"
    return layers.ZeroPadding2D(side)(x), "valid"


def _conv(x: Tensor, name: str, filters: int, kernel: int, stride: int = 1) -> Tensor:
    x, padding = _padded(x, kernel, stride)
    return _Conv2D(filters, kernel, stride, padding, use_bias=False, name=name)(x)


def _depthwise(x: Tensor, name: str, kernel: int, stride: int) -> Tensor:
    x, padding = _padded(x, kernel, stride)
    return _DepthwiseConv2D(kernel, stride, padding, use_bias=False, name=name)(x)


def _norm(x: Tensor, name: str) -> Tensor:
    return BatchNorm(name=name)(x)


def _cifar_cnn(x: Tensor, classes: int) -> Tensor:
    for name, filters in (("0", 32), ("3", 64)):
        x = layers.MaxPooling2D()(_Conv2D(filters, 3, activation="relu", name=name)(x))
    x = _Dense(64, activation="relu", name="7")(layers.Flatten()(x))
    return _Dense(classes, name="9")(x)


def _resnet(block: Callable[..., Tensor], depths: Sequence[int]) -> Callable[[Tensor, int], Tensor]:
    def model(x: Tensor, classes: int) -> Tensor:
        x = layers.ReLU()(_norm(_conv(x, "conv1", 64, 7, 2), "bn1"))
        # Zeros do for torch's -inf here: nothing is below zero after ReLU.
        x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
        for stage, depth in enumerate(depths):
            for index in range(depth):
                stride = 2 if stage and not index else 1
                x = block(x, f"layer{stage + 1}.{index}", 64 << stage, stride)
        return _Dense(classes, name="fc")(layers.GlobalAveragePooling2D()(x))

    return model


def _basic_block(x: Tensor, name: str, width: int, stride: int) -> Tensor:
    y = layers.ReLU()(_norm(_conv(x, f"{name}.conv1", width, 3, stride), f"{name}.bn1"))
    y = _norm(_conv(y, f"{name}.conv2", width, 3), f"{name}.bn2")
    return layers.ReLU()(y + _shortcut(x, name, width, stride))


def _bottleneck(x: Tensor, name: str, width: int, stride: int) -> Tensor:
    """Version 1.5: the stride is on the 3x3 convolution."""
    y = layers.ReLU()(_norm(_conv(x, f"{name}.conv1", width, 1), f"{name}.bn1"))
    y = layers.ReLU()(_norm(_conv(y, f"{name}.conv2", width, 3, stride), f"{name}.bn2"))
    y = _norm(_conv(y, f"{name}.conv3", 4 * width, 1), f"{name}.bn3")
    return layers.ReLU()(y + _shortcut(x, name, 4 * width, stride))


def _shortcut(x: Tensor, name: str, filters: int, stride: int) -> Tensor:
    if stride == 1 and x.shape[-1] == filters:
        return x
    return _norm(_conv(x, f"{name}.downsample.0", filters, 1, stride), f"{name}.downsample.1")


def _vgg(depths: Sequence[int]) -> Callable[[Tensor, int], Tensor]:
    def model(x: Tensor, classes: int) -> Tensor:
        index = 0
        for depth, filters in zip(depths, (64, 128, 256, 512, 512), strict=True):
            for _ in range(depth):
                x = _Conv2D(filters, 3, padding="same", activation="relu", name=f"features.{index}")(x)
                index += 2
            x = layers.MaxPooling2D()(x)
            index += 1
        if x.shape[1] != VGG_SIDE:
            x = AdaptiveMean(VGG_SIDE)(x)
        x = layers.Flatten()(x)
        for name in ("classifier.0", "classifier.3"):
            x = layers.Dropout(0.5)(_Dense(4096, activation="relu", name=name)(x))
        return _Dense(classes, name="classifier.6")(x)

    return model


class _Stage(NamedTuple):
    """Blocks alike but for the first one's stride."""

    expansion: int
    kernel: int
    filters: int
    depth: int
    stride: int


_MOBILENET_V2 = (
    _Stage(1, 3, 16, 1, 1), _Stage(6, 3, 24, 2, 2), _Stage(6, 3, 32, 3, 2), _Stage(6, 3, 64, 4, 2),
    _Stage(6, 3, 96, 3, 1), _Stage(6, 3, 160, 3, 2), _Stage(6, 3, 320, 1, 1),
)  # fmt: skip


def _mobilenet_v2(x: Tensor, classes: int) -> Tensor:
    x = _relu6(_norm(_conv(x, "features.0.0", 32, 3, 2), "features.0.1"))
    index = 0
    for stage in _MOBILENET_V2:
        for block in range(stage.depth):
            index += 1
            x = _inverted_residual(x, f"features.{index}.conv", stage, 1 if block else stage.stride)
    x = _relu6(_norm(_conv(x, f"features.{index + 1}.0", 1280, 1), f"features.{index + 1}.1"))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return _Dense(classes, name="classifier.1")(x)


def _inverted_residual(x: Tensor, name: str, stage: _Stage, stride: int) -> Tensor:
    y, place = x, 0
    if stage.expansion > 1:
        y = _relu6(_norm(_conv(x, f"{name}.0.0", stage.expansion * x.shape[-1], 1), f"{name}.0.1"))
        place = 1
    y = _relu6(_norm(_depthwise(y, f"{name}.{place}.0", stage.kernel, stride), f"{name}.{place}.1"))
    y = _norm(_conv(y, f"{name}.{place + 1}", stage.filters, 1), f"{name}.{place + 2}")
    return x + y if stride == 1 and x.shape[-1] == stage.filters else y


def _relu6(x: Tensor) -> Tensor:
    return layers.ReLU(max_value=6)(x)


# EfficientNet-B0's stages at B4's width (1.4, to multiples of 8) and depth (1.8, rounded up).
_EFFICIENTNET_B4 = (
    _Stage(1, 3, 24, 2, 1), _Stage(6, 3, 32, 4, 2), _Stage(6, 5, 56, 4, 2), _Stage(6, 3, 112, 6, 2),
    _Stage(6, 5, 160, 6, 1), _Stage(6, 5, 272, 8, 2), _Stage(6, 3, 448, 2, 1),
)  # fmt: skip
_STOCHASTIC_DEPTH = 0.2


def _efficientnet_b4(x: Tensor, classes: int) -> Tensor:
    x = _silu(_norm(_conv(x, "features.0.0", 48, 3, 2), "features.0.1"))
    blocks = sum(stage.depth for stage in _EFFICIENTNET_B4)
    number = 0
    for place, stage in enumerate(_EFFICIENTNET_B4, 1):
        for index in range(stage.depth):
            branch = _mb_conv(x, f"features.{place}.{index}.block", stage, 1 if index else stage.stride)
            # Every block but a stage's first has the input's shape; the deeper it lies, the more often it is left out.
            x = x + StochasticDepth(_STOCHASTIC_DEPTH * number / blocks)(branch) if index else branch
            number += 1
    x = _silu(_norm(_conv(x, "features.8.0", 1792, 1), "features.8.1"))
    x = layers.Dropout(0.4)(layers.GlobalAveragePooling2D()(x))
    return _Dense(classes, name="classifier.1")(x)


def _mb_conv(x: Tensor, name: str, stage: _Stage, stride: int) -> Tensor:
    squeezed = x.shape[-1] // 4
    place = 0
    if stage.expansion > 1:
        x = _silu(_norm(_conv(x, f"{name}.0.0", stage.expansion * x.shape[-1], 1), f"{name}.0.1"))
        place = 1
    x = _silu(_norm(_depthwise(x, f"{name}.{place}.0", stage.kernel, stride), f"{name}.{place}.1"))
    x = _squeeze_excitation(x, f"{name}.{place + 1}", squeezed)
    return _norm(_conv(x, f"{name}.{place + 2}.0", stage.filters, 1), f"{name}.{place + 2}.1")


def _squeeze_excitation(x: Tensor, name: str, squeezed: int) -> Tensor:
    scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
    scale = _silu(_Conv2D(squeezed, 1, name=f"{name}.fc1")(scale))
    return x * layers.Activation("sigmoid")(_Conv2D(x.shape[-1], 1, name=f"{name}.fc2")(scale))


def _silu(x: Tensor) -> Tensor:
    return layers.Activation("silu")(x)


MODELS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "cifar_cnn": _cifar_cnn,
    "resnet18": _resnet(_basic_block, (2, 2, 2, 2)),
    "resnet50": _resnet(_bottleneck, (3, 4, 6, 3)),
    "resnet152": _resnet(_bottleneck, (3, 8, 36, 3)),
    "vgg16": _vgg((2, 2, 3, 3, 3)),
    "vgg19": _vgg((2, 2, 4, 4, 4)),
    "mobilenet_v2": _mobilenet_v2,
    "efficientnet_b4": _efficientnet_b4,
}
