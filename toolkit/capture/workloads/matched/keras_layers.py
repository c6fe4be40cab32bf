"""Keras layers and an optimizer that compute what PyTorch's of the same name compute, on every Keras backend."""

import math
from typing import Any

import keras
from keras import ops

# torch.nn.BatchNorm2d's defaults; its momentum weights the new batch, Keras's the old average.
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.9
# torch.optim.Adam's default
ADAM_EPSILON = 1e-8


class BatchNorm(keras.layers.BatchNormalization):
    """Batch norm that remembers the unbiased variance, as torch.nn.BatchNorm2d does; Keras's own keeps the biased."""

    def __init__(self, **config: Any) -> None:
        super().__init__(momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, **config)

    def call(self, inputs: Any, *, training: bool | None = None, mask: None = None) -> Any:
        """Normalised by the batch in training, by what was remembered otherwise, or where frozen; float32 inside."""
        if not (training and self.trainable):
            return super().call(inputs, training=False)
        values = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean, variance = ops.moments(values, axes=(0, 1, 2))
        count = ops.cast(ops.prod(ops.shape(values)[:3]), values.dtype)
        self._remember(self.moving_mean, mean)
        self._remember(self.moving_variance, variance * (count / (count - 1)))
        outputs = ops.batch_normalization(
            values, mean, variance, axis=-1, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)

    def _remember(self, average: Any, new: Any) -> None:
        average.assign(average * self.momentum + ops.cast(new, average.dtype) * (1 - self.momentum))


class StochasticDepth(keras.layers.Layer):
    """torchvision.ops.stochastic_depth by row: drops a whole sample's branch with `rate`, in training only."""

    def __init__(self, rate: float, **config: Any) -> None:
        super().__init__(**config)
        self.rate = rate
        self._seeds = keras.random.SeedGenerator()

    def call(self, inputs: Any, *, training: bool | None = None) -> Any:
        """What stays is scaled up, so that the mean stays."""
        if not training or not self.rate:
            return inputs
        drawn = keras.random.uniform((ops.shape(inputs)[0], 1, 1, 1), dtype=inputs.dtype, seed=self._seeds)
        return inputs * ops.cast(drawn >= self.rate, inputs.dtype) / (1 - self.rate)


class AdaptiveMean(keras.layers.Layer):
    """torch.nn.AdaptiveAvgPool2d to `side` by `side`, channels last: means over windows that cover the image.

    Keras's own, in 3.15, gives NaN in JAX for images of 3, 6 or 14 pixels and has no gradient in TensorFlow for one.
    """

    def __init__(self, side: int, **config: Any) -> None:
        super().__init__(**config)
        self.side = side

    def call(self, inputs: Any) -> Any:
        """Of every window; rows first, then columns."""
        return _means(_means(inputs, 1, self.side), 2, self.side)


def _means(inputs: Any, axis: int, windows: int) -> Any:
    """Along `axis`, window n of `windows` being the pixels that lie in its part of the whole, if only in part."""
    length = inputs.shape[axis]
    firsts = [number * length // windows for number in range(windows)]
    sizes = [-(-(number + 1) * length // windows) - first for number, first in enumerate(firsts)]
    shape = [windows if each == axis else 1 for each in range(len(inputs.shape))]
    total: Any = 0
    for place in range(max(sizes)):
        values = ops.take(inputs, [min(first + place, length - 1) for first in firsts], axis=axis)
        within = [place < size for size in sizes]
        total += values if all(within) else ops.where(ops.reshape(within, shape), values, 0)
    return total if max(sizes) == 1 else total / ops.cast(ops.reshape(sizes, shape), total.dtype)


class Adam(keras.optimizers.Adam):
    """Adam with epsilon where torch.optim.Adam has it: added to the second moment once its bias is corrected."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One variable's update, from Kingma & Ba 2015, algorithm 1."""
        index = self._get_variable_index(variable)
        first, second = self._momentums[index], self._velocities[index]
        step = ops.cast(self.iterations + 1, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        self.assign_add(first, (1 - self.beta_1) * (gradient - first))
        self.assign_add(second, (1 - self.beta_2) * (ops.square(gradient) - second))
        # 1 - beta ** step, without the digits that float32 would lose.
        unbias_first, unbias_second = (-ops.expm1(step * math.log(beta)) for beta in (self.beta_1, self.beta_2))
        # sqrt(second / unbias) + epsilon, times sqrt(unbias): that corrects the bias in numbers, not in whole tensors.
        root = ops.sqrt(unbias_second)
        size = ops.cast(learning_rate, variable.dtype) * root / unbias_first
        self.assign_sub(variable, size * first / (ops.sqrt(second) + self.epsilon * root))
