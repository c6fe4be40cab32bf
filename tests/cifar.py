"""A CIFAR-10 of a few samples, in the published set's own layout."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np

from toolkit.capture.datasets import ARCHIVE, FOLDER, TEST_FILES, TRAIN_FILES

PIXELS = 32 * 32


def records(samples: int, seed: int) -> bytes:
    """`samples` records: a label byte, then the red, the green and the blue plane."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 10, (samples, 1), dtype=np.uint8)
    return np.concatenate([labels, draw.integers(0, 256, (samples, 3 * PIXELS), dtype=np.uint8)], axis=1).tobytes()


def files(train: int = 4, test: int = 10) -> dict[str, bytes]:
    """The six files, with `train` samples in each of the five for training."""
    contents = {name: records(train, seed) for seed, name in enumerate(TRAIN_FILES)}
    return contents | {TEST_FILES[0]: records(test, 99)}


def folder(parent: Path, **samples: int) -> Path:
    """The extracted set."""
    place = parent / FOLDER
    place.mkdir(parents=True)
    for name, content in files(**samples).items():
        (place / name).write_bytes(content)
    return place


def archive(parent: Path, contents: dict[str, bytes] | None = None) -> tuple[Path, str]:
    """The packed set, under its published name, and its sha256."""
    parent.mkdir(parents=True, exist_ok=True)
    path = parent / ARCHIVE
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (files() if contents is None else contents).items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()
