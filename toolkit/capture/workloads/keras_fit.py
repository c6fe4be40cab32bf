"""Keras's own loop on any backend: `compile`, `fit` with marks, `evaluate`, and its own checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from toolkit.capture.workload import Evaluation, FitHooks
from toolkit.capture.workloads import keras_callback, keras_parts
from toolkit.capture.workloads.data import Data
from toolkit.spec import RunSpec


class Fitting:
    """What a workload under `fit` has on every backend; a base beside the backend's own, which makes what it names."""

    model: keras.Model
    steps_per_epoch: int
    _spec: RunSpec
    _data: Data
    _train_set: keras_parts.TrainSet
    _validation_set: Any
    _optimizer: keras.optimizers.Optimizer
    _loss: keras.losses.Loss

    def evaluate(self) -> Evaluation:
        """The validation set by Keras's `evaluate`, whose test function `fit` uses too."""
        logs = self.model.evaluate(self._validation_set, verbose=0, return_dict=True)
        return self._evaluation(logs["loss"], logs["accuracy"])

    def checkpoint(self, path: Path) -> None:
        """Model and optimizer in Keras's own format."""
        self.model.save(path.with_suffix(".keras"))

    def fit(self, hooks: FitHooks) -> None:
        """All epochs in one `fit` that validates inside; without its progress bar. The set is in its order already."""
        marks = _Marking(
            hooks,
            self._evaluation,
            self._train_set,
            model=self.model,
            epochs=self._spec.epochs,
            steps=self.steps_per_epoch,
        )
        with keras_callback.validation_marked(self.model, hooks.begin_validation, hooks.end_validation):
            self.model.fit(
                self._train_set.epoch(1),
                epochs=self._spec.epochs,
                validation_data=self._validation_set,
                callbacks=marks,
                shuffle=False,
                verbose=0,
            )

    def _compile(self) -> bool:
        """Has Keras compile the model as the spec has it; whether that came to XLA.

        "auto", Keras's default, takes XLA wherever the model can on JAX, and beside a GPU alone on TensorFlow.
        """
        self.model.compile(
            self._optimizer,
            self._loss,
            metrics=["accuracy"],
            run_eagerly=self._spec.compile == "eager",
            jit_compile="auto" if self._spec.compile == "auto" else self._spec.compile == "xla",
        )
        return bool(self.model.jit_compile)

    def _evaluation(self, loss: Any, accuracy: Any) -> Evaluation:
        return keras_parts.evaluation(self._data, loss, accuracy)


class _Marking(keras.callbacks.CallbackList):
    """Keras's own callbacks, with the hooks told where its loop is.

    A list rather than a callback in it: for a callback that hears of each step Keras fetches the step's metrics first,
    and so waits for the device after every step, which it does not do by default.
    """

    def __init__(
        self,
        hooks: FitHooks,
        evaluation: Callable[[Any, Any], Evaluation],
        train_set: keras_parts.TrainSet,
        **params: Any,
    ) -> None:
        super().__init__(add_history=True, **params)
        self._hooks = hooks
        self._evaluation = evaluation
        self._train_set = train_set

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._hooks.begin_epoch(epoch + 1)
        self._train_set.epoch(epoch + 1)
        super().on_epoch_begin(epoch, logs)
        self._hooks.begin_batches()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch, logs)
        self._hooks.begin_step(batch + 1)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._hooks.end_step()
        super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        logs = logs or {}
        evaluation = self._evaluation(logs["val_loss"], logs["val_accuracy"])
        self._hooks.end_epoch(float(logs["loss"]), evaluation)
