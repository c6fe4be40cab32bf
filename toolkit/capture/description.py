"""What may be told of a workload, in one language for all frameworks: the layers that run, the settings around them.

A description is JSON in a pass's folder (`description.json`), written before the first step:

    version, framework, model, mode
    sections   {"optimizer": {"epsilon": 1e-08, ...}, ...}: what a person would call each setting, and its value
    layers     in the order in which they run, see `Layer`

Frameworks read their own objects and call the functions below, so that one thing bears one name everywhere.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from toolkit.spec import RunSpec

VERSION = 1
FILE = "description.json"
# Small beside any epsilon, so that a first step shows it.
TINY_GRADIENT = 1e-7

Value = str | int | float | bool | None
Section = dict[str, Value]
Pair = tuple[int, int]


class Window(NamedTuple):
    """What a convolution or a pool looks through: height and width of each, padding (before, after) of each, pixels."""

    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair = (1, 1)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One call of a layer. `identity` is what makes it comparable to another framework's layer of the same kind.

    `tensors` holds the statistics of each initial tensor (`workloads/tensors.py`), `fans` the layer's fan-in and
    fan-out as PyTorch counts them: input channels of a group, or output channels, times the window's size.
    """

    name: str
    kind: str
    identity: str = ""
    settings: Section = field(default_factory=dict)
    tensors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fans: Pair | None = None
    flops: int = 0


def document(spec: RunSpec, device: str, *, sections: Mapping[str, Section], layers: Iterable[Layer]) -> str:
    """The description as JSON, with what the spec settles for any framework as its first section."""
    asked: Section = {
        "task": spec.task,
        "loop": spec.loop,
        "data": spec.dataset,
        "input": f"{spec.image_size}×{spec.image_size}×3",
        "classes": spec.classes,
        "starts from weights": spec.weights,
        "trains": spec.trainable,
        "replicas": spec.replicas,
        "pixels normalised by": spec.normalise,
        "device": device,
    }
    told = {"version": VERSION, "framework": spec.framework, "model": spec.model, "mode": spec.mode}
    told |= {"sections": {"workload": asked, **sections}, "layers": [dataclasses.asdict(layer) for layer in layers]}
    return json.dumps(told, separators=(",", ":"))


def network(called: Iterable[Layer], *, parameters: int, trained: int, statistics: int, layout: Value) -> Section:
    """Sizes and layout; with its statistics, the values that layers remember, is how Keras counts a model."""
    return {
        "parameters": parameters,
        "parameters trained": trained,
        "remembered statistics": statistics,
        "parameters with statistics": parameters + statistics,
        "FLOPs a sample": sum(layer.flops for layer in called),
        "layout": layout,
    }


def numerics(facts: Mapping[str, Any], *, tf32_in_products: bool, tf32_in_convolutions: bool) -> Section:
    """Types by the workload's facts, and whether TF32 is allowed where a device has it, as the flags say."""
    return {
        "weights in": facts["weights_dtype"],
        "computed in": facts["compute_dtype"],
        "TF32 allowed in matrix products": tf32_in_products,
        "TF32 allowed in convolutions": tf32_in_convolutions,
    }


