"""Keras's own `fit`, on whichever backend: a callback marks its epochs, steps and validation, and logs its figures."""

import keras
import numpy as np
from numpy.typing import NDArray

from toolkit import profile

BATCH = 64


def points(count: int, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Noisy points on rings of radius 1 and 2: [count, 2] and which ring, [count]."""
    ring = random.integers(2, size=count)
    angle = random.uniform(0, 2 * np.pi, count)
    radius = 1 + ring + 0.2 * random.standard_normal(count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), ring


def main() -> None:
    """Three epochs of training, each with its validation inside."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    hidden = [keras.layers.Dense(256, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(2)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    inputs, labels = points(2048, random)

    with profile("rings in fit", batch=BATCH) as run:
        model.fit(
            inputs,
            labels,
            batch_size=BATCH,
            epochs=3,
            validation_data=points(512, random),
            callbacks=[run.callback()],
            verbose=0,
        )


if __name__ == "__main__":
    main()
