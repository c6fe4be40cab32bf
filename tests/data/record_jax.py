"""Records jax_training.xplane.pb.gz beside this file: a jitted training loop of JAX on a CPU, under JAX's own profiler.

    python tests/data/record_jax.py

in an environment with jax and jaxlib 0.10.2. Writes jax_training.json too: the clock reads around each step, ns of
CLOCK_REALTIME. No path of the recording machine is in either.
"""

import gzip
import json
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp

STEPS = 4
FIRST_STEP = 10
HERE = Path(__file__).parent

Weights = dict[str, jax.Array]


def loss_of(weights: Weights, inputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean squared error of two dense layers."""
    with jax.named_scope("dense"):
        hidden = jax.nn.relu(inputs @ weights["first"])
    return jnp.mean((hidden @ weights["second"] - targets) ** 2)


@jax.jit
def train_step(weights: Weights, inputs: jax.Array, targets: jax.Array) -> tuple[Weights, jax.Array]:
    """One step of gradient descent."""
    loss, gradients = jax.value_and_grad(loss_of)(weights, inputs, targets)
    with jax.named_scope("optimizer"):
        weights = jax.tree.map(lambda weight, gradient: weight - 0.01 * gradient, weights, gradients)
    return weights, loss


def record(folder: str) -> list[tuple[int, int]]:
    """Trains under the profiler, which writes into `folder`; the clock reads around each step."""
    weights: Weights = {"first": jnp.full((64, 128), 0.01), "second": jnp.full((128, 4), 0.01)}
    inputs, targets = jnp.ones((32, 64)), jnp.zeros((32, 4))
    for _ in range(2):  # the second call compiles anew, for the weights that the first gave back
        weights, loss = train_step(weights, inputs, targets)
    loss.block_until_ready()
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    brackets = []
    with jax.profiler.trace(folder, profiler_options=options):
        for step in range(FIRST_STEP, FIRST_STEP + STEPS):
            before = time.time_ns()
            with (
                jax.profiler.StepTraceAnnotation("train", step_num=step),
                jax.profiler.TraceAnnotation(f"hwprof.step.{step}"),
            ):
                weights, loss = train_step(weights, inputs, targets)
                loss.block_until_ready()
            brackets.append((before, time.time_ns()))
    return brackets


def main() -> None:
    """Writes both files."""
    jax.config.update("jax_hlo_source_file_canonicalization_regex", ".*/")
    with tempfile.TemporaryDirectory() as folder:
        brackets = record(folder)
        (path,) = Path(folder).glob("plugins/profile/*/*.xplane.pb")
        packed = gzip.compress(path.read_bytes(), mtime=0)
    (HERE / "jax_training.xplane.pb.gz").write_bytes(packed)
    (HERE / "jax_training.json").write_text(json.dumps(brackets) + "\n")


if __name__ == "__main__":
    main()
