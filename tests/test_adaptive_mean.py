"""VGG's adaptive mean in Keras is torch.nn.AdaptiveAvgPool2d, at every size of image."""

import json
import subprocess
from typing import Any

import pytest

from tests.workers import REPO, python

pytestmark = pytest.mark.e2e

# Of VGG's features, 1/32 of an image: 32 and 64 pixels to 192, and 256 and 448; at 224 they have the size of the head.
SIDES = (1, 2, 3, 4, 5, 6, 8, 14)
# Window n of 7 in s pixels begins at floor(n s / 7) and ends before ceil((n + 1) s / 7): torch's definition. The mean
# is linear, so its gradient is its transpose, and two products with it have to be the same number.
COMPARED = """
import json, os, sys
os.environ["KERAS_BACKEND"] = {"tf": "tensorflow"}.get(sys.argv[1], sys.argv[1])
import keras
import numpy as np
from toolkit.capture.workloads.matched.keras_layers import AdaptiveMean

def defined(images):
    side = images.shape[1]
    windows = [slice(n * side // 7, -(-(n + 1) * side // 7)) for n in range(7)]
    return np.stack([np.stack([images[:, r, c].mean((1, 2)) for c in windows], 1) for r in windows], 1)

def with_gradient(images, weights):
    if sys.argv[1] == "jax":
        import jax
        jax.config.update("jax_enable_x64", True)
        def total(x):
            means = AdaptiveMean(7, dtype="float64")(x)
            return (means * weights).sum(), means
        gradient, means = jax.jit(jax.grad(total, has_aux=True))(images)
        return np.asarray(means), np.asarray(gradient)
    import tensorflow as tf
    @tf.function
    def traced(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            means = AdaptiveMean(7, dtype="float64")(x)
            total = tf.reduce_sum(means * weights)
        return means, tape.gradient(total, x)
    return [tensor.numpy() for tensor in traced(tf.constant(images))]

off = {}
for side in map(int, sys.argv[2:]):
    draw = np.random.default_rng(side)
    images, others, weights = (draw.random((3, each, each, 5)) for each in (side, side, 7))
    means, gradient = with_gradient(images, weights)
    transposed = (gradient * others).sum() / (weights * defined(others)).sum() - 1
    off[side] = float(max(np.abs(means - defined(images)).max(), abs(transposed)))
print(json.dumps(off))
"""
BUILT = """
import json, os, sys
os.environ["KERAS_BACKEND"] = "jax"
import keras
from toolkit.capture.workloads.matched import keras_layers, keras_models

keras_models._Dense = lambda units, name, **_: keras.layers.Lambda(lambda x: x[:, :1], name=name)  # no weights of 1 GB
told = {}
for size in map(int, sys.argv[2:]):
    model = keras_models.build("vgg16", image_size=size, classes=10)
    means = sum(isinstance(layer, keras_layers.AdaptiveMean) for layer in model.layers)
    told[size] = [means, model.get_layer("classifier.0").input.shape[1]]
print(json.dumps(told))
"""


@pytest.mark.parametrize("framework", ["tf", "jax"])
def test_the_mean_is_torch_s_at_every_size(framework: str) -> None:
    """Values and gradients are the definition's, in float64 to its last digits."""
    off = told(framework, COMPARED, *SIDES)
    assert set(off) == {str(side) for side in SIDES}
    assert max(off.values()) < 1e-12


def test_vgg_s_head_is_one_at_every_size() -> None:
    """What is flattened has the features of torchvision's, with a mean before it but where there is none to take."""
    sizes = {32: 1, 96: 1, 224: 0, 256: 1}
    assert told("jax", BUILT, *sizes) == {str(size): [means, 7 * 7 * 512] for size, means in sizes.items()}


def told(framework: str, script: str, *arguments: int) -> dict[str, Any]:
    """The object that a script prints in the framework's own environment."""
    command = [python(framework), "-c", script, framework, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
