"""Steps of the matched VGG-16 and of keras.applications' own, in turn, in one process of TensorFlow's environment.

Arguments: batch, steps, image size, optimizer. Prints two lists of [wall ns, processor ns], a pair of steps each; the
first of a pair is drawn. Same classes, threads, compile mode, loss of logits and optimizer constants; dropout is off,
for Keras's has none. Below 224 pixels the two are not the same: torchvision pools to 7x7, Keras does not.
"""

import json
import random
import sys
import time

from toolkit.capture.workloads import tensorflow  # isort: skip - it chooses Keras's backend

import keras

from toolkit.capture.workloads.matched import keras_layers, keras_weights
from toolkit.spec import RunSpec, check

WARM_UP = 2

batch, steps, image_size = (int(argument) for argument in sys.argv[1:4])
spec = check(
    RunSpec(
        framework="tf",
        model="vgg16",
        loop="custom",
        threads=1,
        batch=batch,
        steps=steps,
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


matched = tensorflow.build(spec, "cpu")
keras_weights.drop_nothing(matched.model)
workloads = {"matched": matched, "keras.applications": Own()}
counts = {name: each.model.count_params() for name, each in workloads.items()}
if len(set(counts.values())) > 1:
    sys.exit(f"not the same architecture: {counts} parameters")
fixed = next(iter(matched.train_batches(1)))
measured: dict[str, list[tuple[int, int]]] = {name: [] for name in workloads}
for number in range(steps + WARM_UP):
    for name in random.sample(list(workloads), 2):
        wall_ns, processor_ns = time.perf_counter_ns(), time.process_time_ns()
        workloads[name].train_step(fixed)
        taken = (time.perf_counter_ns() - wall_ns, time.process_time_ns() - processor_ns)
        if number >= WARM_UP:
            measured[name].append(taken)
print(json.dumps(measured))
