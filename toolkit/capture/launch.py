"""Makes a run folder with its raw/: settles device, runtime and environment, then runs each pass under `supervise`.

Says every choice it makes for the caller, and records it in raw/launch.json. Never imports the worker.
"""

import dataclasses
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from toolkit import __version__
from toolkit.capture import datasets, venvs
from toolkit.capture.files import write_whole
from toolkit.capture.samplers import nvml
from toolkit.capture.workloads import ZOO, ZOO_NAMES
from toolkit.errors import FAILED, INTERRUPTED, HwprofError
from toolkit.spec import RunSpec

ROOT = Path(__file__).parents[2]
CPU = "cpu"
CUDA = "cuda"
# Where less than this is free, a record that is missing could not be written.
LEAST_FREE_BYTES = 1 << 16

Say = Callable[[str], None]


class Outcome(NamedTuple):
    """How a pass, or a run, ended: complete, failed, killed, out_of_memory, timed_out or interrupted, and why."""

    status: str
    reason: str | None
    exit_code: int


COMPLETE = Outcome("complete", None, 0)


class Plan(NamedTuple):
    """A spec and what was settled for it."""

    spec: RunSpec
    device: str
    worker: venvs.Worker
    presence: nvml.Presence
    notes: tuple[str, ...]


def plan(spec: RunSpec, *, runs: Path, say: Say) -> Plan:
    """Settles what `auto` means here, makes dataset and environment ready; HwprofError where it cannot run."""
    _check_model(spec)
    presence = nvml.detect()
    device, device_note = _device(spec, presence)
    runtime_note = f"Runtime local{' (auto: containers are not built in yet)' if spec.runtime == 'auto' else ''}."
    for note in (device_note, runtime_note):
        say(note)
    check_writable(runs)
    data_dir = datasets.prepare(spec.dataset, spec.data_dir, say=say)
    worker = venvs.ensure(spec.framework, device, say=say)
    notes = (device_note, runtime_note, *([worker.fallback] if worker.fallback else []))
    return Plan(dataclasses.replace(spec, data_dir=data_dir), device, worker, presence, notes)


def create_folder(runs: Path, plan_: Plan) -> Path:
    """A new, empty run folder with what was asked (spec.json) and what was settled (raw/launch.json)."""
    spec = plan_.spec
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{spec.framework}-{spec.model}-{plan_.device}-{spec.task}-{secrets.token_hex(2)}"
    # The passes run elsewhere, so a relative path would not do.
    folder = (runs / name).absolute()
    try:
        (folder / "raw").mkdir(parents=True)
        write_whole(folder / "spec.json", spec.as_json())
        write_whole(folder / "raw" / "launch.json", json.dumps(_launch_facts(plan_), indent=1))
    except OSError as error:
        raise _unwritable(runs, error.strerror) from error
    return folder


def run_passes(folder: Path, plan_: Plan, *, say: Say) -> Outcome:
    """Runs each pass in a fresh process; the first that does not end well is the last. What it recorded stays."""
    for name in plan_.spec.passes:
        say(f"Running the {name} pass ({'unprofiled' if name == 'time' else 'under the native profiler'})")
        outcome = _run_pass(folder, name, plan_)
        if outcome != COMPLETE:
            return outcome._replace(reason=f"{name} pass: {outcome.reason}")
    return COMPLETE


def _run_pass(folder: Path, name: str, plan_: Plan) -> Outcome:
    raw = folder / "raw" / name
    raw.mkdir()
    command: list[str | Path] = [plan_.worker.python, "-m", "toolkit.capture.supervise"]
    command += [folder / "spec.json", name, plan_.device, raw]
    # Its standard input is our hand on it: should this process die, the supervisor sees it close and ends the worker.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, env=_environment(plan_), cwd=folder, start_new_session=True
    )  # fmt: skip
    interrupted = False
    with _interruptible():
        try:
            process.wait()
        except KeyboardInterrupt:
            interrupted = True
            process.terminate()
            process.wait()
    if interrupted:
        return Outcome("interrupted", "stopped on request", INTERRUPTED)
    return _outcome(raw, process.returncode)


