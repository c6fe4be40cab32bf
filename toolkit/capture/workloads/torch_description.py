"""What a PyTorch model, optimizer and loader are, read off the live objects; the model is run on the meta device."""

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader, RandomSampler

from toolkit.capture import description
from toolkit.capture.description import Layer, Pair, Section, Value, Window
from toolkit.capture.workloads import tensors
from toolkit.spec import CHANNELS_FIRST, CHANNELS_LAST

IMAGE_NDIM = 4
ACTIVATIONS = {nn.ReLU: "relu", nn.ReLU6: "relu6", nn.SiLU: "silu", nn.Sigmoid: "sigmoid", nn.Softmax: "softmax"}
# They move values, or, the pools to a size, are told where their function is called, which some models do directly.
STRUCTURE = (nn.Flatten, nn.Identity, nn.AdaptiveAvgPool2d)
TENSORS = {"weight": "kernel", "bias": "bias"}
BATCH_NORM_TENSORS = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "variance"}


def layers(model: nn.Module, image: tuple[int, int, int]) -> list[Layer]:
    """The model's layers as one image [channels, height, width] calls them, in inference mode. Leaves it unchanged."""
    training = model.training
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    weights = {name: tensor.detach().to("meta") for name, tensor in named.items()}
    dtype = next(model.parameters()).dtype
    with _Calls(model) as calls, torch.no_grad():
        torch.func.functional_call(model.eval(), weights, (torch.empty(1, *image, device="meta", dtype=dtype),))
    model.train(training)
    # Only now: while it ran on the meta device its tensors had no values.
    return [layer for call in calls.made for layer in _layers(call)]


def network(model: nn.Module, called: list[Layer]) -> Section:
    """Sizes and layout. Statistics are what layers remember, without batch norm's counts, which decide nothing."""
    return description.network(
        called,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        statistics=sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point()),
        layout=_layout(model),
    )


def optimizer(made: torch.optim.Optimizer) -> Section:
    """Its constants, by the names that all frameworks share where they have them."""
    (group,) = made.param_groups
    found: Section = {"algorithm": type(made).__name__}
    for name, value in group.items():
        if name == "betas":
            found |= {"beta 1": value[0], "beta 2": value[1]}
        elif name != "params":
            found[{"lr": "learning rate", "eps": "epsilon"}.get(name, name.replace("_", " "))] = value
    if "epsilon" in found:
        found["epsilon in effect"] = _epsilon(made)
    return found


def loader(made: DataLoader[Any]) -> Section:
    """Its options; batches are prefetched by workers alone."""
    return {
        "made by": "PyTorch's DataLoader",
        "batch": made.batch_size,
        "worker processes": made.num_workers,
        "prefetched batches": (made.prefetch_factor or 0) * made.num_workers,
        "pinned memory": made.pin_memory,
        "last part batch dropped": made.drop_last,
        "workers kept between epochs": made.persistent_workers,
        "shuffled by the loader": isinstance(made.sampler, RandomSampler),
    }


def loss(made: nn.CrossEntropyLoss) -> Section:
    """Cross-entropy, which PyTorch takes of logits."""
    return {
        "function": "cross-entropy",
        "of": "logits",
        "reduction": made.reduction,
        "label smoothing": made.label_smoothing,
    }


class _Call(NamedTuple):
    """A module that ran, or a function between modules (None), and the pixels before and after it."""

    name: str
    module: nn.Module | None
    before: Pair
    after: Pair


