"""Runs probes of one matched workload in several frameworks, each in its own environment, and reads what they wrote.

Never imports a framework. PyTorch in float64 is the reference. It runs a second time with its channels first, which
rounds otherwise: how far it is from itself is what rounding alone makes of the workload, step by step.
"""

import dataclasses
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic_ns
from typing import Any, NamedTuple

import psutil

from toolkit.capture import cgroups, venvs
from toolkit.capture.probe import QUANTITIES, STEPS
from toolkit.capture.verdicts import CPU, REFERENCE, ROOT
from toolkit.errors import FAILED, HwprofError
from toolkit.settings import check
from toolkit.spec import ALONE, CHANNELS_FIRST, MATCHED, RANDOM, RunSpec

# A usual step makes chaos out of rounding within ten; a wrong formula shows in small steps as well.
LEARNING_RATE = 1e-5
BATCH = 8
# One thread each: twice as fast on two cores, and sums in an order that does not change.
AT_A_TIME = 2
# What a probe in float64 takes at most, by what the reference's took: for VGG-16 PyTorch's takes 6.4 GB, JAX's as much,
# TensorFlow's 11.1 GB; of a small model the libraries are most, 0.9 GB to 1.6 GB for a ResNet-18.
MOST, LIBRARIES_BYTES = 1.75, 1 << 29
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Told(NamedTuple):
    """What the probe of one framework told in one precision: the object in its probe.json."""

    framework: str
    precision: str
    probe: dict[str, Any]


class Probed(NamedTuple):
    """All probes of a workload and how long they took; `itself` is the reference again, with its channels first."""

    reference: Told
    itself: Told
    others: tuple[Told, ...]
    took_ns: int


class Probes:
    """Probes of one workload, each a process of its own that leaves its record in a folder of `place`.

    `say` is told each as it starts; `sources` holds the package `toolkit` that they run.
    """

    def __init__(self, spec: RunSpec, place: Path, *, say: Callable[[str], None], sources: Path = ROOT) -> None:
        self._spec = spec
        self._place = place
        self._say = say
        self._sources = sources
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def end(self) -> None:
        """Ends those that run, and those that begin after this."""
        self._ended = True
        for process in list(self._running):
            process.kill()

    def reference(self) -> Told:
        """PyTorch's in float64, whose tensors stay for the others; it has to be done before any of them begins."""
        return self._told(REFERENCE, "fp64", None)

    def itself(self) -> Told:
        """The reference once more, with its channels first."""
        return self._told(REFERENCE, "fp64", QUANTITIES[-1], layout=CHANNELS_FIRST)

    def of(self, framework: str, precision: str, *, until: str = QUANTITIES[-1]) -> Told:
        """One of `framework`, held to the reference; no quantity after `until`."""
        return self._told(framework, precision, until)

    def _told(self, framework: str, precision: str, until: str | None, **settings: str) -> Told:
        asked = _spec(self._spec, framework, precision, **settings)
        folder = self._place / "-".join([framework, precision, *settings.values()])
        folder.mkdir()
        (folder / "spec.json").write_text(asked.as_json())
        python = venvs.ensure(framework, CPU, say=self._say).python
        against = [until, self._place / f"{REFERENCE}-fp64"] if until else [QUANTITIES[-1]]
        self._say(f"Probing {folder.name}")
        command = [python, "-m", "toolkit.capture.probe", folder / "spec.json", CPU, folder, *against]
        returncode, last = self._ran(command)
        path = folder / "probe.json"
        told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        if returncode:
            raise HwprofError(
                f"The probe of {framework} {asked.model} in {precision} failed: {told.get('error', last)}",
                remedy=f"`hwprof run --set framework={framework} --set model={asked.model}` shows more.",
                exit_code=FAILED,
            )
        return Told(framework, precision, told)

    def _ran(self, command: Sequence[str | Path]) -> tuple[int, str]:
        """How a probe ended, and its last word."""
        environment = os.environ | THREADS | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(self._sources)}
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                command, env=environment, cwd=self._sources, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            ) as process,
        ):
            self._running.add(process)
            try:
                if self._ended:
                    # It was begun meanwhile: end() may not have seen it.
                    process.kill()
                process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                self._running.discard(process)
            if process.returncode == -signal.SIGKILL:
                return process.returncode, "it was killed, as the kernel does where memory runs out"
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            return process.returncode, (lines or ["it said nothing"])[-1]


def probe_all(
    spec: RunSpec, frameworks: Sequence[str], *, shows: Callable[[Told], str], say: Callable[[str], None]
) -> Probed:
    """Probes of the spec's model in PyTorch and `frameworks`, in float64 and float32, as many at a time as fit.

    `shows` is the last quantity in which float32 shows anything, by what PyTorch's own told: later ones cost the most
    and are left out. `say` is told each probe as it starts. Raises HwprofError where one cannot run.
    """
    for name in dict.fromkeys([REFERENCE, *frameworks]):
        venvs.ensure(name, CPU, say=say)
    began_ns = monotonic_ns()
    with tempfile.TemporaryDirectory(prefix="hwprof-verify-") as place:
        probes = Probes(spec, Path(place), say=say)
        reference = probes.reference()
        at_a_time = fitting(reference.probe["peak_bytes"], free_bytes(), say=say)
        with ThreadPoolExecutor(max_workers=at_a_time) as pool:
            try:
                # What decides how far the rest goes comes first, and of the rest what takes longest.
                single = pool.submit(probes.of, REFERENCE, "fp32")
                double = [pool.submit(probes.of, name, "fp64") for name in reversed(frameworks)]
                itself = pool.submit(probes.itself)
                until = shows(single.result())
                singles = [pool.submit(probes.of, name, "fp32", until=until) for name in reversed(frameworks)]
                others = tuple(each.result() for each in (single, *double, *singles))
                return Probed(reference, itself.result(), others, monotonic_ns() - began_ns)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                probes.end()
                raise


def fitting(reference_bytes: int, free: int, *, say: Callable[[str], None]) -> int:
    """How many probes at a time, the reference's having taken `reference_bytes`; `say` is told where memory decides."""
    most = round(reference_bytes * MOST) + LIBRARIES_BYTES
    at_a_time = min(max(free // most, 1), AT_A_TIME)
    if at_a_time < AT_A_TIME:
        short = "" if free >= most else ": it may run out"
        say(f"One probe at a time: each takes up to {most / 1e9:.1f} GB of memory, {free / 1e9:.1f} are free{short}")
    return at_a_time


def free_bytes() -> int:
    """Memory that the machine can give without swapping, and that this process's control group lets it have."""
    group = cgroups.Group()
    limit, used = group.limits().memory_bytes, group.use().memory_bytes
    machine: int = psutil.virtual_memory().available
    if limit is None or used is None:
        return machine
    return min(machine, max(limit - used + (group.reclaimable_bytes() or 0), 0))


def _spec(spec: RunSpec, framework: str, precision: str, **settings: str) -> RunSpec:
    """One thread each, as two run at a time; synthetic data, whatever the run takes."""
    fixed: dict[str, Any] = {
        "framework": framework, "precision": precision, "mode": MATCHED, "loop": "custom", "compile": "auto",
        "layout": "auto", "dataset": "synthetic", "data_dir": "", "batch": BATCH, "steps": STEPS,
        "learning_rate": LEARNING_RATE, "threads": 1, "loader_workers": 0,
        "weights": RANDOM, "weights_dir": "", "parallel": ALONE, "replicas": 1,
    }  # fmt: skip
    return check(dataclasses.replace(spec, **(fixed | settings)))
