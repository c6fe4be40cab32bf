"""What a matched model computes, in one framework.

`python -m toolkit.capture.probe SPEC DEVICE FOLDER UNTIL [REFERENCE]`, in the framework's environment. Without
REFERENCE every quantity is kept in FOLDER, a file a tensor; with the folder of another framework's probe each tensor is
held to that one's, and FOLDER/probe.json tells how far apart they are. UNTIL is the last of QUANTITIES to compute.
Dropout and stochastic depth are off: their masks are each framework's own. What is only compared lies in files and is
read in blocks: of a large model each copy in memory counts.
"""

import hashlib
import importlib
import itertools
import json
import math
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from toolkit.capture.files import write_whole
from toolkit.capture.workloads import PROBES
from toolkit.capture.workloads.matched.weights import digest
from toolkit.errors import HwprofError
from toolkit.spec import from_json

Array = NDArray[Any]
Tensors = dict[str, Array]

STEPS = 10
# In the order in which they are computed: each starts from what those before it left.
QUANTITIES = (
    "inference", "forward", "gradients", "statistics", "weights_1", f"weights_{STEPS}", f"inference_{STEPS}",
)  # fmt: skip
INITIAL = "initial"
HASHED_BATCHES = 3
BLOCK = 1 << 20


class Probe(Protocol):
    """A matched workload looked into; arrays are NumPy's, images [n, height, width, 3], tensors under torch's names."""

    def facts(self) -> dict[str, Any]:
        """Versions and settings, as the workload tells them."""

    def batches(self, epoch: int) -> Iterator[tuple[Array, Array]]:
        """Images and labels as the framework's own input pipeline yields them."""

    def flops(self, batch: int) -> int:
        """Floating-point operations of the convolutions and matrix products of one forward pass, two a product."""

    def state(self) -> Tensors:
        """Parameters and remembered statistics."""

    def load(self, values: Tensors) -> None:
        """Sets them."""

    def forward(self, images: Array) -> Array:
        """Logits in inference mode."""

    def gradients(self, images: Array, labels: Array) -> tuple[Array, Array, Tensors]:
        """Logits and mean loss in training mode, and each parameter's gradient; statistics are updated."""

    def step(self, images: Array, labels: Array) -> None:
        """One step of the optimizer, as training takes it."""


def main(arguments: list[str]) -> int:
    """Writes FOLDER/probe.json: facts and, beside a reference, one row a tensor; 1 where the framework cannot."""
    spec_path, device, folder_name, until, *reference = arguments
    folder = Path(folder_name)
    spec = from_json(Path(spec_path).read_text())
    try:
        probe: Probe = importlib.import_module(PROBES[spec.framework]).build(spec, device)
        told = _probe(probe, spec.batch, folder, until, Path(reference[0]) if reference else None)
    except HwprofError as error:
        write_whole(folder / "probe.json", json.dumps({"error": str(error)}))
        return error.exit_code
    write_whole(folder / "probe.json", json.dumps(told))
    return 0


def _probe(probe: Probe, batch: int, folder: Path, until: str, reference: Path | None) -> dict[str, Any]:
    state = probe.state()
    shapes = {name: list(array.shape) for name, array in state.items()}
    hashed = digest({name: array.astype(np.float32) for name, array in state.items()})
    if reference is None:
        _keep(folder / INITIAL, state)
    del state
    rows: list[dict[str, Any]] = []
    for quantity, tensors in _quantities(probe, (reference or folder) / INITIAL):
        if reference is None:
            _keep(folder / quantity, tensors)
        else:
            moved_from = reference / INITIAL if quantity.startswith("weights") else None
            rows += _distances(quantity, tensors, reference / quantity, moved_from)
        # The next is computed without these in memory.
        del tensors
        if quantity == until:
            break
    return {
        "facts": probe.facts(),
        "initial_sha256": hashed,
        "batches_sha256": [_hash(batch) for epoch in (1, 2) for batch in _first(probe, epoch)],
        "flops": probe.flops(batch),
        "tensors": shapes,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "rows": rows,
    }


