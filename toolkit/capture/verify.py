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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic_ns
from typing import Any, NamedTuple

from toolkit.capture import venvs
from toolkit.capture.probe import STEPS
from toolkit.capture.verdicts import CPU, REFERENCE, ROOT
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import CHANNELS_FIRST, MATCHED, RunSpec, check

PRECISIONS = ("fp64", "fp32")
# A usual step makes chaos out of rounding within ten; a wrong formula shows in small steps as well.
LEARNING_RATE = 1e-5
BATCH = 8


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


def probe_all(spec: RunSpec, frameworks: Sequence[str], *, say: Callable[[str], None], sources: Path = ROOT) -> Probed:
    """Probes of the spec's model in PyTorch and `frameworks`, in float64 and float32, two at a time.

    `say` is told each as it starts; `sources` holds the package `toolkit` that they run. Raises HwprofError where one
    cannot run.
    """
    pythons = {name: venvs.ensure(name, CPU, say=say).python for name in dict.fromkeys([REFERENCE, *frameworks])}
    began_ns = monotonic_ns()
    with tempfile.TemporaryDirectory(prefix="hwprof-verify-") as place:

        def told(framework: str, precision: str, *against: Path, **settings: str) -> Told:
            asked = _spec(spec, framework, precision, **settings)
            folder = Path(place) / "-".join([framework, precision, *settings.values()])
            say(f"Probing {folder.name}")
            return Told(framework, precision, _run(pythons[framework], asked, folder, against, sources))

        reference = told(REFERENCE, "fp64")
        against = Path(place) / f"{REFERENCE}-fp64"
        asked = [(name, precision) for name in pythons for precision in PRECISIONS][1:]
        with ThreadPoolExecutor(max_workers=2) as pool:
            itself = pool.submit(told, REFERENCE, "fp64", against, layout=CHANNELS_FIRST)
            others = tuple(pool.map(lambda pair: told(*pair, against), asked))
            return Probed(reference, itself.result(), others, monotonic_ns() - began_ns)


def _spec(spec: RunSpec, framework: str, precision: str, **settings: str) -> RunSpec:
    """One thread each, as two run at a time; synthetic data, whatever the run takes."""
    fixed: dict[str, Any] = {
        "framework": framework, "precision": precision, "mode": MATCHED, "loop": "custom", "compile": "auto",
        "layout": "auto", "dataset": "synthetic", "data_dir": "", "batch": BATCH, "steps": STEPS,
        "learning_rate": LEARNING_RATE, "threads": 1, "loader_workers": 0,
    }  # fmt: skip
    return check(dataclasses.replace(spec, **(fixed | settings)))


def _run(python: Path, spec: RunSpec, folder: Path, against: Sequence[Path], sources: Path) -> dict[str, Any]:
    folder.mkdir()
    (folder / "spec.json").write_text(spec.as_json())
    command: list[str | Path] = [python, "-m", "toolkit.capture.probe", folder / "spec.json", CPU, folder, *against]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(sources)}
    done = subprocess.run(command, env=os.environ | threads, cwd=sources, capture_output=True, text=True, check=False)
    path = folder / "probe.json"
    told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise HwprofError(
            f"The probe of {spec.framework} {spec.model} in {spec.precision} failed: {told.get('error', last)}",
            remedy=f"`hwprof run --set framework={spec.framework} --set model={spec.model}` shows more.",
            exit_code=FAILED,
        )
    return told
