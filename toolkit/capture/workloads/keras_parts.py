"""What every workload on Keras is put together from, whatever its backend: models, optimizers, losses, settings."""

from typing import Any, Protocol

import keras
import numpy as np

from toolkit.capture.workload import Evaluation
from toolkit.capture.workloads import ZOO
from toolkit.capture.workloads.data import Data
from toolkit.capture.workloads.matched import keras_layers, keras_models, keras_weights, weights
from toolkit.errors import HwprofError
from toolkit.spec import CIFAR_CNN, RunSpec


class TrainSet(Protocol):
    """Training batches that Keras takes, one epoch at a time."""

    def epoch(self, number: int) -> Any:
        """Its batches; asking for another epoch changes what one given out before yields when it starts anew."""


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
    if spec.model == CIFAR_CNN:
        return _cifar_cnn(shape, spec.classes)
    make = getattr(keras.applications, ZOO[spec.framework][spec.model])
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


def evaluation(data: Data, loss: Any, accuracy: Any) -> Evaluation:
    """Of the validation set, from any backend's numbers."""
    return Evaluation(float(loss), float(accuracy), data.validation.samples)


def model_facts(spec: RunSpec, made: keras.Model) -> dict[str, Any]:
    """What is told of a Keras model and its loss on any backend."""
    return {
        "parameters": _count(made.trainable_weights),
        "non_trainable_parameters": _count(made.non_trainable_weights),
        "layout": keras.config.image_data_format(),
        "precision": made.dtype_policy.name,
        "compute_dtype": made.dtype_policy.compute_dtype,
        "weights_dtype": made.dtype_policy.variable_dtype,
        "initial_weights": "numpy, from the seed" if spec.matched else "Keras's own",
        "normalises_inside": any(isinstance(layer, keras.layers.Rescaling) for layer in made.layers),
        "loss": f"cross-entropy of {'logits' if spec.matched else 'probabilities'}",
        "loss_reduction": "mean",
    }


def _count(weights: list[Any]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def optimizer_facts(made: keras.optimizers.Optimizer) -> dict[str, Any]:
    """The settings that all frameworks have, by one set of names. No weight decay is Keras's None and others' 0."""
    config = made.get_config()
    names = ("beta_1", "beta_2", "epsilon", "momentum", "nesterov")
    return (
        # kept as float32: the shortest number that stands for it is what was asked for
        {"name": type(made).__name__, "learning_rate": float(str(np.float32(config["learning_rate"])))}
        | {name: config[name] for name in names if name in config}
        | {"weight_decay": config["weight_decay"] or 0.0}
    )
