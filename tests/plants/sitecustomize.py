"""Plants one cause of lost time or memory into a worker, and measures there what it really costs.

Python imports this by its name as it starts, where its folder is on PYTHONPATH. HWPROF_PLANT names the cause,
HWPROF_PLANT_TRUTH the file for what it cost: one [epoch, nanoseconds or bytes] for each time that it struck.
"""

import atexit
import importlib
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SLEEP_S = 0.05
KEPT_BYTES = 1 << 21

truth: list[tuple[int, int]] = []
kept: list[Any] = []


class Epochs:
    """Which epoch and step a workload is in, by the batches that it was asked for."""

    def __init__(self, workload: Any) -> None:
        self.epoch, self.step = 0, 0
        whole = workload.train_batches

        def train_batches(self_: Any, epoch: int) -> Iterator[Any]:
            self.epoch, self.step = epoch, 0
            return self.counted(whole(self_, epoch))

        workload.train_batches = train_batches

    def counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches, each of which begins a step."""
        for batch in batches:
            self.step += 1
            yield batch


def sleeping_loader(workload: Any) -> None:
    """The loader takes a nap before each batch."""

    class Sleeping(Epochs):
        def counted(self, batches: Iterator[Any]) -> Iterator[Any]:
            while True:
                begun = time.monotonic_ns()
                # its own work beside the nap is waited for, too
                batch = next(batches, None)
                if batch is None:
                    return
                time.sleep(SLEEP_S)
                truth.append((self.epoch, time.monotonic_ns() - begun))
                yield batch

    Sleeping(workload)


def changing_shape(workload: Any) -> None:
    """Each third step of an epoch is of fewer samples than any before, and graphs are traced for the shapes seen."""
    epochs, usual, sizes = Epochs(workload), list[int](), list[int]()
    to_device, train_step, function = workload.to_device, workload.train_step, workload._function

    def cut(self: Any, batch: Any) -> Any:
        if epochs.epoch and epochs.step % 3 == 0:
            sizes.append(len(batch[0]) - 1 - len(sizes))
            batch = tuple(part[: sizes[-1]] for part in batch)
        return to_device(self, batch)

    def timed(self: Any, batch: Any) -> None:
        begun = time.monotonic_ns()
        train_step(self, batch)
        took = time.monotonic_ns() - begun
        if epochs.epoch and epochs.step % 3 == 0:
            truth.append((epochs.epoch, took))
        elif epochs.epoch:
            usual.append(took)

    def less_usual() -> None:
        truth[:] = [(epoch, ns - round(statistics.median(usual))) for epoch, ns in truth]

    workload.to_device, workload.train_step = cut, timed
    if "tensorflow" in workload.__module__:
        # without the open batch that the workload's own signatures have
        workload._function = lambda self, python, signature: function(self, python, None)
    atexit.register(less_usual)


def leak(workload: Any) -> None:
    """Each step keeps some memory for good, as a list of losses does that keep their graphs."""
    epochs, train_step = Epochs(workload), workload.train_step

    def keeping(self: Any, batch: Any) -> None:
        train_step(self, batch)
        if epochs.epoch:
            kept.append(bytearray(os.urandom(KEPT_BYTES)))
            truth.append((epochs.epoch, KEPT_BYTES))

    workload.train_step = keeping


def validation(workload: Any) -> None:
    """Nothing but a clock around what fit validates by."""
    keras = importlib.import_module("keras")
    evaluate, epochs = keras.Model.evaluate, Epochs(workload)

    def timed(self: Any, *arguments: Any, **options: Any) -> Any:
        begun = time.monotonic_ns()
        found = evaluate(self, *arguments, **options)
        if options.get("_use_cached_eval_dataset"):
            epochs.epoch += 1
            truth.append((epochs.epoch, time.monotonic_ns() - begun))
        return found

    keras.Model.evaluate = timed


PLANTS: dict[str, Callable[[Any], None]] = {
    "sleeping_loader": sleeping_loader, "changing_shape": changing_shape, "leak": leak, "validation": validation,
}  # fmt: skip
CLASSES = {"pytorch": "TorchWorkload", "tensorflow": "TensorFlowWorkload", "jax": "JaxWorkload"}


def _planted(name: str, package: str | None = None) -> Any:
    module = _import(name, package)
    place, _, last = name.rpartition(".")
    if place == "toolkit.capture.workloads" and last in CLASSES:
        importlib.import_module = _import
        # written after what a plant itself registers, for the last to be registered is the first to be called
        atexit.register(lambda: Path(os.environ["HWPROF_PLANT_TRUTH"]).write_text(json.dumps(truth)))
        PLANTS[os.environ["HWPROF_PLANT"]](getattr(module, CLASSES[last]))
    return module


if os.environ.get("HWPROF_PLANT"):
    _import, importlib.import_module = importlib.import_module, _planted
