"""A loop of your own in JAX: a small network learns which of two rings a point lies on."""

from collections.abc import Iterator
from itertools import pairwise

import jax
import numpy as np
from jax import numpy as jnp
from numpy.typing import NDArray

from toolkit import profile

BATCH = 64
RATE = 0.1
WIDTHS = (2, 256, 256, 2)

Weights = list[tuple[jax.Array, jax.Array]]
Points = tuple[NDArray[np.float32], NDArray[np.int64]]


def points(count: int, random: np.random.Generator) -> Points:
    """Noisy points on rings of radius 1 and 2: [count, 2] and which ring, [count]."""
    ring = random.integers(2, size=count)
    angle = random.uniform(0, 2 * np.pi, count)
    radius = 1 + ring + 0.2 * random.standard_normal(count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), ring


def batches(inputs: NDArray[np.float32], labels: NDArray[np.int64], random: np.random.Generator) -> Iterator[Points]:
    """The points once, in a new order."""
    order = random.permutation(len(labels))
    for start in range(0, len(labels), BATCH):
        chosen = order[start : start + BATCH]
        yield inputs[chosen], labels[chosen]


def logits(weights: Weights, inputs: jax.Array) -> jax.Array:
    """[n, 2] of points [n, 2]."""
    *hidden, (last, bias) = weights
    for matrix, shift in hidden:
        inputs = jax.nn.relu(inputs @ matrix + shift)
    return inputs @ last + bias


def loss_of(weights: Weights, inputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits(weights, inputs)), labels[:, None], axis=1).mean()


@jax.jit
def train(weights: Weights, inputs: jax.Array, labels: jax.Array) -> tuple[Weights, jax.Array]:
    """One step down the gradient."""
    loss, gradient = jax.value_and_grad(loss_of)(weights, inputs, labels)
    return jax.tree.map(lambda weight, slope: weight - RATE * slope, weights, gradient), loss


def main() -> None:
    """Three epochs of training, a validation after each."""
    random = np.random.default_rng(0)
    weights = [
        (jnp.asarray(random.standard_normal((before, after)) * np.sqrt(2 / before), jnp.float32), jnp.zeros(after))
        for before, after in pairwise(WIDTHS)
    ]
    known, held_out = points(2048, random), points(512, random)

    with profile("rings", framework="jax", batch=BATCH, settings={"learning_rate": RATE}) as run:
        for _ in run.epochs(3):
            for batch in run.steps(batches(*known, random)):
                with run.phase("host_to_device"):
                    inputs, labels = jax.device_put(batch)
                weights, loss = train(weights, inputs, labels)
            with run.phase("validation"):
                accuracy = (logits(weights, held_out[0]).argmax(1) == held_out[1]).mean()
            run.log(loss=loss, accuracy=accuracy)


if __name__ == "__main__":
    main()
