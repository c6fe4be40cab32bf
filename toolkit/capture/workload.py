"""What the worker asks of a framework: one class a framework in `workloads/` fulfils this."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from toolkit.capture.record import Recorder


class Replica(NamedTuple):
    """One of several processes that train one model: its rank, and the file by which they find each other.

    `begin()` on rank 0 lets the others go on, which wait in theirs; `total(numbers)` gives rank 0 the sums over all of
    them, and the others what they gave.
    """

    rank: int
    rendezvous: Path
    begin: Callable[[], None]
    total: Callable[[Sequence[float]], list[float]]


class Evaluation(NamedTuple):
    """Over `samples` validation samples: the mean loss a sample, and the share classified right, 0 to 1."""

    loss: float
    accuracy: float
    samples: int


class Request(NamedTuple):
    """One inference in two ways, each to be called any number of times; each returns when the answer is there.

    `whole` goes from host memory to host memory; `resident` takes its input and leaves its answer on the device.
    """

    whole: Callable[[], None]
    resident: Callable[[], None]


class NativeProfiler(Protocol):
    """The framework's own profiler over a window of training steps, writing into TensorBoard's layout."""

    def start(self) -> None:
        """Starts recording; the next step is the first recorded."""

    def begin_step(self, name: str) -> None:
        """Tells it that a step begins: `train`, or `request` for an inference."""

    def end_step(self) -> bool:
        """Tells it that the step ended; false where that was the window's last."""

    def stop(self) -> None:
        """Ends recording, of a window that did not fill too, and writes the trace. Does not wait for the device."""


class ProfilerOptions(Protocol):
    """What a native profiler is to record beside the steps themselves; specs have it."""

    @property
    def profile_memory(self) -> bool:
        """Allocator events, or what is alive at the window's end."""

    @property
    def profile_shapes(self) -> bool:
        """Shapes of operators' inputs."""

    @property
    def profile_stacks(self) -> bool:
        """Python stacks."""


class FitHooks(Protocol):
    """What a framework's own training loop tells, in this order, so that its time can be marked.

    For each epoch: `begin_epoch`, `begin_batches`, then `begin_step` and `end_step` around each compiled step,
    `begin_validation` and `end_validation` around its own validation, `end_epoch`.
    """

    def begin_epoch(self, epoch: int) -> None:
        """Epoch `epoch`, from 1, begins."""

    def begin_batches(self) -> None:
        """Its callbacks have heard of the epoch; now the loop starts its pipeline."""

    def fetching(self) -> AbstractContextManager[Any]:
        """To be held around the making of one batch, where Python makes them in the loop's own thread."""

    def begin_step(self, step: int) -> None:
        """Step `step`, from 1 within its epoch, begins."""

    def end_step(self) -> None:
        """The framework's compiled step has returned."""

    def begin_validation(self) -> None:
        """The loop's own validation begins."""

    def end_validation(self) -> None:
        """Its figures are there."""

    def end_epoch(self, train_loss: float, evaluation: Evaluation) -> None:
        """The loop is done with the epoch, whose mean training loss a sample this is."""


class Framework(Protocol):
    """What is asked of a framework in the process that it runs in, whatever it trains there."""

    def facts(self) -> dict[str, Any]:
        """Versions, device and settings as they really are, not as they were asked for."""

    def compiled(self) -> bool:
        """Whether a graph was traced or compiled since this was last asked."""

    def sync(self) -> None:
        """Waits until the device has done all it was given."""

    def report_memory(self, record: Recorder) -> None:
        """Writes the allocator's figures as counters, or what it does not tell as unavailable."""

    def annotate(self, name: str) -> AbstractContextManager[Any]:
        """A named span in the native trace."""

    def window(self, options: ProfilerOptions, folder: Path, *, steps: int) -> NativeProfiler:
        """The native profiler over a window of `steps` steps, writing into `folder`."""


class Workload(Framework, Protocol):
    """A model, its data and its optimizer in one framework, built by the module's `build(spec, device)`.

    Where a process is one of several replicas, `build(spec, device, replica)`: all of them call `warm_up`,
    `train_batches`, `train_step` and `train_loss` alike, and rank 0 alone the rest.
    """

    steps_per_epoch: int

    def facts(self) -> dict[str, Any]:
        """Versions, parameters, device and settings as they really are, not as they were asked for."""

    def describe(self) -> str:
        """The `toolkit.capture.description` of what runs, as JSON; to be asked for before the first step."""

    def warm_up(self, steps: int) -> None:
        """Trains on `steps` batches the way the spec's loop will, waits for the device and forgets the losses."""

    def train_batches(self, epoch: int) -> Iterator[Any]:
        """The `steps_per_epoch` batches of one epoch in the seed's order, through the framework's own pipeline."""

    def to_device(self, batch: Any) -> Any:
        """The batch where the model is."""

    def train_step(self, batch: Any) -> None:
        """Forward, backward, update. Does not wait for the device; adds to the epoch's loss there."""

    def train_loss(self) -> float:
        """Mean loss a sample since last asked."""

    def evaluate(self) -> Evaluation:
        """The validation set in inference mode; returns when it is done."""

    def request(self, batch: int) -> Request:
        """An inference of `batch` samples."""

    def checkpoint(self, path: Path) -> None:
        """Writes model and optimizer state to `path`."""

    def profiler(self, folder: Path) -> NativeProfiler:
        """The native profiler, writing into `folder`."""


@runtime_checkable
class FittingWorkload(Workload, Protocol):
    """A workload whose framework drives the training loop itself; built where the spec's loop is `fit`."""

    def fit(self, hooks: FitHooks) -> None:
        """Trains all epochs, with validation inside, telling `hooks` where it is."""
