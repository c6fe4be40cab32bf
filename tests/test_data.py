"""Images and labels: the same for the same seed, in every framework, and CIFAR-10's own bytes."""

import dataclasses
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import cifar
from tests.workers import REPO, python
from toolkit.capture.datasets import TEST_FILES, TRAIN_FILES
from toolkit.capture.workloads.data import SYNTHETIC_IMAGES, Data, load
from toolkit.errors import HwprofError
from toolkit.spec import FRAMEWORKS, RunSpec

DIGEST = """
import hashlib, sys
from toolkit.capture.workloads.data import load
from toolkit.spec import from_json
data = load(from_json(sys.argv[1]))
sets = (data.train.images, data.train.labels, data.validation.images, data.validation.labels)
print(hashlib.sha256(b"".join(part.tobytes() for part in sets)).hexdigest())
"""


def spec(**settings: Any) -> RunSpec:
    """A small synthetic set."""
    return dataclasses.replace(RunSpec(batch=8, steps=5, validation_steps=3, classes=10, image_size=16), **settings)


def whole(folder: Path, **settings: Any) -> RunSpec:
    """All of the CIFAR-10 in `folder`."""
    return spec(dataset="cifar10", data_dir=str(folder), image_size=32, steps=0, validation_steps=0, **settings)


def digest(data: Data) -> str:
    """What DIGEST prints of it."""
    sets = (data.train.images, data.train.labels, data.validation.images, data.validation.labels)
    return hashlib.sha256(b"".join(part.tobytes() for part in sets)).hexdigest()


def test_synthetic_sets_have_their_documented_shapes() -> None:
    """Images are uint8 NHWC, labels int64 within the classes, as many as the steps ask for."""
    data = load(spec(classes=3))
    assert (data.train.images.shape, data.train.images.dtype) == ((40, 16, 16, 3), np.uint8)
    assert (data.validation.labels.shape, data.validation.labels.dtype) == ((24,), np.int64)
    assert (data.steps, data.validation_steps, data.train.samples, data.validation.samples) == (5, 3, 40, 24)
    assert set(data.train.labels.tolist()) <= {0, 1, 2}


def test_the_seed_decides_every_byte() -> None:
    """One seed gives one set; another gives another; training and validation differ."""
    assert digest(load(spec(seed=1))) == digest(load(spec(seed=1))) != digest(load(spec(seed=2)))
    data = load(spec(steps=3))
    assert data.train.images.tobytes() != data.validation.images.tobytes()


@pytest.mark.e2e
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_framework_s_environment_makes_the_same_bytes(framework: str) -> None:
    """Each environment brings its own NumPy, and all draw the same set."""
    command = [python(framework), "-c", DIGEST, spec(seed=7).as_json()]
    printed = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == digest(load(spec(seed=7)))


def test_a_long_synthetic_epoch_goes_round_its_images() -> None:
    """No more than so many distinct images are kept, however many samples are asked for."""
    data = load(spec(batch=100, steps=20))
    assert (len(data.train.images), data.train.samples) == (SYNTHETIC_IMAGES, 2000)


def test_there_is_something_to_learn() -> None:
    """Images of one class lie nearer to their class's mean than to another's, in validation too."""
    data = load(spec(batch=64, classes=2))
    means = [data.train.images[data.train.labels == label].mean(axis=0) for label in (0, 1)]
    images, labels = data.validation.images, data.validation.labels
    nearest = np.argmin([np.abs(images - mean).sum(axis=(1, 2, 3)) for mean in means], axis=0)
    assert (nearest == labels).all()


def test_cifar10_is_read_as_published(tmp_path: Path) -> None:
    """A record's planes become an image's channels, rows first; files follow each other in order."""
    folder = cifar.folder(tmp_path, train=4, test=10)
    data = load(whole(folder))
    raw = b"".join((folder / name).read_bytes() for name in TRAIN_FILES)
    record = np.frombuffer(raw, np.uint8).reshape(20, 3073)[13]
    assert data.train.labels[13] == record[0]
    for channel in range(3):
        plane = record[1 + channel * 1024 : 1 + (channel + 1) * 1024].reshape(32, 32)
        assert (data.train.images[13, :, :, channel] == plane).all()
    assert data.validation.labels.tolist() == list((folder / TEST_FILES[0]).read_bytes()[::3073])


def test_no_steps_take_the_whole_set(tmp_path: Path) -> None:
    """steps=0 is every sample once, the last batch a part of one; steps=N takes that many batches."""
    folder = cifar.folder(tmp_path, train=4, test=10)
    data = load(whole(folder))
    assert (data.steps, data.train.samples, data.validation_steps, data.validation.samples) == (3, 20, 2, 10)
    data = load(dataclasses.replace(whole(folder), steps=2, validation_steps=1))
    assert (data.steps, data.train.samples, data.validation_steps, data.validation.samples) == (2, 16, 1, 8)


def test_more_steps_than_samples_are_refused(tmp_path: Path) -> None:
    """An epoch is never quietly shorter than asked."""
    folder = cifar.folder(tmp_path, train=4, test=10)
    with pytest.raises(HwprofError, match="steps=4 of 8 samples is more than the 20 samples there are"):
        load(dataclasses.replace(whole(folder), steps=4))
