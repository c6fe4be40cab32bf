"""What the TensorFlow workload is put together from: Keras's models and optimizers, tf.data pipelines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from toolkit.capture.workloads import ZOO
from toolkit.capture.workloads.data import Data, Scaling, Split, order
from toolkit.capture.workloads.matched import keras_layers, keras_models, keras_weights, weights
from toolkit.errors import HwprofError
from toolkit.spec import RunSpec

HOST = "/CPU:0"
HOST_TRACER_LEVEL = 2


class TrainSet:
    """The training set as a dataset of one epoch at a time, in the seed's order."""

    def __init__(self, data: Data, spec: RunSpec) -> None:
        self._spec = spec
        self._samples = data.train.samples
        with tf.device(HOST):
            self._order = tf.Variable(order(spec, 0, self._samples), trainable=False)
        # The order is read anew each time an iterator starts.
        indices = tf.data.Dataset.range(1).flat_map(lambda _: tf.data.Dataset.from_tensor_slices(self._order))
        counted = indices.apply(tf.data.experimental.assert_cardinality(self._samples))
        self._batches = _batches(counted, data.train, data.scaling, spec)

    def epoch(self, number: int) -> tf.data.Dataset:
        """Its batches; asking for another epoch changes what a dataset given out before yields when it starts anew."""
        self._order.assign(order(self._spec, number, self._samples))
        return self._batches


def validation_set(data: Data, spec: RunSpec) -> tf.data.Dataset:
    """The validation set's batches in the set's own order."""
    return _batches(tf.data.Dataset.range(data.validation.samples), data.validation, data.scaling, spec)


def _batches(indices: tf.data.Dataset, split: Split, scaling: Scaling, spec: RunSpec) -> tf.data.Dataset:
    """Batches of scaled float32 images [n, size, size, 3] and int64 labels [n]."""
    with tf.device(HOST):
        images, labels = tf.constant(split.images), tf.constant(split.labels)
    distinct = len(split.labels)

    def sample(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        place = index % distinct
        return tf.cast(tf.gather(images, place), tf.float32) * scaling.scale - scaling.shift, tf.gather(labels, place)

    samples = indices.map(sample, num_parallel_calls=tf.data.AUTOTUNE)
    return samples.batch(spec.batch).prefetch(tf.data.AUTOTUNE)


def set_precision(precision: str) -> None:
    """Keras's policy for models built from here on; TF32 is each backend's own affair."""
    if precision == "fp64":
        keras.config.set_floatx("float64")
    keras.config.set_dtype_policy({"bf16": "mixed_bfloat16", "fp64": "float64"}.get(precision, "float32"))


def model(spec: RunSpec) -> keras.Model:
    """The matched model with the seed's weights, or the zoo's. HwprofError for a size that it cannot take."""
    try:
        return _matched(spec) if spec.matched else _zoo(spec)
    except ValueError as error:
        raise HwprofError(
            f"Keras cannot build {spec.model} for image_size={spec.image_size}: {' '.join(str(error).split())}",
            remedy="Use image_size=32 or more.",
        ) from error


def _matched(spec: RunSpec) -> keras.Model:
    made = keras_models.build(spec.model, image_size=spec.image_size, classes=spec.classes)
    shapes = {name: array.shape for name, array in keras_weights.state(made).items()}
    keras_weights.load(made, weights.initial(shapes, spec.seed))
    return made


def _zoo(spec: RunSpec) -> keras.Model:
    shape = (spec.image_size, spec.image_size, 3)
    if spec.model == "cifar_cnn":
        return _cifar_cnn(shape, spec.classes)
    make = getattr(keras.applications, ZOO["tf"][spec.model])
    return make(weights=None, include_top=True, input_shape=shape, classes=spec.classes)


def _cifar_cnn(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Two convolutions and two dense layers, as in the comparison by Rakshath: 167,562 parameters at 32 pixels."""
    layers = keras.layers
    return keras.Sequential([
        keras.Input(shape),
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(classes, activation="softmax"),
    ])  # fmt: skip


def optimizer(spec: RunSpec) -> keras.optimizers.Optimizer:
    """Matched: with PyTorch's constants and formulas; as shipped: Keras's own, at its own other defaults."""
    if spec.optimizer == "sgd":
        return keras.optimizers.SGD(spec.learning_rate, momentum=spec.momentum)
    if spec.matched:
        return keras_layers.Adam(spec.learning_rate, epsilon=keras_layers.ADAM_EPSILON)
    return keras.optimizers.Adam(spec.learning_rate)


def loss(spec: RunSpec) -> keras.losses.Loss:
    """Mean cross-entropy: of logits in matched mode, of the probabilities in which the zoo's models end."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=spec.matched)


def model_facts(spec: RunSpec, made: keras.Model) -> dict[str, Any]:
    """What is told of a Keras model and its loss on any backend."""
    return {
        "parameters": _count(made.trainable_weights),
        "non_trainable_parameters": _count(made.non_trainable_weights),
        "layout": keras.config.image_data_format(),
        "precision": made.dtype_policy.name,
        "initial_weights": "numpy, from the seed" if spec.matched else "Keras's own",
        "normalises_inside": any(isinstance(layer, keras.layers.Rescaling) for layer in made.layers),
        "loss": f"cross-entropy of {'logits' if spec.matched else 'probabilities'}",
        "loss_reduction": "mean",
    }


def _count(weights: list[Any]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def optimizer_facts(made: keras.optimizers.Optimizer) -> dict[str, Any]:
    """The settings that both frameworks have, by one set of names. No weight decay is Keras's None and others' 0."""
    config = made.get_config()
    names = ("beta_1", "beta_2", "epsilon", "momentum", "nesterov")
    return (
        # kept as float32: the shortest number that stands for it is what was asked for
        {"name": type(made).__name__, "learning_rate": float(str(np.float32(config["learning_rate"])))}
        | {name: config[name] for name in names if name in config}
        | {"weight_decay": config["weight_decay"] or 0.0}
    )


class _Level:
    """An integer option as TensorFlow 2.21 takes it.

    Its binding tries every value as a bool first, which an int can be, and then ignores the option with a warning that
    it "expects an i value". This cannot be taken for a bool.
    """

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


class Profiler:
    """tf.profiler over `profile_steps` steps, writing where TensorBoard's plugin looks; fulfils `NativeProfiler`."""

    def __init__(self, spec: RunSpec, folder: Path, *, sync: Callable[[], None]) -> None:
        self._folder = folder
        self._sync = sync
        self._steps = spec.profile_steps
        self._options = tf.profiler.experimental.ProfilerOptions(
            host_tracer_level=_Level(HOST_TRACER_LEVEL),
            python_tracer_level=_Level(spec.profile_stacks),
            device_tracer_level=_Level(1),
            delay_ms=_Level(0),
        )
        self._step = 0
        self._trace: Any = None

    def start(self) -> None:
        """Records from here on."""
        tf.profiler.experimental.start(str(self._folder), self._options)

    def begin_step(self, name: str) -> None:
        """Opens the event that xprof takes for a step."""
        self._step += 1
        self._trace = tf.profiler.experimental.Trace(name, step_num=self._step, _r=1)

    def end_step(self) -> bool:
        """Closes it; the last one of the window writes the trace."""
        self._trace.__exit__(None, None, None)
        goes_on = self._step < self._steps
        if not goes_on:
            self.stop()
        return goes_on

    def stop(self) -> None:
        """Writes the trace, once the device has done what was asked in the window: it records no later."""
        self._sync()
        tf.profiler.experimental.stop()
