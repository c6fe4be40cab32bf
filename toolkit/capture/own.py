"""`toolkit.profile`: a run of a training loop that a person wrote, in the process that it runs in.

What a launcher, a supervisor and a worker leave of a run, this leaves of a `with` block. It imports nothing that a
worker may not.
"""

import importlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypedDict, TypeVar, Unpack

from toolkit.capture import beside, environment, own_report
from toolkit.capture import runs as run_folders
from toolkit.capture.beside import Sampled
from toolkit.capture.files import write_whole
from toolkit.capture.memory_errors import line, out_of_memory
from toolkit.capture.own_loop import OwnLoop
from toolkit.capture.own_signals import Terminated, ended_by_signal
from toolkit.capture.own_window import OwnWindow
from toolkit.capture.record import Recorder
from toolkit.capture.samplers import nvml, pyspy
from toolkit.capture.venvs import ROOT
from toolkit.capture.workload import Framework
from toolkit.capture.workloads import IMPORTED, KERAS_CALLBACK, PROCESSES
from toolkit.errors import FAILED, INTERRUPTED, HwprofError, complain
from toolkit.own_spec import LOOP, OwnSpec, Setting
from toolkit.settings import known
from toolkit.spec import DEVICES, FRAMEWORKS_SPELT, SAMPLERS

T = TypeVar("T")
GIVE_ANOTHER = "Give another folder: profile(…, runs=…)."
# Of a name, what may stand in that of a folder.
UNFIT = re.compile(r"[^A-Za-z0-9._]+")
LONGEST = 40
LEAST = {"batch": 1, "profile_from": 1, "profile_steps": 0, "sample_hz": 1}
DETECTED = "auto"


class Options(TypedDict, total=False):
    """What is to be recorded, and what you tell of it: `OwnSpec` and docs/your-own-loop.md say what each is."""

    batch: int | None
    settings: Mapping[str, Setting]
    profile_from: int
    profile_steps: int
    profile_memory: bool
    profile_shapes: bool
    profile_stacks: bool
    samplers: tuple[str, ...]
    sample_hz: int
    pyspy: bool


def profile(
    model: str,
    framework: str | None = None,
    *,
    runs: str | Path = "runs",
    device: str = DETECTED,
    report: bool = True,
    **options: Unpack[Options],
) -> "Run":
    """A run of your own training loop, called `model`: a context manager around it.

        with profile("my model") as run:
            for epoch in run.epochs(3):
                for batch in run.steps(loader):
                    ...

    `framework` is torch, tf or jax; by default the one that is imported. `device` is cpu or cuda; by default where the
    framework computes if nothing else is said. Raises HwprofError for what cannot be.
    """
    for name in options:
        known(name, Options.__annotations__, "option of profile()")
    framework = framework or _imported()
    process, device = _process(framework, device)
    spec = OwnSpec(framework=framework, model=_called(model), device=device, **options)
    return Run(_checked(spec), process, Path(runs), report=report)


