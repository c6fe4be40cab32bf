"""What the PyTorch workload is put together from: torchvision's models, torch's optimizers, data sets."""

import importlib
import pickle
import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from toolkit.capture.workloads import ZOO
from toolkit.capture.workloads.data import Scaling, Split
from toolkit.capture.workloads.matched import start, weights
from toolkit.capture.workloads.matched.start import OF_BATCH, REMEMBERED
from toolkit.spec import CHANNELS_LAST, CIFAR_CNN, HEAD, PRETRAINED, RunSpec

Batch = tuple[Tensor, Tensor]


class Samples(Dataset[Batch]):
    """Images as float32, scaled: [height, width, 3] where `channels_last`, else [3, height, width]."""

    def __init__(self, split: Split, scaling: Scaling, *, channels_last: bool) -> None:
        images, scale, shift = map(torch.from_numpy, (split.images, scaling.scale, scaling.shift))
        if not channels_last:
            images = images.permute(0, 3, 1, 2).contiguous()
            scale, shift = scale[:, None, None], shift[:, None, None]
        self._images, self._scale, self._shift = images, scale, shift
        self._labels = torch.from_numpy(split.labels)
        self._count = split.samples

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Batch:
        distinct = index % len(self._labels)
        return (self._images[distinct] * self._scale).sub_(self._shift), self._labels[distinct]


def optimizer(spec: RunSpec, model: nn.Module) -> torch.optim.Optimizer:
    """Of the spec, at PyTorch's own other defaults."""
    if spec.optimizer == "adam":
        return torch.optim.Adam(trained(model), lr=spec.learning_rate)
    return torch.optim.SGD(trained(model), lr=spec.learning_rate, momentum=spec.momentum)


def optimizer_facts(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The settings that all frameworks have, by one set of names."""
    group = optimizer.param_groups[0]
    beta_1, beta_2 = group.get("betas", (None, None))
    facts = {
        "name": type(optimizer).__name__,
        "learning_rate": group["lr"],
        "beta_1": beta_1,
        "beta_2": beta_2,
        "epsilon": group.get("eps"),
        "momentum": group.get("momentum"),
        "nesterov": group.get("nesterov"),
        "weight_decay": group["weight_decay"],
    }
    return {name: value for name, value in facts.items() if value is not None}


def model(spec: RunSpec) -> nn.Module:
    """The model of torchvision; in matched mode with the weights, layout and precision that every framework gets."""
    made = _cifar_cnn(spec) if spec.model == CIFAR_CNN else _torchvision_model(spec)
    if spec.matched:
        load(made, start.values(spec, _shapes(made)))
    elif spec.weights == PRETRAINED:
        _load_published(made, spec)
    if spec.trainable == HEAD:
        _freeze(made)
    if spec.layout == CHANNELS_LAST:
        made = made.to(memory_format=torch.channels_last)
    return made.double() if spec.precision == "fp64" else made


def state(model_: nn.Module) -> dict[str, Tensor]:
    """Parameters and remembered statistics by name; not batch norm's counts of batches, which only PyTorch keeps."""
    return {name: tensor for name, tensor in model_.state_dict().items() if tensor.is_floating_point()}


def load(model_: nn.Module, values: weights.State) -> None:
    """Gives each of `state`'s tensors its value."""
    for name, tensor in state(model_).items():
        tensor.copy_(torch.from_numpy(values[name]))


def trained(model_: nn.Module) -> list[nn.Parameter]:
    """What training changes."""
    return [parameter for parameter in model_.parameters() if parameter.requires_grad]


def train_mode(model_: nn.Module, spec: RunSpec) -> None:
    """Training mode. A matched run's frozen batch norms stay in inference mode, as they are in Keras by themselves."""
    model_.train()
    if spec.matched and spec.trainable == HEAD:
        for module in model_.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def frozen_batch_norm(model_: nn.Module, spec: RunSpec) -> str | None:
    """What a batch norm that is not trained normalises by; None where there is none."""
    norms = [module for module in model_.modules() if isinstance(module, nn.BatchNorm2d)]
    if spec.trainable != HEAD or not norms:
        return None
    return REMEMBERED if spec.matched else OF_BATCH


def _freeze(model_: nn.Module) -> None:
    """All but the last layer."""
    head = start.head(state(model_))
    for name, parameter in model_.named_parameters():
        parameter.requires_grad_(name.startswith(f"{head}."))


def _shapes(model_: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state(model_).items()}


def _load_published(model_: nn.Module, spec: RunSpec) -> None:
    """The zoo's weights as the zoo reads them; the head stays as it was drawn where the classes are others."""
    path = start.file(spec)
    try:
        found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        there = {name: tuple(tensor.shape) for name, tensor in found.items()}
    except (OSError, EOFError, RuntimeError, AttributeError, pickle.UnpicklingError) as error:
        raise start.unfit(path, " ".join(str(error).split())[:200]) from error
    shapes = _shapes(model_)
    for name in start.fitting(path, there, shapes, start.drawn_anew(spec, shapes)):
        state(model_)[name].copy_(found[name])


def set_precision(precision: str) -> None:
    """Allows TF32, or forbids it; `auto` leaves what PyTorch allows by itself."""
    if precision != "auto":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"


def precision_facts(model_: nn.Module, *, autocast: bool) -> dict[str, Any]:
    """What the arithmetic really is: of what numbers."""
    weights_dtype = str(next(model_.parameters()).dtype).removeprefix("torch.")
    return {
        "precision": "bf16 autocast" if autocast else weights_dtype,
        "compute_dtype": "bfloat16" if autocast else weights_dtype,
        "weights_dtype": weights_dtype,
    }


def _torchvision_model(spec: RunSpec) -> nn.Module:
    zoo = import_torchvision().models
    return getattr(zoo, ZOO["torch"][spec.model])(weights=None, num_classes=spec.classes)


def _cifar_cnn(spec: RunSpec) -> nn.Module:
    """Two convolutions and two dense layers, as in the comparison by Rakshath: 167,562 parameters at 32 pixels."""
    side = ((spec.image_size - 2) // 2 - 2) // 2
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * side * side, 64), nn.ReLU(), nn.Linear(64, spec.classes),
    )  # fmt: skip


def import_torchvision() -> ModuleType:
    """torchvision, over a torch without CUDA too.

    PyPI's torchvision brings operators compiled against CUDA, which a CPU build of torch cannot load; its import then
    fails because `nms` is not declared. Models, transforms and data sets need none of them, so the two operators are
    declared, without a body, and the import tried again. A native build never comes to this.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        _TORCHVISION_OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")


# torch forgets the declarations of a library that is garbage-collected.
_TORCHVISION_OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
