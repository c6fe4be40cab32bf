"""Makes a run folder with its raw/: settles device and runtime, then runs each pass under `supervise`.

Says every choice it makes for the caller, and records it in raw/launch.json. Never imports the worker.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from toolkit.capture import containers, datasets, ending, modules, pretrained, runtime, supervise, verdicts
from toolkit.capture import runs as run_folders
from toolkit.capture.containers import DATA_FOLDER, RUN_FOLDER, WEIGHTS_FOLDER
from toolkit.capture.files import is_full
from toolkit.capture.runs import COMPLETE, Outcome
from toolkit.capture.samplers import nvml
from toolkit.capture.workloads import ZOO, ZOO_NAMES, tf32
from toolkit.errors import FAILED, HwprofError
from toolkit.settings import check_device
from toolkit.spec import ALONE, RunSpec

ROOT = Path(__file__).parents[2]
CPU = "cpu"
CUDA = "cuda"
# The spec as the worker reads it, in the run folder.
WORKER_SPEC = Path("raw", "spec.json")

Say = Callable[[str], None]


class Plan(NamedTuple):
    """A spec and what was settled for it; `notes`: every choice that was made for the caller, in a sentence each."""

    wish: runtime.Wish
    start: pretrained.Start
    runtime: runtime.Runtime
    notes: tuple[str, ...]

    @property
    def spec(self) -> RunSpec:
        """What is to run, its dataset's folder as it lies on this machine."""
        return self.wish.spec


def plan(spec: RunSpec, *, runs: Path, say: Say) -> Plan:
    """Settles what `auto` means, makes ready what the worker reads and runs in; HwprofError where it cannot run."""
    check_model(spec)
    presence = nvml.detect()
    device, device_note, gpus = _device(spec, presence)
    if device == CPU:
        tf32.check(spec, None)
    check_device(spec, device)
    gpus = for_replicas(spec, gpus)
    say(device_note)
    run_folders.check_writable(runs)
    start = pretrained.prepare(spec, say=say)
    data_dir = datasets.prepare(spec.dataset, spec.data_dir, say=say)
    spec = dataclasses.replace(spec, data_dir=data_dir, weights_dir=start.folder)
    wish = runtime.Wish(spec, device, presence, gpus, runs)
    settled = runtime.settle(wish, say=say)
    settled = settled._replace(fallbacks=(*settled.fallbacks, *([start.why] if start.why else [])))
    return Plan(wish, start, settled, (device_note, settled.why, *settled.fallbacks))


def create_folder(runs: Path, plan_: Plan) -> Path:
    """A new, empty run folder with what was asked (spec.json) and what was settled (raw/launch.json)."""
    spec = plan_.spec
    return run_folders.create(
        runs,
        (spec.framework, spec.model, plan_.wish.device, spec.task),
        {
            Path(run_folders.SPEC): spec.as_json(),
            WORKER_SPEC: _worker_spec(plan_).as_json(),
            run_folders.LAUNCH: json.dumps(_launch_facts(plan_), indent=1),
        },
    )


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
    try:
        raw.mkdir()
        command = _command(folder, name, plan_)
    except OSError as error:
        return Outcome("failed", f"{raw} cannot be written: {error.strerror}", FAILED)
    # A keeper ends a container that is overdue by itself, and may wait for the engine meanwhile.
    patience_s = supervise.OVERDUE_S if plan_.runtime.worker else 4 * supervise.OVERDUE_S
    # Its standard input is our hand on it: should this process die, the other end sees it close and ends the worker.
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, env=_environment(plan_), cwd=folder, start_new_session=True
        ) as process,
        ending.interruptible(*ending.ALL),
    ):
        try:
            process.wait(plan_.spec.timeout_s + patience_s)
        except subprocess.TimeoutExpired:
            _kill_tree(process)
            return Outcome(**supervise.overdue(plan_.spec.timeout_s))
        except KeyboardInterrupt:
            process.terminate()
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                _kill_tree(process)
            return Outcome(**supervise.stopped())
    return _outcome(raw, process.returncode)


