"""The JAX workload in its own idiom: a jitted train step over Keras's stateless calls, or Keras's `fit` on JAX.

Models are Keras's, the same classes as in TensorFlow. JAX compiles for each shape: the part batch that ends an epoch
compiles anew. Work is asked for and not waited for, on the processor too unless threads=1.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# Keras reads it as it loads.
os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from jax import numpy as jnp

from toolkit.capture.workload import Evaluation, FitHooks, NativeProfiler, Request
from toolkit.capture.workloads import jax_parts, jax_process, keras_description, keras_parts
from toolkit.capture.workloads.data import Data, load, requested
from toolkit.capture.workloads.keras_fit import Fitting
from toolkit.spec import RunSpec

Arrays = list[jax.Array]


class State(NamedTuple):
    """All that a training step changes, on the device; the step takes the arrays' memory over."""

    trainable: Arrays
    non_trainable: Arrays
    optimizer: Arrays
    loss_sum: jax.Array


def build(spec: RunSpec, device: str) -> "JaxWorkload":
    """The workload of `spec` on `device`, `cpu` or `cuda`."""
    jax_parts.configure(spec, device)
    keras_parts.set_precision(spec.precision)
    keras.utils.set_random_seed(spec.seed)
    return FitWorkload(spec, device) if spec.loop == "fit" else JaxWorkload(spec, device)


