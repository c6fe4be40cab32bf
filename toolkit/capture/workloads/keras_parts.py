"""What every workload on Keras is put together from, whatever its backend: models, optimizers, losses, settings."""

from typing import Any, Protocol

import keras
import numpy as np

from toolkit.capture.workload import Evaluation
from toolkit.capture.workloads import ZOO, keras_pretrained
from toolkit.capture.workloads.data import Data
from toolkit.capture.workloads.matched import keras_layers, keras_models, keras_weights, start
from toolkit.capture.workloads.matched.start import REMEMBERED
from toolkit.errors import HwprofError
from toolkit.spec import CIFAR_CNN, HEAD, PRETRAINED, RunSpec

# Of batch norms and Keras's Normalization, by the names of their variables.
STATISTICS = {"moving_mean", "moving_variance", "mean", "variance"}


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
        made = _matched(spec) if spec.matched else _zoo(spec)
    except ValueError as error:
        raise HwprofError(
            f"Keras cannot build {spec.model} for image_size={spec.image_size}: {' '.join(str(error).split())}",
            remedy="Use image_size=32 or more.",
        ) from error
    if spec.trainable == HEAD:
        _freeze(made)
    return made


def parameters(made: keras.Model) -> list[keras.Variable]:
    """What can be trained, whether it is or not."""
    return [weight for weight in _numbers(made) if weight.name not in STATISTICS]


def statistics(made: keras.Model) -> list[keras.Variable]:
    """What layers remember of batches, or of data sets."""
    return [weight for weight in _numbers(made) if weight.name in STATISTICS]


def count(weights: list[keras.Variable]) -> int:
    """The numbers in all of them."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def _numbers(made: keras.Model) -> list[keras.Variable]:
    """All but counts and the states of generators."""
    return [weight for weight in made.weights if "float" in weight.dtype]


def _freeze(made: keras.Model) -> None:
    """All but the last layer."""
    *others, _ = (layer for layer in made.layers if layer.weights)
    for layer in others:
        layer.trainable = False


def _frozen_batch_norm(spec: RunSpec, made: keras.Model) -> str | None:
    """What a batch norm that is not trained normalises by: Keras takes it for one in inference."""
    there = any(isinstance(layer, keras.layers.BatchNormalization) for layer in made.layers)
    return REMEMBERED if spec.trainable == HEAD and there else None


def _matched(spec: RunSpec) -> keras.Model:
    made = keras_models.build(spec.model, image_size=spec.image_size, classes=spec.classes)
    shapes = {name: array.shape for name, array in keras_weights.state(made).items()}
    keras_weights.load(made, start.values(spec, shapes))
    return made


def _zoo(spec: RunSpec) -> keras.Model:
    shape = (spec.image_size, spec.image_size, 3)
    if spec.model == CIFAR_CNN:
        return _cifar_cnn(shape, spec.classes)
    make = getattr(keras.applications, ZOO[spec.framework][spec.model])
    made: keras.Model = make(weights=None, include_top=True, input_shape=shape, classes=spec.classes)
    if spec.weights == PRETRAINED:
        keras_pretrained.load(made, spec)
    return made


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
        "parameters": count(parameters(made)),
        "parameters_trained": count(made.trainable_weights),
        "frozen_batch_norm": _frozen_batch_norm(spec, made),
        "non_trainable_parameters": count(made.weights) - count(parameters(made)),
        "layout": keras.config.image_data_format(),
        "precision": made.dtype_policy.name,
        "compute_dtype": made.dtype_policy.compute_dtype,
        "weights_dtype": made.dtype_policy.variable_dtype,
        **start.told(spec, "numpy, from the seed" if spec.matched else "Keras's own"),
        "normalises_inside": any(isinstance(layer, keras.layers.Rescaling) for layer in made.layers),
        "loss": f"cross-entropy of {'logits' if spec.matched else 'probabilities'}",
        "loss_reduction": "mean",
    }


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