def _command(folder: Path, name: str, plan_: Plan) -> list[str | Path]:
    """Starts `supervise`: itself in a local environment, or a keeper with a container around it."""
    inside = modules.words("toolkit.capture.supervise")
    container = plan_.runtime.container
    if plan_.runtime.worker:
        arguments = [str(folder / WORKER_SPEC), name, plan_.wish.device, str(folder / "raw" / name)]
        return [plan_.runtime.worker.python, *inside, *arguments]
    if container is None:
        raise AssertionError("a runtime is a worker's environment or a container")
    arguments = [str(RUN_FOLDER / WORKER_SPEC), name, plan_.wish.device, str(RUN_FOLDER / "raw" / name)]
    called, place = f"hwprof-{folder.name}-{name}", folder / "raw" / name
    return [*containers.keep(container, name=called, folder=folder, inside=[*inside, *arguments], place=place)]


def _kill_tree(process: "subprocess.Popen[bytes]") -> None:
    """Ends what no longer ends by itself, with everything that it started in sessions of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        for each in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


def _outcome(raw: Path, returncode: int) -> Outcome:
    path = raw / "outcome.json"
    if not path.exists():
        said = f"the supervisor ended with code {returncode} and said nothing"
        return Outcome("failed", f"no space left in {raw}" if is_full(raw) else said, FAILED)
    return Outcome(**json.loads(path.read_text()))


def check_model(spec: RunSpec) -> None:
    """Raises HwprofError where the spec's framework has not the spec's model, naming those that have it."""
    zoo = ZOO[spec.framework]
    # Matched models are torchvision's, in every framework.
    if spec.model in (ZOO["torch"] if spec.matched else zoo):
        return
    others = [framework for framework in ZOO if spec.model in ZOO[framework]]
    elsewhere = f"mode=matched or framework={' or '.join(others)}, or " if others else ""
    raise HwprofError(
        f"{ZOO_NAMES[spec.framework]} has no {spec.model}.",
        remedy=f"Use {elsewhere}one of its own: {', '.join(zoo)}.",
    )


def for_replicas(spec: RunSpec, gpus: tuple[nvml.Gpu, ...]) -> tuple[nvml.Gpu, ...]:
    """As many as there are replicas, or all where one trains alone; HwprofError where there are fewer."""
    if spec.parallel == ALONE or not gpus:
        return gpus
    if len(gpus) < spec.replicas:
        raise HwprofError(
            f"replicas={spec.replicas} need a GPU each, and there are {len(gpus)}.",
            remedy="Give as many replicas as GPUs, or device=cpu.",
        )
    return gpus[: spec.replicas]


def _device(spec: RunSpec, presence: nvml.Presence) -> tuple[str, str, tuple[nvml.Gpu, ...]]:
    if spec.device == CPU:
        return CPU, "Device cpu, as asked.", ()
    presence = nvml.visible(presence, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if presence.gpus:
        return CUDA, f"Device cuda: {presence.gpus[0].name}, driver {presence.driver}.", presence.gpus
    if spec.device == CUDA:
        raise HwprofError(f"device=cuda, but there is no GPU: {presence.reason}.", remedy="Use device=cpu or auto.")
    return CPU, f"Device cpu (auto: no GPU: {presence.reason}).", ()


def _environment(plan_: Plan) -> dict[str, str]:
    """Of the process that is started here: for a container the engine's client needs the caller's, the worker none."""
    ours = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    settings = runtime.variables(plan_.spec, plan_.wish.device) if plan_.runtime.worker else {}
    return os.environ | settings | ours


def _worker_spec(plan_: Plan) -> RunSpec:
    """The spec with its paths as the worker sees them."""
    spec = dataclasses.replace(plan_.spec, weights=plan_.start.weights)
    if plan_.runtime.container is None:
        return spec
    return dataclasses.replace(
        spec,
        data_dir=str(DATA_FOLDER) if spec.data_dir else "",
        weights_dir=str(WEIGHTS_FOLDER) if spec.weights_dir else "",
    )


def _launch_facts(plan_: Plan) -> dict[str, Any]:
    wish = plan_.wish
    return {
        **run_folders.launch_facts(plan_.spec.device, wish.device, wish.presence, wish.gpus),
        "runtime": runtime.record(plan_.runtime, wish),
        "weights": {
            "asked": plan_.spec.weights,
            "used": plan_.start.weights,
            "file": plan_.start.file._asdict() if plan_.start.file else None,
            "why": plan_.start.why,
        },
        "matched": verdicts.record(plan_.spec, plan_.runtime.lock),
        "inside": plan_.runtime.inside,
        "notes": plan_.notes,
    }