def convolution(  # noqa: PLR0913 - a convolution has that many settings
    name: str,
    window: Window,
    *,
    channels: Pair,
    groups: int,
    bias: bool,
    output: Pair,
    tensors: Mapping[str, Mapping[str, Any]],
) -> Layer:
    """A convolution from channels[0] to channels[1] whose output is `output` pixels high and wide."""
    inputs, outputs = channels
    area = math.prod(window.kernel)
    fans = (inputs // groups * area, outputs * area)
    depthwise = groups == inputs > 1
    grouped = f" in {groups} groups" if groups > 1 and not depthwise else ""
    return Layer(
        name=name,
        kind="depthwise convolution" if depthwise else "convolution",
        identity=f"{_by(window.kernel)} {inputs}→{outputs}{grouped}",
        settings=_window(window) | {"bias": bias},
        tensors=tensors,
        fans=fans,
        flops=2 * fans[0] * outputs * math.prod(output),
    )


def dense(name: str, *, inputs: int, outputs: int, bias: bool, tensors: Mapping[str, Mapping[str, Any]]) -> Layer:
    """A matrix product with `inputs` features of one sample, and a bias where it has one."""
    return Layer(
        name=name,
        kind="dense",
        identity=f"{inputs}→{outputs}",
        settings={"bias": bias},
        tensors=tensors,
        fans=(inputs, outputs),
        flops=2 * inputs * outputs,
    )


def batch_norm(  # noqa: PLR0913 - as many as a batch norm has
    name: str,
    *,
    channels: int,
    epsilon: float,
    momentum: float | None,
    remembers: str,
    tensors: Mapping[str, Mapping[str, Any]],
) -> Layer:
    """Batch norm; `momentum` is the weight of the new batch, `remembers` which variance it keeps."""
    return Layer(
        name=name,
        kind="batch norm",
        identity=f"{channels} channels",
        settings={
            "epsilon": epsilon,
            "momentum": momentum,
            "remembered variance": remembers,
            "scale": "scale" in tensors,
            "shift": "shift" in tensors,
        },
        tensors=tensors,
    )


def pool(name: str, how: str, window: Window) -> Layer:
    """A pool, `max` or `average`, by a window."""
    return Layer(name=name, kind="pool", identity=f"{how} {_by(window.kernel)}", settings=_window(window))


def pool_to(name: str, how: str, *, before: Pair, after: Pair) -> list[Layer]:
    """A pool to a size, in pixels; none where it leaves its input as it is."""
    if before == after:
        return []
    size = "to one value" if after == (1, 1) else f"to {_by(after)}"
    return [Layer(name=name, kind="pool", identity=f"{how} {size}")]


def activation(name: str, function: str) -> Layer:
    """A function of each value (or, as softmax, of each sample)."""
    return Layer(name=name, kind="activation", identity=function)


def dropout(name: str, rate: float) -> Layer:
    """Dropout of single values."""
    return Layer(name=name, kind="dropout", settings={"rate": _round(rate)})


def stochastic_depth(name: str, rate: float) -> Layer:
    """Dropout of a whole sample's branch."""
    return Layer(name=name, kind="stochastic depth", settings={"rate": _round(rate)})


def preprocessing(name: str, what: str, settings: Section) -> Layer:
    """Something done to the input inside the network: `rescaling`, `normalisation`."""
    return Layer(name=name, kind="preprocessing in the network", identity=what, settings=settings)


def unknown(name: str, kind: str) -> Layer:
    """A layer that is none of these, by its class's name."""
    return Layer(name=name, kind="other layer", identity=kind)


def new_batch_weight(old_average_weight: float) -> float:
    """Keras's batch-norm momentum in PyTorch's convention, without the digits that binary floats add."""
    return _round(1 - old_average_weight)


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    """What `same` pads in one direction: what the last window lacks, the smaller half before."""
    reach = (kernel - 1) * dilation + 1
    lacks = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
    return lacks // 2, lacks - lacks // 2


def epsilon_in_effect(learning_rate: float, moved: float) -> float:
    """Adam's ε such that its first step lr·g/(g+ε), g being TINY_GRADIENT, is `moved`; float32 gives two digits."""
    return float(f"{TINY_GRADIENT * (learning_rate / moved - 1):.1e}")


def remembered_variance(before: float, after: float, momentum: float | None) -> str:
    """Which variance of the samples -1 and 1 moved a batch norm's from `before` to `after`: 1 is biased, 2 is not."""
    if not momentum:
        return "unknown"
    return "biased" if round((after - before) / momentum + before) == 1 else "unbiased"


def _window(window: Window) -> Section:
    return {
        "stride": _both(window.stride),
        "padding": _padding(window.padding),
        "dilation": _both(window.dilation),
    }


def _padding(padding: tuple[Pair, Pair]) -> Value:
    """One number where all sides are alike; else those before and after, of each direction where they differ."""
    rows, columns = (before if before == after else f"{before} before, {after} after" for before, after in padding)
    return rows if rows == columns else f"rows {rows}; columns {columns}"


def _both(pair: Pair) -> Value:
    return pair[0] if pair[0] == pair[1] else _by(pair)


def _by(pair: Pair) -> str:
    return f"{pair[0]}×{pair[1]}"


def _round(value: float) -> float:
    return round(value, 12)
