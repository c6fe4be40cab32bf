"""The PyTorch workload in its own idiom: DataLoader, hand-written loop, torch.profiler; models from torchvision."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from toolkit.capture import description
from toolkit.capture.workload import Evaluation, NativeProfiler, Replica, Request
from toolkit.capture.workloads import tf32, torch_description, torch_parallel, torch_parts, torch_process
from toolkit.capture.workloads.data import Data, Split, load, order
from toolkit.capture.workloads.matched import start
from toolkit.capture.workloads.torch_parts import Batch
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import CHANNELS_FIRST, CHANNELS_LAST, RunSpec


def build(spec: RunSpec, device: str, replica: Replica | None = None) -> "TorchWorkload":
    """The workload of `spec` on `device`, `cpu` or `cuda`; one replica's where several processes train."""
    torch.manual_seed(spec.seed)
    if spec.threads:
        torch.set_num_threads(spec.threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise HwprofError(
            f"PyTorch {torch.__version__} cannot use the GPU that the driver shows.",
            remedy="See `nvidia-smi` for the driver's CUDA version, or use device=cpu.",
            exit_code=FAILED,
        )
    if spec.compile == "inductor" and not (shutil.which("g++") or shutil.which("clang++")):
        raise HwprofError(
            "compile=inductor needs a C++ compiler, and this environment has none.",
            remedy="Use compile=eager, or RUNTIME=local on a machine with g++.",
            exit_code=FAILED,
        )
    tf32.check(spec, torch_process.capability(device))
    torch_parts.set_precision(spec.precision)
    return TorchWorkload(spec, torch.device(device), replica)


class TorchWorkload(torch_process.Process):
    """A torchvision model (or the small CIFAR CNN), its loaders and its optimizer; fulfils `Workload`."""

    def __init__(self, spec: RunSpec, device: torch.device, replica: Replica | None) -> None:
        self._spec = spec
        super().__init__(device.type)
        self._together = torch_parallel.joined(spec, device, replica)
        self._device = device
        self._channels_last = spec.layout == CHANNELS_LAST
        self._data: Data = load(spec)
        self.steps_per_epoch = self._data.steps
        self.model = torch_parts.model(spec).to(device)
        self._compiled = torch.compile(self.model) if spec.compile == "inductor" else self.model
        self._trained = self._together.module(self._compiled)
        self._loss = nn.CrossEntropyLoss()
        self._optimizer = torch_parts.optimizer(spec, self.model)
        self._loss_sum = torch.zeros((), device=device)
        self._samples = 0

    def facts(self) -> dict[str, Any]:
        """Versions and settings read back from torch."""
        facts = super().facts()
        return {
            **facts,
            "versions": {"torchvision": version("torchvision"), **facts["versions"]},
            "replicas": self._together.facts(),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "parameters_trained": sum(parameter.numel() for parameter in torch_parts.trained(self.model)),
            "frozen_batch_norm": torch_parts.frozen_batch_norm(self.model, self._spec),
            "non_trainable_parameters": sum(buffer.numel() for buffer in self.model.buffers()),
            "input_pipeline": f"DataLoader, {self._spec.loader_workers} workers",
            "train_samples": self._data.train.samples,
            "validation_samples": self._data.validation.samples,
            "layout": CHANNELS_LAST if self._channels_last else CHANNELS_FIRST,
            **torch_parts.precision_facts(self.model, autocast=self._spec.precision == "bf16"),
            **start.told(self._spec, "numpy, from the seed" if self._spec.matched else "torchvision's own"),
            "normalises_inside": False,
            "loss": "cross-entropy of logits",
            "loss_reduction": self._loss.reduction,
            "optimizer": torch_parts.optimizer_facts(self._optimizer),
            "compile": self._spec.compile,
        }

    def describe(self) -> str:
        """Of the model as torch runs it, and of the live optimizer and loader."""
        size, facts = self._spec.image_size, self.facts()
        layers = torch_description.layers(self.model, (3, size, size))
        sections = {
            "network": torch_description.network(self.model, layers),
            "loss": torch_description.loss(self._loss),
            "optimizer": torch_description.optimizer(self._optimizer),
            "numerics": description.numerics(
                facts,
                tf32_in_products=torch.backends.cuda.matmul.allow_tf32,
                tf32_in_convolutions=torch.backends.cudnn.allow_tf32,
            ),
            "execution": {
                "compiled": "eager" if self._compiled is self.model else "inductor",
                "threads": facts["threads"],
                "cuDNN tries algorithms": torch.backends.cudnn.benchmark,
            },
            "input pipeline": torch_description.loader(self._loader(self._data.train, [])),
        }
        return description.document(self._spec, self._device.type, sections=sections, layers=layers)

    def warm_up(self, steps: int) -> None:
        """`steps` batches of epoch 0's order, going round it where it is shorter."""
        batches = itertools.chain.from_iterable(self.train_batches(0) for _ in itertools.count())
        for batch in itertools.islice(batches, steps):
            self.train_step(self.to_device(batch))
        self.sync()
        self.compiled()
        self.train_loss()

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """One epoch in the seed's order; the model is in training mode from here on."""
        self.train_mode()
        self._together.begin()
        mine = self._together.part(order(self._spec, epoch, self._data.train.samples))
        return iter(self._loader(self._data.train, mine.tolist(), batch=self._together.batch))

    def train_mode(self) -> None:
        """The model in training mode, so far as it is trained."""
        torch_parts.train_mode(self.model, self._spec)

    def to_device(self, batch: Batch) -> Batch:
        """Copied without waiting where the host side is pinned, which it is beside a GPU; as the model takes it."""
        images, labels = batch
        return self._input(images), labels.to(self._device, non_blocking=True)

    def train_step(self, batch: Batch) -> None:
        """Forward, backward, update."""
        images, labels = batch
        self._optimizer.zero_grad()
        with self._autocast():
            loss = self._loss(self._trained(images), labels)
        loss.backward()
        self._optimizer.step()
        self._loss_sum += loss.detach() * len(labels)
        self._samples += len(labels)

    def logits(self, images: Tensor) -> Tensor:
        """Of images from `to_device`, in the mode that the model is in."""
        with self._autocast():
            return self._compiled(images)

    def train_loss(self) -> float:
        """Mean cross-entropy a sample since last asked; NaN where nothing was trained."""
        loss_sum, samples = self._together.total(self._loss_sum.item(), self._samples)
        mean = loss_sum / samples if samples else float("nan")
        self._loss_sum.zero_()
        self._samples = 0
        return mean

    @torch.no_grad()
    def evaluate(self) -> Evaluation:
        """The validation set in evaluation mode."""
        self.model.eval()
        loss_sum = torch.zeros((), device=self._device)
        right = torch.zeros((), dtype=torch.int64, device=self._device)
        for batch in self._loader(self._data.validation):
            images, labels = self.to_device(batch)
            with self._autocast():
                logits = self._compiled(images)
                loss_sum += self._loss(logits, labels) * len(labels)
            right += (logits.argmax(1) == labels).sum()
        count = self._data.validation.samples
        return Evaluation(loss_sum.item() / count, right.item() / count, count)

    def request(self, batch: int) -> Request:
        """An inference of `batch` images."""
        self.model.eval()
        samples = self._sample_set(self._data.validation._replace(samples=batch))
        images = torch.stack([samples[index][0] for index in range(batch)])
        resident = self._input(images)

        @torch.inference_mode()
        def answer() -> None:
            self.logits(self._input(images)).cpu()

        @torch.inference_mode()
        def compute() -> None:
            self.logits(resident)
            self.sync()

        return Request(answer, compute)

    def checkpoint(self, path: Path) -> None:
        """Model and optimizer by torch.save."""
        torch.save({"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}, path)

    def profiler(self, folder: Path) -> NativeProfiler:
        """torch.profiler by the spec's options."""
        # A window longer than the run would end in a step that torch begins and nobody takes.
        requests = self._spec.infer_repeats * len(self._spec.infer_batches)
        run = requests if self._spec.task == "infer" else self._spec.epochs * self.steps_per_epoch
        steps = min(self._spec.profile_steps, run)
        return torch_process.Profiler(self._spec, self.device, folder, steps=steps, name=self._together.name)

    def _loader(self, split: Split, order: list[int] | None = None, *, batch: int = 0) -> DataLoader[Batch]:
        return DataLoader(
            self._sample_set(split),
            batch_size=batch or self._spec.batch,
            sampler=order,
            num_workers=self._spec.loader_workers,
            pin_memory=self._device.type == "cuda",
        )

    def _sample_set(self, split: Split) -> torch_parts.Samples:
        return torch_parts.Samples(split, self._data.scaling, channels_last=self._channels_last)

    def _input(self, images: Tensor) -> Tensor:
        """[n, 3, height, width] where the model is, whichever way they lie in memory."""
        images = images.permute(0, 3, 1, 2) if self._channels_last else images
        dtype = torch.float64 if self._spec.precision == "fp64" else torch.float32
        return images.to(self._device, dtype, non_blocking=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._spec.precision == "bf16")
