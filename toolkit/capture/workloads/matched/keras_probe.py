"""TensorFlow's side of `toolkit.capture.probe`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from toolkit.capture.workloads import tensorflow
from toolkit.capture.workloads.matched import keras_weights
from toolkit.spec import RunSpec

Array = NDArray[Any]


def build(spec: RunSpec, device: str) -> "TensorFlowProbe":
    """The probe of the spec's workload on `device`."""
    return TensorFlowProbe(tensorflow.build(spec, device))


class TensorFlowProbe:
    """Looks into a TensorFlowWorkload; fulfils `Probe`."""

    def __init__(self, workload: tensorflow.TensorFlowWorkload) -> None:
        self._workload = workload
        self._model = workload.model
        keras_weights.drop_nothing(self._model)

    def facts(self) -> dict[str, Any]:
        """The workload's own."""
        return self._workload.facts()

    def batches(self, epoch: int) -> Iterator[tuple[Array, Array]]:
        """Out of tf.data."""
        for images, labels in self._workload.train_batches(epoch):
            yield images.numpy(), labels.numpy()

    def flops(self, batch: int) -> int:
        """Of the graph's operations, by their shapes."""
        images = tf.TensorSpec((batch, *self._model.input_shape[1:]), tf.float32)
        graph = tf.function(lambda x: self._model(x, training=False)).get_concrete_function(images).graph
        return sum(_flops(operation) for operation in graph.get_operations())

    def state(self) -> dict[str, Array]:
        """The model's variables."""
        return keras_weights.state(self._model)

    def load(self, values: dict[str, Array]) -> None:
        """Into the model."""
        keras_weights.load(self._model, values)

    def forward(self, images: Array) -> Array:
        """In inference mode."""
        return np.asarray(self._model(images, training=False))

    def gradients(self, images: Array, labels: Array) -> tuple[Array, Array, dict[str, Array]]:
        """By a gradient tape."""
        with tf.GradientTape() as tape:
            logits = self._model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = self._model.trainable_variables
        gradients = {
            id(variable): gradient for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True)
        }
        named = {
            name: place.to_torch(np.asarray(gradients[id(place.variable)]))
            for name, place in keras_weights.places(self._model).items()
            if id(place.variable) in gradients
        }
        return np.asarray(logits), np.asarray(loss), named

    def step(self, images: Array, labels: Array) -> None:
        """The workload's own."""
        self._workload.train_step(self._workload.to_device((tf.constant(images), tf.constant(labels))))


def _flops(operation: Any) -> int:
    """Two for each product that an output value sums."""
    if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
        height, width, channels, _ = operation.inputs[1].shape
        products = height * width * (channels if operation.type == "Conv2D" else 1)
    elif operation.type == "MatMul":
        products = operation.inputs[0].shape[0 if operation.get_attr("transpose_a") else 1]
    else:
        return 0
    return int(2 * products * operation.outputs[0].shape.num_elements())
