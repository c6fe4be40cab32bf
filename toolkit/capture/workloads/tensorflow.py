"""The TensorFlow workload in its own idiom: tf.data, Keras's `fit` or a tf.function loop, keras.applications.

As shipped, models end in softmax, and EfficientNet rescales and normalises once more inside its graph, which `facts`
tells; matched ones end in logits.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

# TensorFlow reads it as it loads. 1 drops what it tells of itself and keeps warnings, such as a CUDA library missing.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# So does Keras, whatever someone's own configuration says.
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

from toolkit.capture.workload import Evaluation, NativeProfiler, Request
from toolkit.capture.workloads import keras_description, keras_parts, tf32, tf_parallel, tf_parts, tf_process
from toolkit.capture.workloads.data import Data, load, requested
from toolkit.capture.workloads.keras_fit import Fitting
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import RunSpec

GPU = "/GPU:0"


def build(spec: RunSpec, device: str) -> "TensorFlowWorkload":
    """The workload of `spec` on `device`, `cpu` or `cuda`."""
    if spec.threads:
        tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
        tf.config.threading.set_inter_op_parallelism_threads(spec.threads)
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not tf.config.list_physical_devices("GPU"):
        raise HwprofError(
            f"TensorFlow {tf.__version__} cannot use the GPU that the driver shows.",
            remedy="TF_CPP_MIN_LOG_LEVEL=0 in the environment makes it log why; or use device=cpu.",
            exit_code=FAILED,
        )
    tf32.check(spec, tf_process.capability(device))
    if spec.precision != "auto":
        tf.config.experimental.enable_tensor_float_32_execution(spec.precision == "tf32")
    keras_parts.set_precision(spec.precision)
    keras.utils.set_random_seed(spec.seed)
    return FitWorkload(spec, device) if spec.loop == "fit" else TensorFlowWorkload(spec, device)


class TensorFlowWorkload(tf_process.Process):
    """A keras.applications model (or the small CIFAR CNN) in a hand-written tf.function loop; fulfils `Workload`."""

    def __init__(self, spec: RunSpec, device: str) -> None:
        self._spec = spec
        super().__init__(device)
        self._xla = spec.compile == "xla"
        self._data: Data = load(spec)
        self._together = tf_parallel.joined(spec, device)
        self.steps_per_epoch = self._data.steps
        self._train_set: keras_parts.TrainSet = tf_parts.TrainSet(self._data, spec)
        self._validation_set = tf_parts.validation_set(self._data, spec)
        with self._together.scope():
            self.model = keras_parts.model(spec)
            self._optimizer = keras_parts.optimizer(spec)
            # Or the first step is traced twice: once to make the optimizer's variables, once for good.
            self._optimizer.build(self.model.trainable_variables)
            self._train_loss = keras.metrics.Mean()
        self._loss = keras_parts.loss(spec)
        self._validation_loss = keras.metrics.Mean()
        self._validation_accuracy = keras.metrics.SparseCategoricalAccuracy()
        # The batch stays open in the signatures: the part batch that ends an epoch is no reason to trace again.
        images = tf.TensorSpec((None, spec.image_size, spec.image_size, 3), tf.float32)
        self._signature = (images, tf.TensorSpec((None,), tf.int64))
        batches = self._together.batches(self._train_set.epoch(0))
        self._train_function = self._function(self._together.step(self._train), batches.element_spec)
        self._test_function = self._function(self._test, self._signature)
        self._traces = 0

    def facts(self) -> dict[str, Any]:
        """Versions and settings read back from TensorFlow and Keras."""
        facts = super().facts()
        return {
            **facts,
            "versions": {"keras": keras.__version__, **facts["versions"]},
            "replicas": self._together.facts(),
            **keras_parts.model_facts(self._spec, self.model),
            "train_samples": self._data.train.samples,
            "validation_samples": self._data.validation.samples,
            "optimizer": keras_parts.optimizer_facts(self._optimizer),
            "input_pipeline": "tf.data, prefetched",
            "compile": "xla" if self._xla else self._spec.compile.replace("auto", "graph"),
        }

    def describe(self) -> str:
        """Of the live model, optimizer and dataset."""
        return keras_description.document(
            self._spec,
            self.facts(),
            model=self.model,
            loss=self._loss,
            optimizer=self._optimizer,
            compiled=self._execution(),
            pipeline=tf_parts.pipeline(self._train_set.epoch(1)),
            tf32=tf.config.experimental.tensor_float_32_execution_enabled(),
        )

    def warm_up(self, steps: int) -> None:
        """`steps` batches, going round the set where it is shorter."""
        batches = itertools.chain.from_iterable(self.train_batches(0) for _ in itertools.count())
        for batch in itertools.islice(batches, steps):
            self.train_step(self.to_device(batch))
        self.sync()
        self.compiled()
        self._train_loss.reset_state()

    def train_batches(self, epoch: int) -> Iterator[Any]:
        """One epoch in the seed's order."""
        return iter(self._together.batches(self._train_set.epoch(epoch)))

    def to_device(self, batch: Any) -> Any:
        """Copied to the GPU where that computes: tf.data leaves its batches in host memory, but not replicas'."""
        if self.device == "cpu" or isinstance(batch[0], tf.distribute.DistributedValues):
            return batch
        with tf.device(GPU):
            return tuple(tf.identity(tensor) for tensor in batch)

    def train_step(self, batch: Any) -> None:
        """Forward, backward, update."""
        self._train_function(*batch)

    def compiled(self) -> bool:
        """Whether a training step was traced since this was last asked.

        TensorFlow optimises the graph and, with XLA, compiles it at the first execution, so inside the same step.
        """
        before, self._traces = self._traces, self._tracing_count()
        return self._traces > before

    def train_loss(self) -> float:
        """Mean cross-entropy a sample since last asked; NaN where nothing was trained."""
        # Of replicas it is a sum, which no conversion of Keras's makes.
        count = float(tf.convert_to_tensor(self._train_loss.count.value))
        mean = float(self._train_loss.result()) if count else float("nan")
        self._train_loss.reset_state()
        return mean

    def evaluate(self) -> Evaluation:
        """The validation set in inference mode."""
        self._validation_loss.reset_state()
        self._validation_accuracy.reset_state()
        for batch in self._validation_set:
            self._test_function(*self.to_device(batch))
        return keras_parts.evaluation(self._data, self._validation_loss.result(), self._validation_accuracy.result())

    def request(self, batch: int) -> Request:
        """An inference of `batch` images."""
        images = requested(self._data, batch)
        (resident,) = self.to_device((tf.constant(images),))

        def answer() -> None:
            self._predict_function(images).numpy()

        def compute() -> None:
            self._predict_function(resident)
            self.sync()

        return Request(answer, compute)

    def checkpoint(self, path: Path) -> None:
        """Model and optimizer by tf.train.Checkpoint."""
        tf.train.Checkpoint(model=self.model, optimizer=self._optimizer).write(str(path))

    def profiler(self, folder: Path) -> NativeProfiler:
        """tf.profiler by the spec's options."""
        return self.window(self._spec, folder, steps=self._spec.profile_steps)

    def _train(self, images: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = self._loss(labels, self.model(images, training=True))
        variables = self.model.trainable_variables
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        # Among several replicas Keras's losses are scaled, so that the sum of their gradients is the mean's.
        self._train_loss.update_state(loss * self._together.replicas, sample_weight=tf.shape(labels)[0])

    def _test(self, images: tf.Tensor, labels: tf.Tensor) -> None:
        probabilities = self.model(images, training=False)
        self._validation_loss.update_state(self._loss(labels, probabilities), sample_weight=tf.shape(labels)[0])
        self._validation_accuracy.update_state(labels, probabilities)

    def _predict(self, images: tf.Tensor) -> tf.Tensor:
        return self.model(images, training=False)

    @cached_property
    def _predict_function(self) -> Any:
        return self._function(self._predict, self._signature[:1])

    def _function(self, python: Callable[..., Any], signature: tuple[tf.TensorSpec, ...]) -> Any:
        """`python` as the spec has it run."""
        if self._spec.compile == "eager":
            return python
        return tf.function(python, input_signature=signature, jit_compile=self._xla)

    def _execution(self) -> str:
        return tf_parts.execution(self._train_function)

    def _tracing_count(self) -> int:
        if self._spec.compile == "eager":
            return 0
        return int(self._train_function.experimental_get_tracing_count())


class FitWorkload(Fitting, TensorFlowWorkload):
    """The same under Keras's `compile` and `fit`; fulfils `FittingWorkload`."""

    def __init__(self, spec: RunSpec, device: str) -> None:
        super().__init__(spec, device)
        self._xla = self._compile()
        self.model.train_step = self._counted(self.model.train_step)
        self._traced = 0

    def warm_up(self, steps: int) -> None:
        """`steps` batches by a `fit` of their own, which leaves the train function traced for the next."""
        if steps:
            self.model.fit(self._train_set.epoch(0).repeat().take(steps), verbose=0, shuffle=False)
        self.sync()
        self.compiled()

    def _counted(self, train_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Keras hides its tf.function, but Python comes through the step only while that is traced."""

        def step(data: Any) -> Any:
            self._traced += 1
            return train_step(data)

        return step

    def _execution(self) -> str:
        return keras_description.execution(self.model)

    def _tracing_count(self) -> int:
        return self._traced
