"""What the TensorFlow workload is put together from: keras.applications, Keras's optimizers, tf.data pipelines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from toolkit.capture.workloads import ZOO
from toolkit.capture.workloads.data import Split
from toolkit.errors import HwprofError
from toolkit.spec import RunSpec

HOST = "/CPU:0"
HOST_TRACER_LEVEL = 2


def batches(split: Split, spec: RunSpec, *, shuffle: bool) -> tf.data.Dataset:
    """Batches of float32 images in 0..1 [n, size, size, 3] and int64 labels [n]; a new order each time round.

    Indices are shuffled, not images: the whole set's order is drawn, as PyTorch's sampler draws it, for eight bytes a
    sample.
    """
    with tf.device(HOST):
        images, labels = tf.constant(split.images), tf.constant(split.labels)
        samples = tf.data.Dataset.range(split.samples)
    distinct = len(split.labels)

    def sample(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        place = index % distinct
        return tf.cast(tf.gather(images, place), tf.float32) / 255, tf.gather(labels, place)

    if shuffle:
        samples = samples.shuffle(split.samples, seed=spec.seed)
    samples = samples.map(sample, num_parallel_calls=tf.data.AUTOTUNE)
    return samples.batch(spec.batch).prefetch(tf.data.AUTOTUNE)


def model(spec: RunSpec) -> keras.Model:
    """The zoo's model with fresh weights. Raises HwprofError for an image size that it cannot take."""
    shape = (spec.image_size, spec.image_size, 3)
    try:
        if spec.model == "cifar_cnn":
            return _cifar_cnn(shape, spec.classes)
        make = getattr(keras.applications, ZOO["tf"][spec.model])
        return make(weights=None, include_top=True, input_shape=shape, classes=spec.classes)
    except ValueError as error:
        raise HwprofError(
            f"Keras cannot build {spec.model} for image_size={spec.image_size}: {' '.join(str(error).split())}",
            remedy="Use image_size=32 or more.",
        ) from error


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
    """Keras's own, at its own other defaults."""
    if spec.optimizer == "adam":
        return keras.optimizers.Adam(spec.learning_rate)
    return keras.optimizers.SGD(spec.learning_rate, momentum=spec.momentum)


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
