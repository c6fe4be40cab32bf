"""Runs probes of one matched workload in several frameworks, each in its own environment, and reads what they wrote.

Never imports a framework. PyTorch in float64 is the reference. It runs a second time with its channels first, which
rounds otherwise: how far it is from itself is what rounding alone makes of the workload, step by step.
"""

import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic_ns
from typing import Any, NamedTuple

from toolkit.capture import venvs
from toolkit.capture.probe import QUANTITIES, STEPS
from toolkit.capture.verdicts import CPU, REFERENCE, ROOT
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import CHANNELS_FIRST, MATCHED, RunSpec, check

# A usual step makes chaos out of rounding within ten; a wrong formula shows in small steps as well.
LEARNING_RATE = 1e-5
BATCH = 8
# One thread each: twice as fast on two cores, and sums in an order that does not change.
AT_A_TIME = 2
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

    def end(self) -> None:
        """Ends those that run."""
        for process in list(self._running):
            process.kill()

    def reference(self) -> Told:
        """PyTorch's in float64, whose tensors stay for the others."""
        return self._told(REFERENCE, "fp64", None, None)

    def itself(self, reference: "Future[Told]") -> Told:
        """The reference once more, with its channels first."""
        return self._told(REFERENCE, "fp64", reference, None, layout=CHANNELS_FIRST)

    def of(self, framework: str, precision: str, reference: "Future[Told]", *, until: str | None = None) -> Told:
        """One of `framework`, held to the reference once that is done; no quantity after `until`."""
        return self._told(framework, precision, reference, until)

    def _told(
        self, framework: str, precision: str, reference: "Future[Told] | None", until: str | None, **settings: str
    ) -> Told:
        asked = _spec(self._spec, framework, precision, **settings)
        folder = self._place / "-".join([framework, precision, *settings.values()])
        folder.mkdir()
        (folder / "spec.json").write_text(asked.as_json())
        python = venvs.ensure(framework, CPU, say=self._say).python
        against = [self._place / f"{REFERENCE}-fp64"] if reference else []
        arguments: list[str | Path] = [folder / "spec.json", CPU, folder, until or QUANTITIES[-1], *against]
        self._say(f"Probing {folder.name}")
        returncode, last = self._ran([python, "-m", "toolkit.capture.probe", *arguments], reference)
        path = folder / "probe.json"
        told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        if returncode:
            raise HwprofError(
                f"The probe of {framework} {asked.model} in {precision} failed: {told.get('error', last)}",
                remedy=f"`hwprof run --set framework={framework} --set model={asked.model}` shows more.",
                exit_code=FAILED,
            )
        return Told(framework, precision, told)

    def _ran(self, command: Sequence[str | Path], reference: "Future[Told] | None") -> tuple[int, str]:
        """How a probe ended, and its last word. It starts at once, and compares when the reference is there."""
        environment = os.environ | THREADS | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(self._sources)}
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                command, env=environment, cwd=self._sources, stdin=subprocess.PIPE, stdout=said, stderr=said
            ) as process,
        ):
            self._running.add(process)
            try:
                if reference:
                    reference.result()
                # which closes its standard input
                process.communicate()
            except BaseException:
                process.kill()
                raise
            finally:
                self._running.discard(process)
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            return process.returncode, (lines or ["it said nothing"])[-1]


def probe_all(
    spec: RunSpec, frameworks: Sequence[str], *, shows: Callable[[Told], str], say: Callable[[str], None]
) -> Probed:
    """Probes of the spec's model in PyTorch and `frameworks`, in float64 and float32, two at a time.

    `shows` is the last quantity in which float32 shows anything, by what PyTorch's own told: later ones cost the most
    and are left out. `say` is told each probe as it starts. Raises HwprofError where one cannot run.
    """
    for name in dict.fromkeys([REFERENCE, *frameworks]):
        venvs.ensure(name, CPU, say=say)
    began_ns = monotonic_ns()
    with (
        tempfile.TemporaryDirectory(prefix="hwprof-verify-") as place,
        ThreadPoolExecutor(max_workers=AT_A_TIME) as pool,
    ):
        probes = Probes(spec, Path(place), say=say)
        try:
            reference = pool.submit(probes.reference)
            # What the rest waits for comes first, and of the rest what takes longest.
            single = pool.submit(probes.of, REFERENCE, "fp32", reference)
            double = [pool.submit(probes.of, name, "fp64", reference) for name in reversed(frameworks)]
            itself = pool.submit(probes.itself, reference)
            until = shows(single.result())
            singles = [pool.submit(probes.of, name, "fp32", reference, until=until) for name in reversed(frameworks)]
            others = tuple(each.result() for each in (single, *double, *singles))
            return Probed(reference.result(), itself.result(), others, monotonic_ns() - began_ns)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            probes.end()
            raise


def _spec(spec: RunSpec, framework: str, precision: str, **settings: str) -> RunSpec:
    """One thread each, as two run at a time; synthetic data, whatever the run takes."""
    fixed: dict[str, Any] = {
        "framework": framework, "precision": precision, "mode": MATCHED, "loop": "custom", "compile": "auto",
        "layout": "auto", "dataset": "synthetic", "data_dir": "", "batch": BATCH, "steps": STEPS,
        "learning_rate": LEARNING_RATE, "threads": 1, "loader_workers": 0,
    }  # fmt: skip
    return check(dataclasses.replace(spec, **(fixed | settings)))
