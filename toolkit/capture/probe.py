"""What a matched model computes, in one framework.

`python -m toolkit.capture.probe SPEC DEVICE FOLDER UNTIL [REFERENCE]`, in the framework's environment. Without
REFERENCE every quantity is kept in FOLDER as NAME.npz; with the folder of another framework's probe, which is done when
standard input closes, each tensor is held to that one's, and FOLDER/probe.json tells how far apart they are. UNTIL is
the last of QUANTITIES to compute. Dropout and stochastic depth are off: their masks are each framework's own.
"""

import hashlib
import importlib
import itertools
import json
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
HASHED_BATCHES = 3


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
    initial = {name: array.copy() for name, array in probe.state().items()}
    rows: list[dict[str, Any]] = []
    for quantity, tensors in _quantities(probe, until):
        if reference is None:
            # mypy takes the tensors for savez's own arguments.
            np.savez(folder / f"{quantity}.npz", **tensors)  # type: ignore[arg-type]
        else:
            # The first waits for the reference to be whole.
            sys.stdin.read()
            moved_from = initial if quantity.startswith("weights") else {}
            rows += _distances(quantity, tensors, reference / f"{quantity}.npz", moved_from)
    return {
        "facts": probe.facts(),
        "initial_sha256": digest({name: array.astype(np.float32) for name, array in initial.items()}),
        "batches_sha256": [_hash(batch) for epoch in (1, 2) for batch in _first(probe, epoch)],
        "flops": probe.flops(batch),
        "tensors": {name: list(array.shape) for name, array in initial.items()},
        "rows": rows,
    }


def _quantities(probe: Probe, until: str) -> Iterator[tuple[str, Tensors]]:
    """QUANTITIES, none after `until`."""
    for quantity, tensors in _every_quantity(probe):
        yield quantity, tensors
        if quantity == until:
            return


def _every_quantity(probe: Probe) -> Iterator[tuple[str, Tensors]]:
    initial = {name: array.copy() for name, array in probe.state().items()}
    batches = list(itertools.islice(probe.batches(1), STEPS))
    images, labels = batches[0]
    yield "inference", {"logits": probe.forward(images)}
    logits, loss, gradients = probe.gradients(images, labels)
    yield "forward", {"logits": logits, "loss": loss}
    yield "gradients", gradients
    yield "statistics", {name: array for name, array in probe.state().items() if ".running_" in name}
    probe.load(initial)
    for number, batch in enumerate(batches, 1):
        probe.step(*batch)
        if number in (1, STEPS):
            yield f"weights_{number}", {name: array for name, array in probe.state().items() if ".running_" not in name}
    yield f"inference_{STEPS}", {"logits": probe.forward(images)}


def _distances(quantity: str, tensors: Tensors, path: Path, moved_from: Tensors) -> list[dict[str, Any]]:
    """One row a tensor: how far it is from the reference's, and how large that is, or its way from `moved_from`."""
    with np.load(path) as there:
        if set(there) != set(tensors):
            apart = ", ".join(sorted(set(there) ^ set(tensors))[:5])
            raise HwprofError(f"{quantity}: not the same tensors in both frameworks: {apart}.", remedy="See the model.")
        return [_distance(quantity, name, array, there[name], moved_from.get(name)) for name, array in tensors.items()]


def _distance(quantity: str, name: str, array: Array, other: Array, start: Array | None) -> dict[str, Any]:
    if array.shape != other.shape:
        raise HwprofError(f"{quantity}: {name} is {array.shape} here and {other.shape} there.", remedy="See the model.")
    difference = array.astype(np.float64) - other
    size = other.astype(np.float64) - (0 if start is None else start)
    return {
        "quantity": quantity,
        "name": name,
        "largest_difference": _finite(np.max(np.abs(difference), initial=0)),
        "largest": _finite(np.max(np.abs(size), initial=0)),
        "rms_difference": _finite(np.sqrt(np.mean(difference**2))),
        "rms": _finite(np.sqrt(np.mean(size**2))),
    }


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
