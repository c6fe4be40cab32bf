"""The PyTorch workload in its own idiom: DataLoader, hand-written loop, torch.profiler; models from torchvision."""

import gzip
import importlib
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerAction, ProfilerActivity, profile, record_function, schedule
from torch.utils.data import DataLoader, Dataset

from toolkit.capture.record import Recorder
from toolkit.capture.workload import Evaluation, NativeProfiler
from toolkit.capture.workloads import ZOO
from toolkit.capture.workloads.data import Data, Split, load
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import RunSpec

Batch = tuple[Tensor, Tensor]


def build(spec: RunSpec, device: str) -> "TorchWorkload":
    """The workload of `spec` on `device`, `cpu` or `cuda`."""
    torch.manual_seed(spec.seed)
    if spec.threads:
        torch.set_num_threads(spec.threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise HwprofError(
            f"PyTorch {torch.__version__} cannot use the GPU that the driver shows.",
            remedy="See `nvidia-smi` for the driver's CUDA version, or use device=cpu.",
            exit_code=FAILED,
        )
    return TorchWorkload(spec, torch.device(device))


class TorchWorkload:
    """A torchvision model (or the small CIFAR CNN), its loaders and its optimizer; fulfils `Workload`."""

    def __init__(self, spec: RunSpec, device: torch.device) -> None:
        self._spec = spec
        self._device = device
        self._data: Data = load(spec)
        self.steps_per_epoch = self._data.steps
        self._model = _model(spec).to(device)
        self._loss = nn.CrossEntropyLoss()
        self._optimizer = _optimizer(spec, self._model)
        self._loss_sum = torch.zeros((), device=device)
        self._samples = 0

    def facts(self) -> dict[str, Any]:
        """Versions and settings read back from torch."""
        return {
            "framework": "torch",
            "versions": {name: version(name) for name in ("torch", "torchvision", "numpy")}
            | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()},
            "device": self._device.type,
            "device_name": torch.cuda.get_device_name() if self._device.type == "cuda" else None,
            "threads": torch.get_num_threads(),
            "parameters": sum(parameter.numel() for parameter in self._model.parameters()),
            "non_trainable_parameters": sum(buffer.numel() for buffer in self._model.buffers()),
            "train_samples": self._data.train.samples,
            "validation_samples": self._data.validation.samples,
            "layout": "channels_first",
            "normalises_inside": False,
            "loss": "cross-entropy of logits",
            "loss_reduction": self._loss.reduction,
            "optimizer": _optimizer_facts(self._optimizer),
            "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
            "tf32_conv": torch.backends.cudnn.allow_tf32,
            "compile": "eager",
        }

    def warm_up(self, steps: int) -> None:
        """`steps` batches of epoch 0's order, going round it where it is shorter."""
        batches = itertools.chain.from_iterable(self.train_batches(0) for _ in itertools.count())
        for batch in itertools.islice(batches, steps):
            self.train_step(self.to_device(batch))
        self.sync()
        self.train_loss()

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """One shuffled epoch; the model is in training mode from here on."""
        self._model.train()
        order = torch.Generator().manual_seed(self._spec.seed + epoch)
        return iter(self._loader(self._data.train, shuffle=True, generator=order))

    def to_device(self, batch: Batch) -> Batch:
        """Copied without waiting where the host side is pinned, which it is beside a GPU."""
        images, labels = batch
        return images.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)

    def train_step(self, batch: Batch) -> None:
        """Forward, backward, update."""
        images, labels = batch
        self._optimizer.zero_grad()
        loss = self._loss(self._model(images), labels)
        loss.backward()
        self._optimizer.step()
        self._loss_sum += loss.detach() * len(labels)
        self._samples += len(labels)

    def compiled(self) -> bool:
        """Never: the model runs eagerly."""
        return False

    def sync(self) -> None:
        """Waits for the GPU; the CPU is never behind."""
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def train_loss(self) -> float:
        """Mean cross-entropy a sample since last asked; NaN where nothing was trained."""
        mean = self._loss_sum.item() / self._samples if self._samples else float("nan")
        self._loss_sum.zero_()
        self._samples = 0
        return mean

    @torch.no_grad()
    def evaluate(self) -> Evaluation:
        """The validation set in evaluation mode."""
        self._model.eval()
        loss_sum = torch.zeros((), device=self._device)
        right = torch.zeros((), dtype=torch.int64, device=self._device)
        for batch in self._loader(self._data.validation, shuffle=False):
            images, labels = self.to_device(batch)
            logits = self._model(images)
            loss_sum += self._loss(logits, labels) * len(labels)
            right += (logits.argmax(1) == labels).sum()
        count = self._data.validation.samples
        return Evaluation(loss_sum.item() / count, right.item() / count, count)

    def request(self, batch: int) -> Callable[[], None]:
        """One inference of `batch` images in host memory, answers back in host memory."""
        self._model.eval()
        samples = _Samples(self._data.validation._replace(samples=batch))
        images = torch.stack([samples[index][0] for index in range(batch)])

        @torch.inference_mode()
        def answer() -> None:
            self._model(images.to(self._device)).cpu()

        return answer

    def checkpoint(self, path: Path) -> None:
        """Model and optimizer by torch.save."""
        torch.save({"model": self._model.state_dict(), "optimizer": self._optimizer.state_dict()}, path)

    def report_memory(self, record: Recorder) -> None:
        """The caching allocator's counters; PyTorch keeps none for host memory."""
        if self._device.type != "cuda":
            record.unavailable("torch", "cpu", "allocator", "PyTorch's CPU allocator keeps no counters")
            return
        figures = {
            "in_use": torch.cuda.memory_allocated(),
            "reserved": torch.cuda.memory_reserved(),
            "peak_in_use": torch.cuda.max_memory_allocated(),
            "peak_reserved": torch.cuda.max_memory_reserved(),
        }
        for metric, value in figures.items():
            record.counter("torch", "0", metric, value, "B")

    def annotate(self, name: str) -> AbstractContextManager[Any]:
        """A user annotation."""
        return record_function(name)

    def profiler(self, folder: Path) -> NativeProfiler:
        """torch.profiler by the spec's options."""
        # A window longer than the run would end in a step that torch begins and nobody takes.
        requests = self._spec.infer_repeats * len(self._spec.infer_batches)
        run = requests if self._spec.task == "infer" else self._spec.epochs * self.steps_per_epoch
        return _Profiler(self._spec, self._device, folder, steps=min(self._spec.profile_steps, run))

    def _loader(self, split: Split, *, shuffle: bool, generator: torch.Generator | None = None) -> DataLoader[Batch]:
        return DataLoader(
            _Samples(split),
            batch_size=self._spec.batch,
            shuffle=shuffle,
            generator=generator,
            num_workers=self._spec.loader_workers,
            pin_memory=self._device.type == "cuda",
        )


