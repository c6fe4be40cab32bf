"""Training and validation images, the same bytes in every framework: synthetic from the seed, or CIFAR-10.

Images are uint8 [n, height, width, 3], labels int64 [n]. NumPy comes with every framework, and settles here what must
be the same in each: the values of an image's pixels and the order of samples.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.capture.datasets import RECORD_BYTES, TEST_FILES, TRAIN_FILES
from toolkit.errors import HwprofError
from toolkit.spec import CIFAR10_IMAGE_SIZE, RunSpec

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

# Distinct synthetic images kept in memory; a longer epoch goes round them.
SYNTHETIC_IMAGES = 512
# Of the training set's pixels by channel, 0 to 1; `hwprof`'s tests compute them from the archive where it is there.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_DEVIATION = (0.2470, 0.2435, 0.2616)
# Mean and deviation of each set's pixels; ImageNet's as torchvision trained with them (transforms/_presets.py).
STATISTICS = {
    "none": ((0.0,) * 3, (1.0,) * 3),
    "cifar10": (CIFAR10_MEAN, CIFAR10_DEVIATION),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Split(NamedTuple):
    """A set of `samples`: sample i is images[i % len(images)] with labels[i % len(labels)]."""

    images: Images
    labels: Labels
    samples: int


class Scaling(NamedTuple):
    """What makes a byte a float32 in every framework: byte * scale - shift, each [3], two operations rounded apart."""

    scale: NDArray[np.float32]
    shift: NDArray[np.float32]


class Data(NamedTuple):
    """What one run trains and validates on, and how many batches of each make an epoch."""

    train: Split
    validation: Split
    steps: int
    validation_steps: int
    scaling: Scaling


def load(spec: RunSpec) -> Data:
    """The spec's dataset. HwprofError where it has too few samples for the steps, or unequal parts for replicas."""
    train, validation = _synthetic(spec) if spec.dataset == "synthetic" else _cifar10(Path(spec.data_dir))
    steps = _steps("steps", spec.steps, train.samples, spec.batch)
    validation_steps = _steps("validation_steps", spec.validation_steps, validation.samples, spec.batch)
    train = train._replace(samples=min(train.samples, steps * spec.batch))
    if rest := train.samples % spec.batch % spec.replicas:
        raise HwprofError(
            f"An epoch's last batch is no whole number of parts for replicas={spec.replicas}: {rest} would be left.",
            remedy="Give fewer steps, or another batch.",
        )
    validation = validation._replace(samples=min(validation.samples, validation_steps * spec.batch))
    return Data(train, validation, steps, validation_steps, _scaling(spec))


def order(spec: RunSpec, epoch: int, samples: int) -> NDArray[np.int64]:
    """The order in which epoch `epoch` takes `samples` training samples: a permutation out of the seed."""
    return np.random.default_rng([spec.seed, 3, epoch]).permutation(samples)


def part(order: NDArray[np.int64], batch: int, replica: int, replicas: int) -> NDArray[np.int64]:
    """Of each `batch` samples of an order those of one replica: of its equal parts, in a row, the `replica`th."""
    batches = [order[first : first + batch] for first in range(0, len(order), batch)]
    return np.concatenate([np.split(samples, replicas)[replica] for samples in batches])


def requested(data: Data, batch: int) -> NDArray[np.float32]:
    """The `batch` images [batch, height, width, 3] of an inference, in host memory and scaled."""
    split = data.validation
    return split.images[np.arange(batch) % len(split.images)] * data.scaling.scale - data.scaling.shift


def _scaling(spec: RunSpec) -> Scaling:
    mean, deviation = STATISTICS[spec.normalise]
    scale, shift = 1 / (255 * np.array(deviation)), np.array(mean) / deviation
    return Scaling(scale.astype(np.float32), shift.astype(np.float32))


def _steps(name: str, asked: int, samples: int, batch: int) -> int:
    most = math.ceil(samples / batch)
    if asked > most:
        raise HwprofError(
            f"{name}={asked} of {batch} samples is more than the {samples} samples there are.",
            remedy=f"Give {name}={most} or less; 0 takes all.",
        )
    return asked or most


def _synthetic(spec: RunSpec) -> tuple[Split, Split]:
    validation_steps = spec.validation_steps or spec.steps
    return _synthetic_split(spec, spec.steps, stream=0), _synthetic_split(spec, validation_steps, stream=1)


def _synthetic_split(spec: RunSpec, steps: int, *, stream: int) -> Split:
    """Noise around one pattern a class, the same in both splits, so that there is something to learn."""
    count = steps * spec.batch
    shape = (spec.image_size, spec.image_size, 3)
    patterns = np.random.default_rng([spec.seed, 2]).integers(0, 128, (spec.classes, *shape), dtype=np.uint8)
    draw = np.random.default_rng([spec.seed, stream])
    distinct = min(count, SYNTHETIC_IMAGES)
    labels = draw.integers(0, spec.classes, distinct, dtype=np.int64)
    noise = draw.integers(0, 128, (distinct, *shape), dtype=np.uint8)
    return Split(patterns[labels] + noise, labels, count)


def _cifar10(folder: Path) -> tuple[Split, Split]:
    return _read_batches([folder / name for name in TRAIN_FILES]), _read_batches([folder / name for name in TEST_FILES])


def _read_batches(paths: list[Path]) -> Split:
    """Records of one label byte and 3072 bytes of planes in RGB order, rows first (cs.toronto.edu/~kriz/cifar.html)."""
    records = np.concatenate([np.fromfile(path, np.uint8).reshape(-1, RECORD_BYTES) for path in paths])
    planes = records[:, 1:].reshape(-1, 3, CIFAR10_IMAGE_SIZE, CIFAR10_IMAGE_SIZE)
    return Split(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].astype(np.int64), len(records))
