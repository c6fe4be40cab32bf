"""What a Keras model, optimizer and loss are, on any backend, read off the live objects: its layers' own attributes."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from toolkit.capture import description
from toolkit.capture.description import Layer, Pair, Section, Window
from toolkit.capture.workloads import keras_parts, tensors
from toolkit.capture.workloads.matched.keras_layers import AdaptiveMean, StochasticDepth
from toolkit.spec import CHANNELS_LAST, RunSpec

kl = keras.layers

TENSORS = {"kernel": "kernel", "bias": "bias"}
BATCH_NORM_TENSORS = {"gamma": "scale", "beta": "shift", "moving_mean": "mean", "moving_variance": "variance"}
# They join or move values; a padding is counted to the window after it.
STRUCTURE = (kl.InputLayer, kl.ZeroPadding2D, kl.Add, kl.Multiply, kl.Concatenate, kl.Flatten, kl.Reshape)
REDUCTIONS = {"sum_over_batch_size": "mean"}
RELU6 = 6


def document(  # noqa: PLR0913 - what a workload is made of
    spec: RunSpec,
    facts: dict[str, Any],
    *,
    model: keras.Model,
    loss: keras.losses.Loss,
    optimizer: keras.optimizers.Optimizer,
    compiled: str,
    pipeline: Section,
    tf32: bool,
) -> str:
    """The whole description of a workload, out of its `facts` too; `tf32`: the backend's one flag allows it."""
    called = _layers(model)
    sections = {
        "network": _network(model, called),
        "loss": _loss(loss),
        "optimizer": _optimizer(optimizer),
        "numerics": description.numerics(facts, tf32_in_products=tf32, tf32_in_convolutions=tf32),
        "execution": {"compiled": compiled, "threads": facts["threads"]},
        "input pipeline": pipeline,
    }
    return description.document(spec, facts["device"], sections=sections, layers=called)


def execution(model: keras.Model) -> str:
    """How `compile` came to run a model: `eager`, `graph` or `xla`. On JAX there is no graph without XLA."""
    if model.run_eagerly:
        return "eager"
    if model.jit_compile:
        return "xla"
    return "graph" if keras.backend.backend() == "tensorflow" else "eager"


def _layers(model: keras.Model) -> list[Layer]:
    """The model's layers in the order of its graph, nested models opened."""
    return list(_flattened(model))


def _network(model: keras.Model, called: list[Layer]) -> Section:
    """Sizes and layout. Statistics are what layers remember; no counts, no states of generators."""
    return description.network(
        called,
        parameters=keras_parts.count(keras_parts.parameters(model)),
        trained=keras_parts.count(model.trainable_weights),
        statistics=keras_parts.count(keras_parts.statistics(model)),
        layout=keras.config.image_data_format(),
    )


def _optimizer(made: keras.optimizers.Optimizer) -> Section:
    """Its constants, by the names that all frameworks share where they have them."""
    config = made.get_config()
    renamed = {"beta_1": "beta 1", "beta_2": "beta 2"}
    found: Section = {"algorithm": type(made).__name__}
    for name, value in config.items():
        unused = name.startswith("ema_") and not config["use_ema"]
        if name != "name" and not unused:
            found[renamed.get(name, name.replace("_", " "))] = value
    # kept as float32: the shortest number that stands for it is what was asked for
    found["learning rate"] = float(str(np.float32(config["learning_rate"])))
    if "epsilon" in found:
        found["epsilon in effect"] = _epsilon(made)
    return found


def _loss(made: keras.losses.Loss) -> Section:
    """Cross-entropy, of logits or of probabilities."""
    config = made.get_config()
    return {
        "function": "cross-entropy",
        "of": "logits" if config["from_logits"] else "probabilities",
        "reduction": REDUCTIONS.get(made.reduction, made.reduction),
    }