def _outcome(raw: Path, returncode: int) -> Outcome:
    path = raw / "outcome.json"
    if not path.exists():
        full = shutil.disk_usage(raw).free < LEAST_FREE_BYTES
        reason = f"no space left in {raw}" if full else f"the supervisor ended with code {returncode} and said nothing"
        return Outcome("failed", reason, FAILED)
    return Outcome(**json.loads(path.read_text()))


class _interruptible:  # noqa: N801 - used as a statement
    """Inside, SIGTERM is a Ctrl-C; a second one of either is ignored, so that what was recorded gets written."""

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in self._before:
            signal.signal(number, self._interrupt)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        for each in self._before:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt


def check_writable(runs: Path) -> Path:
    """The nearest folder of `runs` that is there already; HwprofError where it takes no new ones."""
    nearest = next(place for place in (runs.absolute(), *runs.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise _unwritable(runs, f"{nearest} is no folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _unwritable(runs, f"no permission to write in {nearest}")
    return nearest


def _unwritable(runs: Path, reason: str | None) -> HwprofError:
    return HwprofError(f"The folder of runs {runs} cannot be written: {reason}.", remedy="Give another with --runs.")


def _check_model(spec: RunSpec) -> None:
    zoo = ZOO[spec.framework]
    # Matched models are torchvision's, in every framework.
    if spec.model in (ZOO["torch"] if spec.matched else zoo):
        return
    others = [framework for framework in ZOO if spec.model in ZOO[framework]]
    raise HwprofError(
        f"{ZOO_NAMES[spec.framework]} has no {spec.model}.",
        remedy=f"Use mode=matched or framework={' or '.join(others)}, or one of its own: {', '.join(zoo)}.",
    )


def _device(spec: RunSpec, presence: nvml.Presence) -> tuple[str, str]:
    if spec.device == CPU:
        return CPU, "Device cpu, as asked."
    presence = visible(presence, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if presence.gpus:
        return CUDA, f"Device cuda: {presence.gpus[0].name}, driver {presence.driver}."
    if spec.device == CUDA:
        raise HwprofError(f"device=cuda, but there is no GPU: {presence.reason}.", remedy="Use device=cpu or auto.")
    return CPU, f"Device cpu (auto: no GPU: {presence.reason})."


def visible(presence: nvml.Presence, variable: str | None) -> nvml.Presence:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, in its order: numbers or UUIDs; the first that fits none ends it."""
    if variable is None:
        return presence
    found = []
    for name in map(str.strip, variable.split(",")):
        fitting = [
            gpu for gpu in presence.gpus if name.strip() and (gpu.uuid.startswith(name) or str(gpu.number) == name)
        ]
        if not fitting:
            break
        found.append(fitting[0])
    reason = presence.reason or f"CUDA_VISIBLE_DEVICES={variable!r} hides them"
    return presence._replace(gpus=tuple(found), reason=None if found else reason)


def _environment(plan_: Plan) -> dict[str, str]:
    """The caller's environment, our sources importable, as many threads as asked, and the device that was settled.

    GPUs are numbered as NVML numbers them; on device=cpu they are hidden, for Keras compiles by XLA where it sees one.
    """
    spec = plan_.spec
    gpus = {"CUDA_VISIBLE_DEVICES": "-1"} if plan_.device == CPU else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    threads = {"OMP_NUM_THREADS": str(spec.threads), "MKL_NUM_THREADS": str(spec.threads)} if spec.threads else {}
    return os.environ | gpus | threads | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def _launch_facts(plan_: Plan) -> dict[str, Any]:
    return {
        "hwprof": __version__,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "runtime": "local",
        "device_asked": plan_.spec.device,
        "device": plan_.device,
        "variant": plan_.worker.variant,
        "lock": plan_.worker.lock.name,
        "lock_sha256": plan_.worker.lock_sha256,
        "fallback": plan_.worker.fallback,
        "notes": plan_.notes,
        "gpus": [gpu._asdict() for gpu in plan_.presence.gpus],
        "driver": plan_.presence.driver,
        "host": platform.node(),
    }