class _Calls(TorchFunctionMode):
    """Collects calls while a model runs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.made: list[_Call] = []
        self._modules = {module: name for name, module in model.named_modules()}
        self._inside: list[str] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> "_Calls":
        for module in self._modules:
            self._hooks.append(module.register_forward_pre_hook(self._enter))
            self._hooks.append(module.register_forward_hook(self._leave))
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is functional.adaptive_avg_pool2d:
            self.made.append(_Call(self._inside[-1], None, _pixels(args[0]), _pixels(result)))
        return result

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        self._inside.append(self._modules[module])

    def _leave(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        name = self._inside.pop()
        if not any(module.children()):
            self.made.append(_Call(name, module, _pixels(inputs[0]), _pixels(output)))


def _layers(call: _Call) -> Iterator[Layer]:
    name, module = call.name, call.module
    if module is None:
        yield from description.pool_to(name, "average", before=call.before, after=call.after)
    elif isinstance(module, nn.Conv2d):
        yield _convolution(name, module, call.after)
    elif isinstance(module, nn.Linear):
        yield _dense(name, module)
    elif isinstance(module, nn.BatchNorm2d):
        yield _batch_norm(name, module)
    elif isinstance(module, nn.MaxPool2d):
        yield description.pool(name, "max", _window(module))
    elif isinstance(module, nn.Dropout):
        yield description.dropout(name, module.p)
    elif type(module) in ACTIVATIONS:
        yield description.activation(name, ACTIVATIONS[type(module)])
    elif type(module).__name__ == "StochasticDepth":
        yield description.stochastic_depth(name, float(module.p))
    elif not isinstance(module, STRUCTURE):
        yield description.unknown(name, type(module).__name__)


def _convolution(name: str, module: nn.Conv2d, output: Pair) -> Layer:
    return description.convolution(
        name,
        _window(module),
        channels=(module.in_channels, module.out_channels),
        groups=module.groups,
        bias=module.bias is not None,
        output=output,
        tensors=_tensors(module, TENSORS),
    )


def _dense(name: str, module: nn.Linear) -> Layer:
    return description.dense(
        name,
        inputs=module.in_features,
        outputs=module.out_features,
        bias=module.bias is not None,
        tensors=_tensors(module, TENSORS),
    )


def _batch_norm(name: str, module: nn.BatchNorm2d) -> Layer:
    return description.batch_norm(
        name,
        channels=module.num_features,
        epsilon=module.eps,
        momentum=module.momentum,
        remembers=_remembers(module.__class__),
        tensors=_tensors(module, BATCH_NORM_TENSORS),
    )


def _tensors(module: nn.Module, names: dict[str, str]) -> dict[str, Any]:
    found = {name: getattr(module, attribute) for attribute, name in names.items()}
    return {name: _statistics(tensor) for name, tensor in found.items() if tensor is not None}


def _statistics(tensor: Tensor) -> dict[str, Any]:
    count = tensor.numel()
    return tensors.statistics(tensor.detach().reshape(-1)[:: tensors.spacing(count)].double().cpu().numpy(), count)


def _window(module: nn.Conv2d | nn.MaxPool2d) -> Window:
    kernel, stride, dilation, padding = (
        _pair(value) for value in (module.kernel_size, module.stride, module.dilation, module.padding)
    )
    return Window(kernel, stride, ((padding[0], padding[0]), (padding[1], padding[1])), dilation)


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _pixels(tensor: Tensor) -> Pair:
    """Height and width; one by one of what has neither."""
    return (tensor.shape[2], tensor.shape[3]) if tensor.ndim == IMAGE_NDIM else (1, 1)


@functools.cache
def _remembers(kind: type[nn.BatchNorm2d]) -> str:
    """Of two samples, -1 and 1, one keeps a variance of 1 (of these samples) or 2 (the estimate of all others')."""
    tried = kind(1).train()
    tried(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1))
    return description.remembered_variance(1.0, float(tried.running_var[0]), tried.momentum)


def _epsilon(made: torch.optim.Optimizer) -> float:
    (group,) = made.param_groups
    tried = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    fresh = type(made)([tried], **{name: group[name] for name in made.defaults})
    tried.grad = torch.full_like(tried, description.TINY_GRADIENT)
    fresh.step()
    return description.epsilon_in_effect(group["lr"], -tried.item())


def _layout(model: nn.Module) -> Value:
    """Of the first kernel that shows it: one of a single pixel lies the same either way."""
    kernels = (module.weight for module in model.modules() if isinstance(module, nn.Conv2d))
    kernel = next((kernel for kernel in kernels if kernel.shape[1] > 1 and math.prod(kernel.shape[2:]) > 1), None)
    if kernel is None:
        return None
    return CHANNELS_LAST if kernel.is_contiguous(memory_format=torch.channels_last) else CHANNELS_FIRST