def _flattened(model: keras.Model) -> Iterator[Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flattened(layer)
        else:
            yield from _layer(layer)


def _layer(layer: Any) -> Iterator[Layer]:
    if not isinstance(layer, STRUCTURE):
        reader = next((reader for kind, reader in READERS.items() if isinstance(layer, kind)), _unknown)
        yield from reader(layer)
    function = getattr(layer, "activation", None)
    if function is not None and function is not keras.activations.linear:
        yield description.activation(layer.name, function.__name__)


def _unknown(layer: Any) -> Iterator[Layer]:
    yield description.unknown(layer.name, type(layer).__name__)


def _convolution(layer: Any) -> Iterator[Layer]:
    yield _windowed(layer, outputs=layer.filters, groups=layer.groups)


def _depthwise(layer: Any) -> Iterator[Layer]:
    inputs = _channels(layer)
    yield _windowed(layer, outputs=inputs * layer.depth_multiplier, groups=inputs)


def _windowed(layer: Any, *, outputs: int, groups: int) -> Layer:
    return description.convolution(
        layer.name,
        _window(layer, layer.kernel_size, layer.dilation_rate),
        channels=(_channels(layer), outputs),
        groups=groups,
        bias=layer.use_bias,
        output=_pixels(layer.output.shape, layer),
        tensors=_tensors(layer, TENSORS),
    )


def _dense(layer: Any) -> Iterator[Layer]:
    yield description.dense(
        layer.name,
        inputs=layer.input.shape[-1],
        outputs=layer.units,
        bias=layer.use_bias,
        tensors=_tensors(layer, TENSORS),
    )


def _batch_norm(layer: Any) -> Iterator[Layer]:
    yield description.batch_norm(
        layer.name,
        channels=layer.input.shape[layer.axis],
        epsilon=layer.epsilon,
        momentum=description.new_batch_weight(layer.momentum),
        remembers=_remembers(layer.__class__),
        tensors=_tensors(layer, BATCH_NORM_TENSORS),
    )


def _pool(how: str) -> Callable[[Any], Iterator[Layer]]:
    def reader(layer: Any) -> Iterator[Layer]:
        yield description.pool(layer.name, how, _window(layer, layer.pool_size, (1, 1)))

    return reader


def _global_pool(layer: Any) -> Iterator[Layer]:
    yield from description.pool_to(layer.name, "average", before=_pixels(layer.input.shape, layer), after=(1, 1))


def _adaptive_mean(layer: Any) -> Iterator[Layer]:
    yield from description.pool_to(layer.name, "average", before=layer.input.shape[1:3], after=layer.output.shape[1:3])


def _relu(layer: Any) -> Iterator[Layer]:
    capped = {None: "relu", RELU6: "relu6"}.get(layer.max_value, f"relu up to {layer.max_value}")
    yield description.activation(layer.name, f"leaky {capped}" if layer.negative_slope else capped)


def _dropout(layer: Any) -> Iterator[Layer]:
    """One mask value for all of a sample's pixels and channels is stochastic depth."""
    shape = layer.noise_shape
    whole = shape is not None and all(size == 1 for size in shape[1:])
    yield (description.stochastic_depth if whole else description.dropout)(layer.name, layer.rate)


def _stochastic_depth(layer: Any) -> Iterator[Layer]:
    yield description.stochastic_depth(layer.name, layer.rate)


def _rescaling(layer: Any) -> Iterator[Layer]:
    settings: Section = {"scale": _number(layer.scale), "offset": _number(layer.offset)}
    yield description.preprocessing(layer.name, "rescaling", settings)


def _normalisation(layer: Any) -> Iterator[Layer]:
    settings: Section = {"mean": _number(layer.mean), "variance": _number(layer.variance)}
    yield description.preprocessing(layer.name, "normalisation", settings)


READERS: dict[type, Callable[[Any], Iterator[Layer]]] = {
    kl.DepthwiseConv2D: _depthwise,
    kl.Conv2D: _convolution,
    kl.Dense: _dense,
    kl.BatchNormalization: _batch_norm,
    kl.MaxPooling2D: _pool("max"),
    kl.AveragePooling2D: _pool("average"),
    kl.GlobalAveragePooling2D: _global_pool,
    AdaptiveMean: _adaptive_mean,
    kl.ReLU: _relu,
    # what it computes is its attribute, told for every layer that has one
    kl.Activation: lambda _: iter(()),
    kl.Dropout: _dropout,
    StochasticDepth: _stochastic_depth,
    kl.Rescaling: _rescaling,
    kl.Normalization: _normalisation,
}


def _window(layer: Any, kernel: Pair, dilation: Pair) -> Window:
    size = _pixels(layer.input.shape, layer)
    padded = _padded_before(layer)
    if layer.padding == "same":
        own = [description.same_padding(*each) for each in zip(size, kernel, layer.strides, dilation, strict=True)]
    else:
        own = [(0, 0), (0, 0)]
    rows, columns = ((there[0] + here[0], there[1] + here[1]) for there, here in zip(padded, own, strict=True))
    return Window(kernel, layer.strides, (rows, columns), dilation)


def _padded_before(layer: Any) -> tuple[Pair, Pair]:
    """What a layer of its own pads before this one."""
    before = layer.input._keras_history.operation  # noqa: SLF001 - Keras has no public way from a layer to its input's
    return before.padding if isinstance(before, kl.ZeroPadding2D) else ((0, 0), (0, 0))


def _channels(layer: Any) -> int:
    return int(layer.input.shape[-1 if layer.data_format == CHANNELS_LAST else 1])


def _pixels(shape: tuple[int, ...], layer: Any) -> Pair:
    height, width = shape[1:3] if layer.data_format == CHANNELS_LAST else shape[2:4]
    return height, width


def _tensors(layer: Any, names: dict[str, str]) -> dict[str, Any]:
    return {names[weight.name]: _statistics(weight) for weight in layer.weights if weight.name in names}


def _statistics(weight: Any) -> dict[str, Any]:
    values = np.asarray(weight).reshape(-1)
    return tensors.statistics(values[:: tensors.spacing(values.size)], values.size)


@functools.cache
def _remembers(kind: type) -> str:
    """Of two samples, -1 and 1, one keeps a variance of 1 (of these samples) or 2 (the estimate of all others')."""
    tried = kind()
    tried.build((2, 1, 1, 1))
    state = [variable.value for variable in tried.non_trainable_variables]
    samples = ops.reshape(ops.convert_to_tensor([-1, 1], tried.compute_dtype), (2, 1, 1, 1))
    _, updated = tried.stateless_call(tried.trainable_variables, state, samples, training=True)
    names = [variable.name for variable in tried.non_trainable_variables]
    after = float(np.asarray(updated[names.index("moving_variance")])[0])
    return description.remembered_variance(1.0, after, 1 - tried.momentum)


def _epsilon(made: keras.optimizers.Optimizer) -> float:
    config = made.get_config()
    fresh = type(made).from_config(config)
    tried = keras.Variable([0.0], dtype="float32")
    fresh.build([tried])
    fresh.apply([ops.convert_to_tensor([description.TINY_GRADIENT], dtype="float32")], [tried])
    return description.epsilon_in_effect(config["learning_rate"], -float(np.asarray(tried)[0]))


def _number(value: Any) -> float | str:
    """One number, or several as text."""
    figures = [float(f"{figure:.6g}") for figure in np.asarray(value, np.float64).ravel()]
    return figures[0] if len(set(figures)) == 1 else ", ".join(map(str, figures))