def _quantities(probe: Probe, initial: Path) -> Iterator[tuple[str, Tensors]]:
    """All of QUANTITIES, none of whose tensors is held once the next is asked for; training starts from `initial`."""
    batches = list(itertools.islice(probe.batches(1), STEPS))
    images, labels = batches[0]
    yield "inference", {"logits": probe.forward(images)}
    logits, loss, gradients = probe.gradients(images, labels)
    yield "forward", {"logits": logits, "loss": loss}
    yield "gradients", gradients
    del gradients
    yield "statistics", {name: array for name, array in probe.state().items() if ".running_" in name}
    probe.load({name: _mapped(initial, name) for name in _names(initial)})
    for number, batch in enumerate(batches, 1):
        probe.step(*batch)
        if number in (1, STEPS):
            yield f"weights_{number}", {name: array for name, array in probe.state().items() if ".running_" not in name}
    yield f"inference_{STEPS}", {"logits": probe.forward(images)}


def _keep(folder: Path, tensors: Tensors) -> None:
    folder.mkdir()
    for name, array in tensors.items():
        np.save(folder / f"{name}.npy", array)


def _names(folder: Path) -> set[str]:
    return {path.name.removesuffix(".npy") for path in folder.iterdir()}


def _mapped(folder: Path, name: str) -> Array:
    """A tensor's file as memory that the system takes back when it needs it; what is written there reaches no file."""
    mapped: Array = np.load(folder / f"{name}.npy", mmap_mode="c")
    return mapped


def _distances(quantity: str, tensors: Tensors, there: Path, moved_from: Path | None) -> list[dict[str, Any]]:
    """One row a tensor: how far it is from the reference's, and how large that is, or its way from `moved_from`."""
    if apart := sorted(_names(there) ^ set(tensors)):
        raise HwprofError(
            f"{quantity}: not the same tensors in both frameworks: {', '.join(apart[:5])}.", remedy="See the model."
        )
    return [
        _distance(quantity, name, array, _mapped(there, name), _mapped(moved_from, name) if moved_from else None)
        for name, array in tensors.items()
    ]


def _distance(quantity: str, name: str, array: Array, other: Array, start: Array | None) -> dict[str, Any]:
    if array.shape != other.shape:
        raise HwprofError(f"{quantity}: {name} is {array.shape} here and {other.shape} there.", remedy="See the model.")
    differences = sizes = 0.0
    for block in _blocks(array.shape):
        there = other[block].astype(np.float64)
        differences += float(np.sum((array[block].astype(np.float64) - there) ** 2))
        sizes += float(np.sum((there if start is None else there - start[block]) ** 2))
    return {
        "quantity": quantity,
        "name": name,
        "rms_difference": _finite(np.sqrt(differences / array.size)),
        "rms": _finite(np.sqrt(sizes / array.size)),
    }


def _blocks(shape: tuple[int, ...]) -> list[Any]:
    """Indices of parts along the first axis that take little memory."""
    if not shape:
        return [...]
    rows = max(BLOCK // math.prod(shape[1:]), 1)
    return [slice(place, place + rows) for place in range(0, shape[0], rows)]


def _finite(value: Any) -> float | None:
    """None where a value is NaN or infinite: JSON has neither, and such tensors agree with nothing."""
    return float(value) if np.isfinite(value) else None


def _first(probe: Probe, epoch: int) -> list[tuple[Array, Array]]:
    return list(itertools.islice(probe.batches(epoch), HASHED_BATCHES))


def _hash(batch: tuple[Array, Array]) -> str:
    images, labels = batch
    whole = np.ascontiguousarray(images, np.float32).tobytes() + np.ascontiguousarray(labels, np.int64).tobytes()
    return hashlib.sha256(whole).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
