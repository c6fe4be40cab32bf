"""What a model starts from: drawn from the seed, or read from torchvision's file, whose head seldom fits."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from toolkit.capture.pretrained import IMAGENET_CLASSES, OF_KERAS_WITHOUT_TOP, published
from toolkit.capture.workloads.matched import torch_file, weights
from toolkit.errors import HwprofError
from toolkit.spec import PRETRAINED, RunSpec

# What a batch norm normalises by.
REMEMBERED = "the remembered mean and variance, which stay"
OF_BATCH = "the batch's mean and variance, which it remembers"


def values(spec: RunSpec, shapes: weights.Shapes) -> weights.State:
    """Of a matched model's tensors, of torch's names and shapes: the same in every framework."""
    drawn = weights.initial(shapes, spec.seed)
    if spec.weights != PRETRAINED:
        return drawn
    path = file(spec)
    found = torch_file.read(path)
    kept = fitting(path, {name: array.shape for name, array in found.items()}, shapes, drawn_anew(spec, shapes))
    return drawn | {name: found[name].astype("float32") for name in kept}


def file(spec: RunSpec) -> Path:
    """Where the launcher has put the spec's pretrained weights."""
    return Path(spec.weights_dir) / published(spec).name


def head(names: Iterable[str]) -> str:
    """The last layer of a model, by its tensors' names in their order."""
    return list(names)[-1].rpartition(".")[0]


def drawn_anew(spec: RunSpec, names: Iterable[str]) -> set[str]:
    """The tensors of the head where the spec has other classes than ImageNet, which the file has no weights for."""
    names = list(names)
    return set() if spec.classes == IMAGENET_CLASSES else {name for name in names if name.startswith(f"{head(names)}.")}


def fitting(
    path: Path, found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], but: set[str]
) -> list[str]:
    """The names of `wanted` without `but`; HwprofError where the file lacks one, or has it in another shape."""
    names = [name for name in wanted if name not in but]
    for name in names:
        if name not in found:
            raise unfit(path, f"it has no {name}")
        if tuple(found[name]) != tuple(wanted[name]):
            raise unfit(path, f"its {name} is {tuple(found[name])}, not {tuple(wanted[name])}")
    return names


def unfit(path: Path, why: str) -> HwprofError:
    """The error of a file that is not the model's."""
    return HwprofError(f"{path} does not fit the model: {why}.", remedy="Delete it and download it again.")


def told(spec: RunSpec, otherwise: str) -> dict[str, Any]:
    """Facts of the start: `otherwise` says where a random one comes from."""
    if spec.weights != PRETRAINED:
        return {"weights": spec.weights, "initial_weights": otherwise}
    drawn = "" if spec.classes == IMAGENET_CLASSES else ", the head drawn from the seed"
    if published(spec) in OF_KERAS_WITHOUT_TOP.values():
        drawn = ", the dense layers drawn from the seed"
    return {"weights": PRETRAINED, "initial_weights": f"{file(spec).name}, pretrained on ImageNet{drawn}"}
