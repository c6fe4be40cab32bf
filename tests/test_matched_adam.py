"""The matched Adam in Keras takes torch.optim.Adam's steps, and goes over a tensor no oftener than Keras's own."""

import json
import subprocess

import pytest

from tests.workers import REPO, python

pytestmark = pytest.mark.e2e

STEPPED = """
import json, os
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
import tensorflow as tf
from toolkit.capture.workloads.matched.keras_layers import ADAM_EPSILON, Adam

RATE, SHAPE = 1e-3, (3, 5)

def passes(optimizer):
    '''Operations on whole tensors in one update, reading the variables apart.'''
    variable = keras.Variable(np.ones(SHAPE), dtype="float32")
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    graph = step.get_concrete_function(tf.TensorSpec(SHAPE, tf.float32)).graph
    made = [each for each in graph.get_operations() if each.type != "ReadVariableOp"]
    return sum(any(output.shape == SHAPE for output in each.outputs) for each in made)

draw = np.random.default_rng(0)
value, first, second = draw.random(SHAPE), np.zeros(SHAPE), np.zeros(SHAPE)
variable = keras.Variable(value, dtype="float64")
optimizer = Adam(RATE, epsilon=ADAM_EPSILON)
optimizer.build([variable])
off = []
for number in range(1, 6):
    # Some so small that epsilon is most of what they are divided by.
    gradient = draw.standard_normal(SHAPE) * 10.0 ** draw.integers(-10, 1, SHAPE)
    optimizer.apply([tf.constant(gradient)], [variable])
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient**2
    value = value - RATE * (first / (1 - 0.9**number)) / (np.sqrt(second / (1 - 0.999**number)) + 1e-8)
    off.append(float(np.abs(variable.numpy() - value).max() / RATE))
print(json.dumps([off, passes(Adam(RATE, epsilon=ADAM_EPSILON)), passes(keras.optimizers.Adam(RATE))]))
"""


def test_adam_is_torch_s_and_costs_what_keras_s_costs() -> None:
    """Five steps in float64 follow the algorithm with epsilon outside; the graph has no more work on tensors."""
    done = subprocess.run([python("tf"), "-c", STEPPED], cwd=REPO, capture_output=True, text=True, check=True)
    off, own, keras_s = json.loads(done.stdout.splitlines()[-1])
    assert max(off) < 1e-6
    assert 0 < own <= keras_s