class JaxWorkload(jax_process.Process):
    """A Keras model in a hand-written loop over a jitted step from state to state; fulfils `Workload`."""

    def __init__(self, spec: RunSpec, device: str) -> None:
        self._spec = spec
        super().__init__(device)
        self._xla = spec.compile != "eager"
        self._data: Data = load(spec)
        self.steps_per_epoch = self._data.steps
        self._batches = jax_parts.Batches(self._data.train, self._data.scaling, spec)
        self._train_set: keras_parts.TrainSet = self._batches
        self._validation_set = jax_parts.Batches(self._data.validation, self._data.scaling, spec)
        self.model = keras_parts.model(spec)
        self._optimizer = keras_parts.optimizer(spec)
        self._optimizer.build(self.model.trainable_variables)
        # Its variables are the first step's to take over, the learning rate too.
        self._optimizer_facts = keras_parts.optimizer_facts(self._optimizer)
        self._loss = keras_parts.loss(spec)
        self._zero = jnp.zeros((), keras.config.floatx())
        trainable, non_trainable = self._variables()
        self.state = State(trainable, non_trainable, _values(self._optimizer.variables), self._nought())
        self._samples = 0
        self._train_function = self._function(self._train, donate_argnums=0)
        self._test_function = self._function(self._test)
        self._predict_function = self._function(self._predict)

    def facts(self) -> dict[str, Any]:
        """Versions and settings read back from JAX and Keras."""
        facts = super().facts()
        return {
            **facts,
            "versions": {"keras": keras.__version__, **facts["versions"]},
            "input_pipeline": "NumPy in the loop's own thread, nothing prefetched by it",
            **keras_parts.model_facts(self._spec, self.model),
            "train_samples": self._data.train.samples,
            "validation_samples": self._data.validation.samples,
            "optimizer": self._optimizer_facts,
            "compile": "xla" if self._xla else "eager",
        }

    def describe(self) -> str:
        """Of the live model, optimizer and batches, before the first step takes their arrays over."""
        return keras_description.document(
            self._spec,
            self.facts(),
            model=self.model,
            loss=self._loss,
            optimizer=self._optimizer,
            compiled=self._execution(),
            pipeline=jax_parts.pipeline(self._batches, self._spec, fitted=self._spec.loop == "fit"),
            tf32=jax_process.allows_tf32(),
        )

    def request(self, batch: int) -> Request:
        """An inference of `batch` images."""
        images = requested(self._data, batch)
        resident = jax.device_put(images)

        def answer() -> None:
            np.asarray(self._predict_function(*self._weights(), images))

        def compute() -> None:
            jax.block_until_ready(self._predict_function(*self._weights(), resident))

        return Request(answer, compute)

    def profiler(self, folder: Path) -> NativeProfiler:
        """jax.profiler by the spec's options."""
        return self.window(self._spec, folder, steps=self._spec.profile_steps)

    def warm_up(self, steps: int) -> None:
        """`steps` batches, going round the set where it is shorter."""
        for batch in self._warm_up_batches(steps):
            self.train_step(self.to_device(batch))
        self.sync()
        self.train_loss()

    def train_batches(self, epoch: int) -> Iterator[jax_parts.Batch]:
        """One epoch in the seed's order, each batch made when it is asked for."""
        return iter(self._train_set.epoch(epoch))

    def to_device(self, batch: jax_parts.Batch) -> Any:
        """Copied without waiting."""
        return jax.device_put(batch)

    def train_step(self, batch: Any) -> None:
        """Forward, backward, update."""
        images, labels = batch
        self.state = self._train_function(self.state, images, labels)
        self._samples += len(labels)

    def train_loss(self) -> float:
        """Mean cross-entropy a sample since last asked; NaN where nothing was trained."""
        mean = float(self.state.loss_sum) / self._samples if self._samples else float("nan")
        self.state = self.state._replace(loss_sum=self._nought())
        self._samples = 0
        return mean

    def evaluate(self) -> Evaluation:
        """The validation set in inference mode."""
        sums = (self._zero, self._zero)
        for batch in self._validation_set:
            sums = self._test_function(*self._weights(), sums, *self.to_device(batch))
        loss, right = (float(each) / self._data.validation.samples for each in sums)
        return keras_parts.evaluation(self._data, loss, right)

    def checkpoint(self, path: Path) -> None:
        """Model and optimizer state by NumPy; JAX has no format of its own."""
        np.savez(path, *jax.device_get(jax.tree.leaves(self.state)))

    def store_weights(self) -> None:
        """Gives the model's variables the state's arrays; the next step takes their memory over."""
        variables = [*self.model.trainable_variables, *self.model.non_trainable_variables]
        for variable, array in zip(variables, [*self.state.trainable, *self.state.non_trainable], strict=True):
            variable.assign(array)

    def take_weights(self) -> None:
        """Gives the state the arrays of the model's variables."""
        trainable, non_trainable = self._variables()
        self.state = self.state._replace(trainable=trainable, non_trainable=non_trainable)

    def _warm_up_batches(self, steps: int) -> Iterator[jax_parts.Batch]:
        """`steps` batches of epoch 0's order, going round it where it is shorter."""
        batches = itertools.cycle(self._train_set.epoch(0))
        # Keras takes a generator, and no other iterator.
        yield from itertools.islice(batches, steps)

    def _execution(self) -> str:
        return "xla" if hasattr(self._train_function, "lower") else "eager"

    def _function(self, python: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """`python` as the spec has it run."""
        return jax.jit(python, **options) if self._xla else python

    def _predict(self, trainable: Arrays, non_trainable: Arrays, images: jax.Array) -> jax.Array:
        outputs, _ = self.model.stateless_call(trainable, non_trainable, images, training=False)
        return outputs

    def _weights(self) -> tuple[Arrays, Arrays]:
        """The trainable ones and the others, as they are now."""
        return self.state.trainable, self.state.non_trainable

    def _variables(self) -> tuple[Arrays, Arrays]:
        return _values(self.model.trainable_variables), _values(self.model.non_trainable_variables)

    def _nought(self) -> jax.Array:
        """A fresh one each time: a step takes its memory over."""
        return self._zero.copy()

    def _train(self, state: State, images: jax.Array, labels: jax.Array) -> State:
        def loss_of(trainable: Arrays) -> tuple[jax.Array, Arrays]:
            outputs, updated = self.model.stateless_call(trainable, state.non_trainable, images, training=True)
            return self._loss(labels, outputs), updated

        (loss, non_trainable), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.trainable)
        trainable, optimizer = self._optimizer.stateless_apply(state.optimizer, gradients, state.trainable)
        return State(trainable, non_trainable, optimizer, state.loss_sum + loss * len(labels))

    def _test(self, trainable: Arrays, non_trainable: Arrays, sums: Any, images: jax.Array, labels: jax.Array) -> Any:
        """`sums`, of losses and of right answers, with this batch's added."""
        outputs = self._predict(trainable, non_trainable, images)
        loss_sum, right = sums
        return loss_sum + self._loss(labels, outputs) * len(labels), right + (outputs.argmax(-1) == labels).sum()


class FitWorkload(Fitting, JaxWorkload):
    """The same under Keras's `compile` and `fit`, which keeps the state in the model; fulfils `FittingWorkload`."""

    def __init__(self, spec: RunSpec, device: str) -> None:
        super().__init__(spec, device)
        self._xla = self._compile()

    def warm_up(self, steps: int) -> None:
        """`steps` batches by a `fit` of their own, which leaves the train function compiled for the next."""
        if steps:
            self.model.fit(self._warm_up_batches(steps), steps_per_epoch=steps, shuffle=False, verbose=0)
        self.sync()

    def fit(self, hooks: FitHooks) -> None:
        """All epochs. Keras asks for batches inside its step, in the loop's own thread: their making is told."""
        self._batches.fetching = hooks.fetching
        super().fit(hooks)

    def _execution(self) -> str:
        return keras_description.execution(self.model)

    def _weights(self) -> tuple[Arrays, Arrays]:
        return self._variables()


def _values(variables: list[keras.Variable]) -> Arrays:
    return [variable.value for variable in variables]
