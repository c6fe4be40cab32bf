"""How TensorFlow trains on several replicas: tf.distribute.MirroredStrategy over GPUs, or over parts of the processor.

One process and one thread a replica. Each takes an equal part of a batch, in a row; Keras scales each part's mean loss
by the number of replicas and its optimizer sums the gradients, which makes that of the whole batch's mean loss. What is
not training (the custom loop's validation, requests) is the first replica's alone.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import tensorflow as tf

from toolkit.spec import MIRRORED, RunSpec


class Together(Protocol):
    """What the workload asks of the way in which replicas train."""

    replicas: int

    def scope(self) -> AbstractContextManager[Any]:
        """What is made inside, every replica has."""

    def batches(self, whole: tf.data.Dataset) -> Any:
        """Batches of which each replica has its part where it computes."""

    def step(self, python: Callable[..., None]) -> Callable[..., None]:
        """`python` on every replica, each with its part of the arguments."""

    def facts(self) -> dict[str, Any] | None:
        """What they are; None of one alone."""


class Alone:
    """One replica."""

    replicas = 1

    def scope(self) -> AbstractContextManager[Any]:
        """None is needed."""
        return nullcontext()

    def batches(self, whole: tf.data.Dataset) -> Any:
        """Themselves."""
        return whole

    def step(self, python: Callable[..., None]) -> Callable[..., None]:
        """Itself."""
        return python

    def facts(self) -> dict[str, Any] | None:
        """None."""
        return None


class Mirrored:
    """MirroredStrategy over the first GPUs, or over as many logical devices of the processor."""

    def __init__(self, spec: RunSpec, device: str) -> None:
        self.replicas = spec.replicas
        if device == "cpu":
            (processor,) = tf.config.list_physical_devices("CPU")
            parts = [tf.config.LogicalDeviceConfiguration() for _ in range(spec.replicas)]
            tf.config.set_logical_device_configuration(processor, parts)
        self._devices = [f"/{'gpu' if device == 'cuda' else 'cpu'}:{number}" for number in range(spec.replicas)]
        self._strategy = tf.distribute.MirroredStrategy(self._devices)
        self._given: tuple[tf.data.Dataset, Any] | None = None

    def scope(self) -> AbstractContextManager[Any]:
        """The strategy's."""
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def batches(self, whole: tf.data.Dataset) -> Any:
        """Distributed once for each dataset, which tells its epoch's order itself."""
        if self._given is None or self._given[0] is not whole:
            self._given = whole, self._strategy.experimental_distribute_dataset(whole)
        return self._given[1]

    def step(self, python: Callable[..., None]) -> Callable[..., None]:
        """By the strategy's `run`."""

        def on_all(*parts: Any) -> None:
            self._strategy.run(python, args=parts)

        return on_all

    def facts(self) -> dict[str, Any]:
        """Devices; the threads are of all replicas together."""
        return {
            "parallel": "tf.distribute.MirroredStrategy",
            "replicas": self.replicas,
            "processes": 1,
            "devices": self._devices,
        }


def joined(spec: RunSpec, device: str) -> Together:
    """The spec's replicas; to be asked for before TensorFlow first looks at its devices."""
    return Mirrored(spec, device) if spec.parallel == MIRRORED else Alone()
