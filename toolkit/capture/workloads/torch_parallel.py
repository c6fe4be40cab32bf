"""How PyTorch trains on several replicas: DataParallel in one process, DistributedDataParallel in one each.

Either way a step has the gradient of the global batch's mean loss. Batch norms take the statistics of their replica's
part, and those that rank 0, or the first GPU, remembers are the ones that stay: PyTorch's own way.
"""

import os
from datetime import timedelta
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import distributed, nn

from toolkit.capture.workload import Replica
from toolkit.capture.workloads.data import part
from toolkit.spec import DATA_PARALLEL, RunSpec

# All replicas are on this machine, whose other interfaces a container does not have.
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


class Together(Protocol):
    """What the workload asks of the way in which replicas train."""

    batch: int
    name: str

    def module(self, model: nn.Module) -> nn.Module:
        """`model` such that a backward pass through it leaves the global batch's gradients."""

    def begin(self) -> None:
        """Rank 0 begins a part of the work; the others wait until it does."""

    def part(self, order: NDArray[Any]) -> NDArray[Any]:
        """Of an epoch's samples those of this process, in batches of `batch`."""

    def total(self, loss: float, samples: float) -> tuple[float, float]:
        """Both over all processes on rank 0; on the others their own."""

    def facts(self) -> dict[str, Any] | None:
        """What they are; None of one alone."""


class Alone:
    """One replica, or several in this process, which share each batch among themselves."""

    name = "worker"

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self.batch = spec.batch

    def module(self, model: nn.Module) -> nn.Module:
        """`model` itself, or its copies on the first GPUs."""
        if self._spec.parallel != DATA_PARALLEL:
            return model
        return nn.DataParallel(model, device_ids=list(range(self._spec.replicas)))

    def begin(self) -> None:
        """Nobody waits."""

    def part(self, order: NDArray[Any]) -> NDArray[Any]:
        """All."""
        return order

    def total(self, loss: float, samples: float) -> tuple[float, float]:
        """Themselves."""
        return loss, samples

    def facts(self) -> dict[str, Any] | None:
        """How the copies are fed."""
        if self._spec.parallel != DATA_PARALLEL:
            return None
        return {"parallel": "torch.nn.DataParallel", "replicas": self._spec.replicas, "processes": 1}


class Distributed:
    """One of DistributedDataParallel's replicas, which this process is."""

    def __init__(self, spec: RunSpec, device: torch.device, replica: Replica) -> None:
        self._spec = spec
        self._device = device
        self._replica = replica
        self.batch = spec.batch // spec.replicas
        self.name = f"rank{replica.rank}" if replica.rank else Alone.name
        self._backend = "nccl" if device.type == "cuda" else "gloo"
        self._join()

    def module(self, model: nn.Module) -> nn.Module:
        """Starts from rank 0's weights; each rank's own draws, of dropout say, are its own."""
        torch.manual_seed(self._spec.seed + self._replica.rank)
        ids = [self._replica.rank] if self._device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)

    def begin(self) -> None:
        """Through the pipes: waiting in a collective would keep a processor or a GPU busy."""
        self._replica.begin()

    def part(self, order: NDArray[Any]) -> NDArray[Any]:
        """Of each batch its rank's part."""
        return part(order, self._spec.batch, self._replica.rank, self._spec.replicas)

    def total(self, loss: float, samples: float) -> tuple[float, float]:
        """Through the pipes too."""
        loss, samples = self._replica.total((loss, samples))
        return loss, samples

    def facts(self) -> dict[str, Any]:
        """Backend, processes and threads."""
        return {
            "parallel": "torch.nn.parallel.DistributedDataParallel",
            "replicas": self._spec.replicas,
            "processes": self._spec.replicas,
            "threads_each": torch.get_num_threads(),
            "processors": len(os.sched_getaffinity(0)),
            "backend": self._backend,
            "batch_each": self.batch,
        }

    def _join(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_device(self._replica.rank)
        elif not self._spec.threads:
            # Each would take all processors for itself.
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // self._spec.replicas))
        os.environ.update(LOOPBACK)
        distributed.init_process_group(
            self._backend,
            # A file that only this user can reach: no port is open to others while they find each other.
            init_method=self._replica.rendezvous.as_uri(),
            rank=self._replica.rank,
            world_size=self._spec.replicas,
            timeout=timedelta(seconds=self._spec.timeout_s),
        )


def joined(spec: RunSpec, device: torch.device, replica: Replica | None) -> Together:
    """The place of this process among the spec's replicas, once all of its processes are there."""
    return Alone(spec) if replica is None else Distributed(spec, device, replica)