class _Samples(Dataset[Batch]):
    """Images as float32 [3, height, width] in 0..1."""

    def __init__(self, split: Split) -> None:
        self._images = torch.from_numpy(split.images).permute(0, 3, 1, 2).contiguous()
        self._labels = torch.from_numpy(split.labels)
        self._count = split.samples

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Batch:
        distinct = index % len(self._labels)
        return self._images[distinct].float().div_(255), self._labels[distinct]


class _Profiler:
    """torch.profiler over `steps` steps; its trace goes where TensorBoard's plugin looks for it."""

    def __init__(self, spec: RunSpec, device: torch.device, folder: Path, *, steps: int) -> None:
        self._folder = folder
        self._profile = profile(
            activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda"),
            schedule=schedule(wait=0, warmup=1, active=steps, repeat=1),
            on_trace_ready=self._write_trace,
            profile_memory=spec.profile_memory,
            record_shapes=spec.profile_shapes,
            with_stack=spec.profile_stacks,
        )

    def start(self) -> None:
        """Starts, and passes over the schedule's own warm-up step, whose events torch throws away."""
        self._profile.start()
        self._profile.step()

    def begin_step(self, name: str) -> None:
        """Nothing: torch.profiler bounds its steps itself."""

    def end_step(self) -> bool:
        """One step further; the last one of the window writes the trace."""
        self._profile.step()
        return self._profile.current_action is not ProfilerAction.NONE

    def stop(self) -> None:
        """Writes the trace if the window was not full."""
        self._profile.stop()

    def _write_trace(self, profile_: profile) -> None:
        """As torch's own handler names it, but packed fast: its gzip takes four times as long as all the rest."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"worker.{time.time_ns()}.pt.trace.json.gz"
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            plain = Path(folder) / "trace.json"
            profile_.export_chrome_trace(str(plain))
            packed = Path(folder) / path.name
            with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
                shutil.copyfileobj(source, target)
            packed.replace(path)


def _optimizer(spec: RunSpec, model: nn.Module) -> torch.optim.Optimizer:
    if spec.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=spec.learning_rate)
    return torch.optim.SGD(model.parameters(), lr=spec.learning_rate, momentum=spec.momentum)


def _optimizer_facts(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The settings that both frameworks have, by one set of names."""
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


def _model(spec: RunSpec) -> nn.Module:
    if spec.model == "cifar_cnn":
        return _cifar_cnn(spec)
    models = _import_torchvision().models
    return getattr(models, ZOO["torch"][spec.model])(weights=None, num_classes=spec.classes)


def _cifar_cnn(spec: RunSpec) -> nn.Module:
    """Two convolutions and two dense layers, as in the comparison by Rakshath: 167,562 parameters at 32 pixels."""
    side = ((spec.image_size - 2) // 2 - 2) // 2
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * side * side, 64), nn.ReLU(), nn.Linear(64, spec.classes),
    )  # fmt: skip


def _import_torchvision() -> ModuleType:
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
