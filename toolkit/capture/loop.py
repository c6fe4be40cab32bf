"""What a worker does, stage by stage, in any framework: evaluate, warm up, train, evaluate, infer; with marks."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.capture.record import Recorder
from toolkit.capture.workload import NativeProfiler, Workload
from toolkit.spec import RunSpec

UNTIMED_REQUESTS = 2


class Session:
    """One workload, one spec, one recorder, and the profiler where this pass has one."""

    def __init__(self, workload: Workload, spec: RunSpec, record: Recorder, profiler: NativeProfiler | None) -> None:
        self._workload = workload
        self._spec = spec
        self._record = record
        self._profiler = profiler
        self._profiling = False

    def run(self) -> None:
        """All stages of the spec's task. The native profiler's trace is written even where a stage raises."""
        try:
            if self._spec.task == "train":
                self._train_and_evaluate()
            if self._spec.infer_repeats and (self._spec.task == "infer" or self._profiler is None):
                self._infer()
        finally:
            self._stop_profiler()

    def _train_and_evaluate(self) -> None:
        self._evaluate("evaluate_before", epoch=0)
        self._warm_up()
        with self._record.mark("stage", "train"):
            self._start_profiler()
            if self._spec.loop == "fit":
                self._workload.fit(self._record, self._after_step, self._after_epoch)
            else:
                self._train()
            self._stop_profiler()
        self._evaluate("evaluate_after", epoch=self._spec.epochs)

    def _warm_up(self) -> None:
        with self._record.mark("stage", "warmup"):
            for batch in itertools.islice(self._workload.train_batches(0), self._spec.warmup_steps):
                self._workload.train_step(self._workload.to_device(batch))
            self._workload.sync()
            self._workload.train_loss()
            self._workload.compiled()

    def _train(self) -> None:
        for epoch in range(1, self._spec.epochs + 1):
            self._record.clock()
            with self._record.mark("epoch", "train", epoch=epoch):
                self._train_epoch(epoch)
                self._after_epoch(epoch)

    def _train_epoch(self, epoch: int) -> None:
        with self._record.phase("data_wait"):
            batches = self._workload.train_batches(epoch)
        for step in range(1, self._workload.steps_per_epoch + 1):
            with self._record.mark("step", "train", step=step):
                self._train_step(batches)
            self._after_step()
        with self._record.phase("compute"):
            self._workload.sync()

    def _train_step(self, batches: Iterator[Any]) -> None:
        with self._record.phase("data_wait"):
            batch = next(batches)
        with self._record.phase("host_to_device"):
            batch = self._workload.to_device(batch)
        with self._record.phase("compute") as phase:
            self._workload.train_step(batch)
            if self._workload.compiled():
                phase.name = "compile"

    def _after_step(self) -> None:
        if self._profiling and self._profiler is not None:
            with self._record.phase("profiler"):
                self._profiling = self._profiler.step()
                if not self._profiling:
                    self._record.annotate = None

    def _after_epoch(self, epoch: int) -> None:
        """What follows the steps inside each epoch: validation, metrics, checkpoint."""
        with self._record.phase("validation"):
            evaluation = self._workload.evaluate()
        with self._record.phase("callbacks"):
            self._record.scalar("train_loss", self._workload.train_loss(), epoch=epoch)
            self._record.scalar("validation_loss", evaluation.loss, epoch=epoch)
            self._record.scalar("validation_accuracy", evaluation.accuracy, epoch=epoch)
            self._workload.report_memory(self._record)
        if self._spec.checkpoint:
            with self._record.phase("checkpoint"), tempfile.TemporaryDirectory() as folder:
                self._workload.checkpoint(Path(folder) / "checkpoint")

    def _evaluate(self, stage: str, *, epoch: int) -> None:
        with self._record.mark("stage", stage):
            evaluation = self._workload.evaluate()
            self._record.scalar(f"accuracy_{stage.removeprefix('evaluate_')}", evaluation.accuracy, epoch=epoch)

    def _infer(self) -> None:
        with self._record.mark("stage", "inference"):
            for batch in self._spec.infer_batches:
                request = self._workload.request(batch)
                for _ in range(UNTIMED_REQUESTS):
                    request()
                self._time_requests(request, batch)

    def _time_requests(self, request: Any, batch: int) -> None:
        if self._profiler is not None and not self._profiling:
            self._start_profiler()
        for number in range(1, self._spec.infer_repeats + 1):
            with self._record.mark("request", str(batch), step=number):
                request()
            self._after_step()

    def _start_profiler(self) -> None:
        if self._profiler is not None:
            with self._record.phase("profiler"):
                self._profiler.start()
            self._profiling = True
            self._record.annotate = self._workload.annotate

    def _stop_profiler(self) -> None:
        if self._profiling and self._profiler is not None:
            self._record.annotate = None
            self._profiling = False
            with self._record.phase("profiler"):
                self._profiler.stop()
