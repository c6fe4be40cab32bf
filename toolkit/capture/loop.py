"""What a worker does, stage by stage, in any framework: evaluate, warm up, train, evaluate, infer; with marks."""

from toolkit.capture.memory_errors import line, out_of_memory
from toolkit.capture.record import Recorder
from toolkit.capture.training import Parts, ProfilerWindow, train
from toolkit.capture.workload import NativeProfiler, Request, Workload
from toolkit.spec import RunSpec

UNTIMED_REQUESTS = 2
# What a batch that does not fit is recorded as unavailable of.
INFERENCE = "inference"


class Session:
    """One workload, one spec, one recorder, and the profiler where this pass has one."""

    def __init__(self, workload: Workload, spec: RunSpec, record: Recorder, profiler: NativeProfiler | None) -> None:
        self._workload = workload
        self._spec = spec
        self._record = record
        self._window = ProfilerWindow(profiler, workload, record)
        self._profiled = profiler is not None

    def run(self) -> None:
        """All stages of the spec's task. The native profiler's trace is written even where a stage raises."""
        try:
            if self._spec.task == "train":
                self._train_and_evaluate()
            if self._spec.infer_repeats and (self._spec.task == "infer" or not self._profiled):
                self._infer()
        finally:
            self._window.stop()

    def _train_and_evaluate(self) -> None:
        self._evaluate("evaluate_before", epoch=0)
        with self._record.mark("stage", "warmup"):
            self._workload.warm_up(self._spec.warmup_steps)
        with self._record.mark("stage", "train"):
            self._window.start()
            train(Parts(self._workload, self._spec, self._record, self._window))
            self._window.stop()
        self._evaluate("evaluate_after", epoch=self._spec.epochs)

    def _evaluate(self, stage: str, *, epoch: int) -> None:
        with self._record.mark("stage", stage):
            evaluation = self._workload.evaluate()
            self._record.scalar(f"accuracy_{stage.removeprefix('evaluate_')}", evaluation.accuracy, epoch=epoch)

    def _infer(self) -> None:
        with self._record.mark("stage", "inference"):
            too_large = {batch: lacking for batch in self._spec.infer_batches if (lacking := self._infer_batch(batch))}
            if len(too_large) == len(self._spec.infer_batches):
                raise MemoryError(
                    f"no batch of inference fits: {min(too_large)} ended with {too_large[min(too_large)]}"
                )
            if self._spec.task == "infer":
                # where there is training, the figures are of its epochs
                self._workload.report_memory(self._record)

    def _infer_batch(self, batch: int) -> str | None:
        """Requests of one size. One that finds no memory is recorded so, and told; the framework can do the others."""
        try:
            request = self._workload.request(batch)
            for _ in range(UNTIMED_REQUESTS):
                request.whole()
                request.resident()
            self._window.start()
            self._time_requests(request, batch)
        except Exception as error:
            if not out_of_memory(error):
                raise
            # As a line, for the error itself holds on to the frames, and so to their tensors.
            lacking = line(error)
        else:
            return None
        self._record.unavailable(INFERENCE, None, f"batch {batch}", f"out of memory: {lacking}")
        return lacking

    def _time_requests(self, request: Request, batch: int) -> None:
        """Both ways in turn, so that the machine's moods fall on both; under the profiler whole ones alone."""
        for number in range(1, self._spec.infer_repeats + 1):
            self._window.begin_step("request")
            try:
                with self._record.mark("request", str(batch), step=number):
                    request.whole()
            finally:
                self._window.end_step()
            if not self._profiled:
                with self._record.mark("resident_request", str(batch), step=number):
                    request.resident()