class Run:
    """One run, while its `with` block lasts. `folder` is where it is recorded."""

    _open: ClassVar["Run | None"] = None
    folder: Path
    _loop: OwnLoop
    _window: OwnWindow
    _record: Recorder

    def __init__(self, spec: OwnSpec, framework: Framework, where: Path, *, report: bool) -> None:
        self._spec, self._framework, self._where, self._report = spec, framework, where, report
        self._stack = ExitStack()
        self._pid = os.getpid()
        self._failure: str | None = None
        self._callback: Any = None

    def epochs(self, count: int) -> Iterator[int]:
        """Numbers of `count` epochs, from 1; each is marked while the loop's body runs."""
        self._check_open()
        return self._loop.epochs(count)

    def steps(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches of an epoch: the wait for each, and what the loop's body does with it, are a training step."""
        self._check_open()
        return self._loop.steps(batches)

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A part of the loop's time: `validation`, `checkpoint`, `host_to_device`, or what you call it."""
        self._check_open()
        return self._loop.phase(name)

    def log(self, **values: Any) -> None:
        """Records numbers of the epoch, such as `loss=`. Reading them waits for the device, as `.item()` does."""
        self._check_open()
        for name, value in values.items():
            try:
                # PyTorch warns of float() where a tensor has a gradient
                number = float(value.item() if hasattr(value, "item") else value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise HwprofError(f"{name}={value!r} is no number.", remedy="Log single numbers.") from error
            self._record.scalar(name, number, epoch=self._loop.epoch)

    def callback(self) -> Any:
        """A callback for Keras's `fit`, which marks its epochs, steps and validation, and logs its figures.

        There is one in a run: it notices by the next `fit` that the one before raised.
        """
        self._check_open()
        if self._callback is None:
            module = importlib.import_module(KERAS_CALLBACK)
            self._callback = module.marking(self._record, self._framework, self._window, self._loop)
            # A `fit` that raises tells its callbacks nothing.
            self._stack.callback(self._callback.let_go)
        return self._callback

    def __enter__(self) -> Self:
        if Run._open is not None:
            raise HwprofError(
                f"This process is being profiled already, into {Run._open.folder}.",
                remedy="One at a time: end its `with` block before the next.",
            )
        run_folders.check_writable(self._where, remedy=GIVE_ANOTHER)
        with ExitStack() as stack:
            self._begin(stack)
            Run._open = self
            stack.callback(setattr, Run, "_open", None)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if os.getpid() != self._pid:
            # a child that the script forked inside: the run is its parent's
            return
        if isinstance(error, SystemExit) and not error.code:
            # a script that is done, whichever way it says so
            kind = error = at = None
        self._stack.__exit__(kind, error, at)
        status = run_folders.status_of(self.folder)
        if status["status"] != "complete":
            complain(
                f"run {self.folder.name} {status['status']}: {status['reason']}. What it recorded is kept in"
                f" {self.folder}, and `hwprof show` reads it."
            )
        elif self._report:
            own_report.show(self.folder)

    def _check_open(self) -> None:
        if Run._open is not self:
            raise HwprofError("The run is not open.", remedy="Use it inside `with profile(…) as run:`.")

    def _begin(self, stack: ExitStack) -> None:
        """Makes the folder and starts what is to end in the reverse order, whatever happens."""
        self.folder = self._made()
        raw = self.folder / "raw" / LOOP
        stack.push(self._close)
        stack.enter_context(ended_by_signal())
        spec = self._spec
        if spec.pyspy:
            pyspy.let_others_read()
        log = stack.enter_context((raw / "samplers.log").open("wb"))
        sampled = Sampled(spec.samplers, spec.sample_hz, spec.device, pyspy=spec.pyspy)
        path = {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
        samplers = beside.start(raw, sampled, log, environment=os.environ | path, place=raw)
        stack.callback(beside.end, samplers)
        self._record = Recorder(raw / "worker.jsonl", failed=self._record_failed)
        stack.callback(self._check_record)
        stack.enter_context(self._record)
        beside.tell(samplers, os.getpid())
        stack.enter_context(self._record.mark("run", LOOP))
        self._window = OwnWindow(spec, self._framework, self._record, raw / "trace")
        self._loop = OwnLoop(self._record, self._framework, self._window)
        self._mark_for_pyspy()
        stack.push(self._finish)

    def _made(self) -> Path:
        spec, presence = self._spec, nvml.detect()
        used = nvml.visible(presence, os.environ.get("CUDA_VISIBLE_DEVICES")).gpus if spec.device == "cuda" else ()
        launched = run_folders.launch_facts(spec.device, spec.device, presence, used)
        launched |= {"runtime": None, "matched": None, "inside": None, "notes": []}
        files = {
            Path(run_folders.SPEC): spec.as_json(),
            run_folders.LAUNCH: json.dumps(launched, indent=1),
            Path("raw", LOOP, "facts.json"): json.dumps(self._framework.facts() | environment.facts(), indent=1),
        }
        parts = (spec.framework, UNFIT.sub("_", spec.model)[:LONGEST], spec.device, spec.task)
        return run_folders.create(self._where, parts, files, remedy=GIVE_ANOTHER)

    def _finish(self, kind: Any, error: BaseException | None, at: Any) -> None:
        """Ends what is open: as a whole loop does, or as one that was cut off."""
        if error is not None:
            self._loop.cut()
            self._window.stop()
            return
        self._loop.finish()
        self._window.stop()
        self._window.finish()
        self._failure = self._window.failure
        if self._spec.framework == "tf" and self._loop.stepped:
            reason = "TensorFlow does not tell when it traces a loop's own functions: such steps are among the others"
            self._record.unavailable("tf", None, "compile", reason)
        self._mark_for_pyspy()

    def _close(self, kind: Any, error: BaseException | None, at: Any) -> None:
        """The run's last act."""
        outcome = _outcome(error)
        if error is None and self._failure is not None:
            outcome = {"status": "failed", "reason": self._failure, "exit_code": FAILED}
        # On a full disk the run stays `incomplete`, as its folder shows.
        with suppress(OSError):
            write_whole(self.folder / "raw" / LOOP / "outcome.json", json.dumps(outcome))
            run_folders.close(self.folder, **outcome)

    def _mark_for_pyspy(self) -> None:
        if self._spec.pyspy:
            with self._record.mark("sync", "pyspy"):
                pyspy.hwprof_pyspy_marker()

    def _check_record(self) -> None:
        """After its last line."""
        if self._record.failure is not None:
            self._failure = f"its record cannot be written: {self._record.failure.strerror}"

    def _record_failed(self) -> None:
        reason = self._record.failure and self._record.failure.strerror
        complain(f"the run's record cannot be written: {reason}. The loop goes on, and is recorded no further.")


def _outcome(error: BaseException | None) -> dict[str, Any]:
    """How a run ended whose loop ended so."""
    if error is None:
        return {"status": "complete", "reason": None, "exit_code": 0}
    if isinstance(error, KeyboardInterrupt | Terminated):
        return {"status": "interrupted", "reason": "stopped by a signal", "exit_code": INTERRUPTED}
    status = "out_of_memory" if out_of_memory(error) else "failed"
    return {"status": status, "reason": line(error), "exit_code": FAILED}


def _imported() -> str:
    """The framework that the script has imported. Raises HwprofError where it is none, or several are."""
    found = [name for name, module in IMPORTED.items() if module in sys.modules]
    if len(found) == 1:
        return found[0]
    what = f"{' and '.join(FRAMEWORKS_SPELT[name] for name in found)} are" if found else "No framework is"
    raise HwprofError(f"{what} imported.", remedy="Say which runs the loop: framework=torch, tf or jax.")


def _process(framework: str, device: str) -> tuple[Framework, str]:
    """The framework in this process, and the device that it computes on."""
    known(framework, PROCESSES, "framework")
    known(device, DEVICES, "device")
    try:
        module = importlib.import_module(PROCESSES[framework])
    except ImportError as error:
        raise HwprofError(
            f"{FRAMEWORKS_SPELT[framework]} cannot be imported here: {error}.",
            remedy="Run the script where it is installed, or name another framework.",
        ) from error
    device = module.device() if device == DETECTED else device
    return module.Process(device), device


def _called(model: str) -> str:
    if not isinstance(model, str) or not model.strip():
        raise HwprofError(f"{model!r} is no name for a model.", remedy="Give some words: profile('my model').")
    return model


def _checked(spec: OwnSpec) -> OwnSpec:
    """The spec, if every value is possible. Raises HwprofError."""
    for name, least in LEAST.items():
        value = getattr(spec, name)
        if value is not None and (not isinstance(value, int) or value < least):
            raise HwprofError(f"{name}={value!r} is out of range.", remedy=f"It is a whole number from {least} on.")
    for sampler in spec.samplers:
        known(sampler, SAMPLERS, "sampler")
    if spec.pyspy and "host" not in spec.samplers:
        raise HwprofError("pyspy=True needs the host's sampler, which starts it.", remedy="Leave samplers out.")
    for name, value in spec.settings.items():
        if not isinstance(value, Setting):
            raise HwprofError(
                f"settings: {name}={value!r} is no setting.", remedy="Give text, numbers, or true and false."
            )
    return spec
