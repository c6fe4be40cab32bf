"""FLOPs and bytes of PyTorch's operators by the shapes of their inputs, which a trace tells with `record_shapes`.

Of matrix products, convolutions and attention, which is where a model's arithmetic lies; two FLOPs a multiply-add, by
the definitions of torch.utils.flop_counter. Bytes are those of operands and results, each once: what has to move at
least. What a trace does not tell (strides of a convolution before 2022) or tells in no sensible way is unknown.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from toolkit.ingest.kineto_events import Args

Shape = list[int]

# Kineto's name of a type -> the store's precision, and bytes of an element.
_TYPES = {"float": ("fp32", 4), "double": ("fp64", 8), "c10::BFloat16": ("bf16", 2), "c10::Half": ("fp16", 2)}
_INT64_MAX = 2**63 - 1
# A product of a few dimensions of 64 bits stays small for Python, and no tensor has more dimensions than this.
_MOST_DIMENSIONS = 64
_SHAPES = msgspec.json.Decoder(list[Any])
_TEXTS = msgspec.json.Decoder(list[str])


class Work(NamedTuple):
    """FLOPs, bytes of operands and results, and the operands' precision; None is unknown."""

    flops: int | None
    accessed_bytes: int | None
    precision: str | None


UNKNOWN = Work(None, None, None)


class _Computed(NamedTuple):
    """FLOPs, and how many elements operands and results have together."""

    flops: int
    elements: int


class _Inputs(NamedTuple):
    """Shapes of the inputs, and the values of those that are no tensors, as text."""

    shapes: Sequence[Any]
    values: Sequence[str]

    def shape(self, place: int, dimensions: int | None = None) -> Shape:
        """Of the tensor at this place, of so many dimensions; ValueError where it is none."""
        found = self.shapes[place]
        if not isinstance(found, list) or not 0 < len(found) <= _MOST_DIMENSIONS:
            raise ValueError("no tensor")
        if not all(type(size) is int and 0 <= size <= _INT64_MAX for size in found):
            raise ValueError("no shape")
        if dimensions is not None and len(found) != dimensions:
            raise ValueError("of other dimensions")
        return found

    def numbers(self, place: int, count: int) -> list[int]:
        """A list of numbers, which may stand for its only one repeated."""
        found = [int(text) for text in self.values[place].strip("[]").split(",")]
        return found * count if len(found) == 1 else found

    def flags(self, place: int) -> list[bool]:
        """A list of flags, or one."""
        return [text.strip() == "True" for text in self.values[place].strip("[]").split(",")]


def is_known(name: str) -> bool:
    """Whether an operator of this name is one whose shapes tell its FLOPs."""
    return name in _RULES


def work_of(name: str, args: Args) -> Work | None:
    """What an operator for which `is_known` computed; None where its event does not tell."""
    try:
        inputs = _Inputs(_SHAPES.decode(args.dims or args.old_dims), _texts(args.values))
        computed = _RULES[name](inputs)
        types = _texts(args.types)
    except (msgspec.DecodeError, RecursionError, ValueError, IndexError, ZeroDivisionError):
        return None
    if not 0 < computed.flops <= _INT64_MAX:
        return None
    precision, size = next((_TYPES[text] for text in types if text in _TYPES), (None, 0))
    accessed = computed.elements * size
    return Work(computed.flops, accessed if 0 < accessed <= _INT64_MAX else None, precision)


def _texts(raw: msgspec.Raw) -> list[str]:
    return _TEXTS.decode(raw) if bytes(raw) else []


def _product(first: int) -> Callable[[_Inputs], _Computed]:
    """Of matrices [m, k] and [k, n], the first of them at this place."""

    def rule(inputs: _Inputs) -> _Computed:
        (m, k), (other, n) = inputs.shape(first, 2), inputs.shape(first + 1, 2)
        return _multiplied(1, m, k, other, n)

    return rule


def _batched(first: int) -> Callable[[_Inputs], _Computed]:
    """Of matrices [b, m, k] and [b, k, n], the first of them at this place."""

    def rule(inputs: _Inputs) -> _Computed:
        (b, m, k), (_, other, n) = inputs.shape(first, 3), inputs.shape(first + 1, 3)
        return _multiplied(b, m, k, other, n)

    return rule


def _multiplied(b: int, m: int, k: int, other: int, n: int) -> _Computed:
    if k != other:
        raise ValueError("these do not multiply")
    return _Computed(2 * b * m * k * n, b * (m * k + k * n + m * n))


def _convolution(inputs: _Inputs) -> _Computed:
    """(input, weight, bias, stride, padding, dilation, transposed, output padding, groups)."""
    image, weight = inputs.shape(0), inputs.shape(1)
    window, axes = weight[2:], len(weight) - 2
    stride, padding, dilation = (inputs.numbers(place, axes) for place in (3, 4, 5))
    spatial = zip(image[2:], window, stride, padding, dilation, strict=True)
    if inputs.flags(6)[0]:
        more, (groups,) = inputs.numbers(7, axes), inputs.numbers(8, 1)
        sizes = [(i - 1) * s - 2 * p + d * (k - 1) + 1 for i, k, s, p, d in spatial]
        result = image[0] * weight[1] * groups * math.prod(map(sum, zip(sizes, more, strict=True)))
        flops = 2 * math.prod(image) * math.prod(weight[1:])
    else:
        sizes = [(i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, s, p, d in spatial]
        result = image[0] * weight[0] * math.prod(sizes)
        flops = 2 * result * math.prod(weight[1:])
    return _Computed(flops, math.prod(image) + math.prod(weight) + result)


def _convolution_backward(inputs: _Inputs) -> _Computed:
    """(gradient, input, weight, …, transposed at 7, …, which gradients are wanted at 10): each is one convolution."""
    gradient, image, weight = (math.prod(inputs.shape(place)) for place in range(3))
    of_input, of_weight, *_ = inputs.flags(10)
    outer = image if inputs.flags(7)[0] else gradient
    flops = 2 * outer * math.prod(inputs.shape(2)[1:])
    elements = of_input * (gradient + weight + image) + of_weight * (gradient + image + weight)
    return _Computed(flops * (of_input + of_weight), elements - gradient * (of_input and of_weight))


def _attention(inputs: _Inputs) -> _Computed:
    """(query, key, value) of [batch, heads, length, width]: two products, whatever a mask leaves out."""
    (b, h, queries, width), (_, _, keys, _), (_, _, _, value) = (inputs.shape(place, 4) for place in range(3))
    elements = queries * width + keys * width + keys * value + queries * value
    return _Computed(2 * b * h * queries * keys * (width + value), b * h * elements)


_RULES: dict[str, Callable[[_Inputs], _Computed]] = {
    "aten::mm": _product(0),
    "aten::addmm": _product(1),
    "aten::bmm": _batched(0),
    "aten::baddbmm": _batched(1),
    "aten::convolution": _convolution,
    "aten::convolution_backward": _convolution_backward,
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
}
