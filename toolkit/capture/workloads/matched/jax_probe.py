"""JAX's side of `toolkit.capture.probe`."""

from collections.abc import Iterator
from typing import Any

# Before Keras is: the workload chooses its backend.
from toolkit.capture.workloads import jax as workloads  # isort: skip

import jax
import numpy as np
from numpy.typing import NDArray

from toolkit.capture.workloads import keras_parts
from toolkit.capture.workloads.matched import keras_weights
from toolkit.spec import RunSpec

Array = NDArray[Any]


def build(spec: RunSpec, device: str) -> "JaxProbe":
    """The probe of the spec's workload on `device`."""
    return JaxProbe(spec, workloads.build(spec, device))


class JaxProbe:
    """Looks into a JaxWorkload, whose state lies beside its model's variables; fulfils `Probe`."""

    def __init__(self, spec: RunSpec, workload: workloads.JaxWorkload) -> None:
        self._workload = workload
        self._model = workload.model
        self._loss = keras_parts.loss(spec)
        keras_weights.drop_nothing(self._model)
        self._forward = jax.jit(self._logits)
        self._gradients = jax.jit(jax.value_and_grad(self._forward_and_loss, has_aux=True))

    def facts(self) -> dict[str, Any]:
        """The workload's own."""
        return self._workload.facts()

    def batches(self, epoch: int) -> Iterator[tuple[Array, Array]]:
        """As the workload's iterator makes them."""
        return self._workload.train_batches(epoch)

    def flops(self, batch: int) -> int:
        """Of the traced program's operations, by their shapes."""
        images = jax.ShapeDtypeStruct((batch, *self._model.input_shape[1:]), np.float32)
        state = self._workload.state
        return _flops(jax.make_jaxpr(self._logits)(state.trainable, state.non_trainable, images).jaxpr)

    def state(self) -> dict[str, Array]:
        """The state's arrays, through the model's variables."""
        self._workload.store_weights()
        return keras_weights.state(self._model)

    def load(self, values: dict[str, Array]) -> None:
        """Into the model's variables, and from there into the state."""
        keras_weights.load(self._model, values)
        self._workload.take_weights()

    def forward(self, images: Array) -> Array:
        """In inference mode."""
        state = self._workload.state
        return np.asarray(self._forward(state.trainable, state.non_trainable, images))

    def gradients(self, images: Array, labels: Array) -> tuple[Array, Array, dict[str, Array]]:
        """By jax.value_and_grad, as in the workload's step."""
        state = self._workload.state
        (loss, (logits, updated)), gradients = self._gradients(state.trainable, state.non_trainable, images, labels)
        self._workload.state = state._replace(non_trainable=updated)
        variables = self._model.trainable_variables
        by_variable = {id(variable): gradient for variable, gradient in zip(variables, gradients, strict=True)}
        named = {
            name: place.to_torch(np.asarray(by_variable[id(place.variable)]))
            for name, place in keras_weights.places(self._model).items()
            if id(place.variable) in by_variable
        }
        return np.asarray(logits), np.asarray(loss), named

    def step(self, images: Array, labels: Array) -> None:
        """The workload's own."""
        self._workload.train_step(self._workload.to_device((images, labels)))

    def _logits(self, trainable: Any, non_trainable: Any, images: Any) -> Any:
        return self._model.stateless_call(trainable, non_trainable, images, training=False)[0]

    def _forward_and_loss(self, trainable: Any, non_trainable: Any, images: Any, labels: Any) -> Any:
        logits, updated = self._model.stateless_call(trainable, non_trainable, images, training=True)
        return self._loss(labels, logits), (logits, updated)


def _flops(program: Any) -> int:
    """Two for each product that an output value sums, in the programs inside this one too."""
    return sum(_operation_flops(operation) for operation in program.eqns)


def _operation_flops(operation: Any) -> int:
    inside = [getattr(value, "jaxpr", None) for value in operation.params.values()]
    if any(inside):
        return sum(_flops(getattr(program, "jaxpr", program)) for program in inside if program is not None)
    if operation.primitive.name == "conv_general_dilated":
        kernel = operation.invars[1].aval
        products = kernel.size // kernel.shape[operation.params["dimension_numbers"].rhs_spec[0]]
    elif operation.primitive.name == "dot_general":
        (summed, _), _ = operation.params["dimension_numbers"]
        products = int(np.prod([operation.invars[0].aval.shape[axis] for axis in summed]))
    else:
        return 0
    return int(2 * products * operation.outvars[0].aval.size)
