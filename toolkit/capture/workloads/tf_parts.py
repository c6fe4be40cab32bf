"""What the TensorFlow workload is put together from beside Keras: tf.data pipelines."""

from typing import Any

import tensorflow as tf

from toolkit.capture.description import Section, Value
from toolkit.capture.workloads.data import Data, Scaling, Split, order
from toolkit.spec import RunSpec

HOST = "/CPU:0"


class TrainSet:
    """The training set as a dataset of one epoch at a time, in the seed's order."""

    def __init__(self, data: Data, spec: RunSpec) -> None:
        self._spec = spec
        self._samples = data.train.samples
        with tf.device(HOST):
            self._order = tf.Variable(order(spec, 0, self._samples), trainable=False)
        # The order is read anew each time an iterator starts.
        indices = tf.data.Dataset.range(1).flat_map(lambda _: tf.data.Dataset.from_tensor_slices(self._order))
        counted = indices.apply(tf.data.experimental.assert_cardinality(self._samples))
        self._batches = _batches(counted, data.train, data.scaling, spec)

    def epoch(self, number: int) -> tf.data.Dataset:
        """Its batches; asking for another epoch changes what a dataset given out before yields when it starts anew."""
        self._order.assign(order(self._spec, number, self._samples))
        return self._batches


def validation_set(data: Data, spec: RunSpec) -> tf.data.Dataset:
    """The validation set's batches in the set's own order."""
    return _batches(tf.data.Dataset.range(data.validation.samples), data.validation, data.scaling, spec)


def _batches(indices: tf.data.Dataset, split: Split, scaling: Scaling, spec: RunSpec) -> tf.data.Dataset:
    """Batches of scaled float32 images [n, size, size, 3] and int64 labels [n]."""
    with tf.device(HOST):
        images, labels = tf.constant(split.images), tf.constant(split.labels)
    distinct = len(split.labels)

    def sample(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        place = index % distinct
        return tf.cast(tf.gather(images, place), tf.float32) * scaling.scale - scaling.shift, tf.gather(labels, place)

    samples = indices.map(sample, num_parallel_calls=tf.data.AUTOTUNE)
    return samples.batch(spec.batch).prefetch(tf.data.AUTOTUNE)


def pipeline(batches: tf.data.Dataset) -> Section:
    """Options of a dataset and of those that it is made from, which TensorFlow keeps to itself."""
    stages: dict[str, dict[str, Any]] = {}
    stage: Any = batches
    while stage is not None:
        stages.setdefault(type(stage).__name__.strip("_"), vars(stage))
        stage = getattr(stage, "_input_dataset", None)
    batch = stages["BatchDataset"]
    return {
        "made by": "tf.data",
        "batch": int(batch["_batch_size"]),
        "samples prepared at a time": _many(stages.get("ParallelMapDataset", {}).get("_num_parallel_calls")),
        "prefetched batches": _many(stages.get("PrefetchDataset", {}).get("_buffer_size")),
        "last part batch dropped": bool(batch["_drop_remainder"]),
        "shuffled by the loader": "ShuffleDataset" in stages,
    }


def execution(function: Any) -> str:
    """How a step runs: `eager`, `graph` or `xla`."""
    if not isinstance(function, tf.types.experimental.PolymorphicFunction):
        return "eager"
    return "xla" if function._jit_compile else "graph"  # noqa: SLF001 - TensorFlow has no public way to ask


def _many(count: Any) -> Value:
    """A number, or what TensorFlow writes as -1."""
    if count is None:
        return None
    return "autotuned" if int(count) == tf.data.AUTOTUNE else int(count)
