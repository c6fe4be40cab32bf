"""Has workloads described that do not run, each in its framework's own environment. Never imports a framework."""

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolkit.capture import pretrained, venvs
from toolkit.capture.description import FILE
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import RunSpec

ROOT = Path(__file__).parents[2]
CPU = "cpu"


def describe_all(specs: list[RunSpec], folder: Path, *, say: Callable[[str], None]) -> list[Path]:
    """A description file for each spec, in `folder`, made on the processor, two at a time.

    `say` is told each as it starts. Raises HwprofError where one cannot be built.
    """
    specs = [_settled(spec, say) for spec in specs]
    pythons = [venvs.ensure(spec.framework, CPU, say=say).python for spec in specs]

    def described(number: int) -> Path:
        spec, place = specs[number], folder / str(number)
        say(f"Building {spec.model} in {spec.framework}, {spec.mode}")
        place.mkdir()
        return _describe(pythons[number], spec, place)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(described, range(len(specs))))


def _settled(spec: RunSpec, say: Callable[[str], None]) -> RunSpec:
    """With the weights that `auto` comes to here."""
    start = pretrained.prepare(spec, say=say)
    return dataclasses.replace(spec, weights=start.weights, weights_dir=start.folder)


def _describe(python: Path, spec: RunSpec, folder: Path) -> Path:
    (folder / "spec.json").write_text(spec.as_json(), encoding="utf-8")
    command: list[str | Path] = [python, "-m", "toolkit.capture.describe", folder / "spec.json", CPU, folder]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    path = folder / FILE
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        told = json.loads(path.read_text(encoding="utf-8"))["error"] if path.exists() else last
        raise HwprofError(
            f"{spec.model} cannot be built in {spec.framework}: {told}",
            remedy=f"`hwprof run --set framework={spec.framework} --set model={spec.model}` shows more.",
            exit_code=FAILED,
        )
    return path
