"""PyTorch's side of `toolkit.capture.probe`: the reference, torchvision's own modules."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from toolkit.capture.workloads import pytorch, torch_parts
from toolkit.capture.workloads.torch_parts import Batch
from toolkit.spec import CHANNELS_LAST, RunSpec

Array = NDArray[Any]


def build(spec: RunSpec, device: str) -> "TorchProbe":
    """The probe of the spec's workload on `device`."""
    return TorchProbe(pytorch.build(spec, device))


class TorchProbe:
    """Looks into a TorchWorkload; fulfils `Probe`."""

    def __init__(self, workload: pytorch.TorchWorkload) -> None:
        self._workload = workload
        self._model = workload.model
        for module in self._model.modules():
            if isinstance(module, nn.Dropout) or type(module).__name__ == "StochasticDepth":
                module.p = 0.0

    def facts(self) -> dict[str, Any]:
        """The workload's own."""
        return self._workload.facts()

    def batches(self, epoch: int) -> Iterator[tuple[Array, Array]]:
        """Out of the DataLoader, which yields them as they lie in memory."""
        for images, labels in self._workload.train_batches(epoch):
            yield self._turned(images, (0, 2, 3, 1)).numpy(), labels.numpy()

    @torch.no_grad()
    def flops(self, batch: int) -> int:
        """By torch's own counter."""
        images, _ = next(itertools.islice(self.batches(1), 1))
        with FlopCounterMode(display=False) as counter:
            self._model.eval()(self._batch(images[:1], np.zeros(1, np.int64))[0])
        return int(counter.get_total_flops()) * batch

    def state(self) -> dict[str, Array]:
        """The module's tensors."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in torch_parts.state(self._model).items()}

    def load(self, values: dict[str, Array]) -> None:
        """Into the module."""
        torch_parts.load(self._model, values)

    @torch.no_grad()
    def forward(self, images: Array) -> Array:
        """In evaluation mode."""
        self._model.eval()
        return _array(self._workload.logits(self._batch(images, np.zeros(len(images), np.int64))[0]))

    def gradients(self, images: Array, labels: Array) -> tuple[Array, Array, dict[str, Array]]:
        """By autograd."""
        self._workload.train_mode()
        self._model.zero_grad()
        inputs, targets = self._batch(images, labels)
        logits = self._workload.logits(inputs)
        loss = nn.functional.cross_entropy(logits, targets)
        loss.backward()
        gradients = {
            name: _array(parameter.grad)
            for name, parameter in self._model.named_parameters()
            if parameter.grad is not None
        }
        return _array(logits), _array(loss), gradients

    def step(self, images: Array, labels: Array) -> None:
        """The workload's own."""
        self._workload.train_mode()
        self._workload.train_step(self._batch(images, labels))

    def _batch(self, images: Array, labels: Array) -> Batch:
        turned = self._turned(torch.from_numpy(images), (0, 3, 1, 2)).contiguous()
        return self._workload.to_device((turned, torch.from_numpy(labels)))

    def _turned(self, images: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Between channels last, as probes have it, and what the workload takes."""
        return images if self._workload.facts()["layout"] == CHANNELS_LAST else images.permute(axes)


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
