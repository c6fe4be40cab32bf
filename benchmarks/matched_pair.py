"""Steps of the matched VGG-16 and of keras.applications' own, in turn, in one process of TensorFlow's environment.

Arguments: batch, pairs of steps, image size, optimizer. Prints the ratio of each pair, matched over keras.applications,
of wall time and of processor time, as two lists. Which of a pair comes first is drawn. Same classes, threads, compile
mode, loss of logits and optimizer constants; dropout is off, for Keras's has none. Below 224 pixels the two are not the
same: torchvision pools to 7x7, Keras does not.
"""

import json
import random
import sys
import time

from toolkit.capture.workloads import tensorflow  # isort: skip - it chooses Keras's backend

import keras

from toolkit.capture.workloads.matched import keras_layers, keras_weights
from toolkit.settings import check
from toolkit.spec import RunSpec

WARM_UP = 2
MATCHED, OWN = "matched", "keras.applications"

batch, pairs, image_size = (int(argument) for argument in sys.argv[1:4])
spec = check(
    RunSpec(
        framework="tf",
        model="vgg16",
        loop="custom",
        threads=1,
        batch=batch,
        steps=pairs,
        image_size=image_size,
        optimizer=sys.argv[4],
    )
)


class Own(tensorflow.TensorFlowWorkload):
    """The same workload with Keras's own model and optimizer."""

    def __init__(self) -> None:
        super().__init__(spec, "cpu")
        shape = (image_size, image_size, 3)
        self.model = keras.applications.VGG16(
            weights=None, input_shape=shape, classes=spec.classes, classifier_activation=None
        )
        self._optimizer = (
            keras.optimizers.Adam(spec.learning_rate, epsilon=keras_layers.ADAM_EPSILON)
            if spec.optimizer == "adam"
            else keras.optimizers.SGD(spec.learning_rate, momentum=spec.momentum)
        )
        self._optimizer.build(self.model.trainable_variables)


def matched() -> tensorflow.TensorFlowWorkload:
    """The workload as runs have it, without dropout."""
    workload = tensorflow.build(spec, "cpu")
    keras_weights.drop_nothing(workload.model)
    return workload


def taken_ns(workload: tensorflow.TensorFlowWorkload) -> tuple[int, int]:
    """Wall and processor time of one step."""
    wall_ns, processor_ns = time.perf_counter_ns(), time.process_time_ns()
    workload.train_step(fixed)
    return time.perf_counter_ns() - wall_ns, time.process_time_ns() - processor_ns


workloads = {MATCHED: matched(), OWN: Own()}
counts = {name: each.model.count_params() for name, each in workloads.items()}
if len(set(counts.values())) > 1:
    sys.exit(f"not the same architecture: {counts} parameters")
fixed = next(iter(workloads[MATCHED].train_batches(1)))
ratios: tuple[list[float], list[float]] = ([], [])
for number in range(WARM_UP + pairs):
    taken = {name: taken_ns(workloads[name]) for name in random.sample(list(workloads), 2)}
    if number >= WARM_UP:
        for ratio, one, other in zip(ratios, taken[MATCHED], taken[OWN], strict=True):
            ratio.append(one / other)
print(json.dumps(ratios))
