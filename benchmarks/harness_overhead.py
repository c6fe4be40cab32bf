"""What the harness costs: its unprofiled pass, samplers running, against a bare loop of the same framework.

Fresh processes in random interleaved order; each gives the median of its steps; the ratio is of the medians over
processes, with an interval. Run from the repository's root after `make profile` has made the environments:

    .venv/toolkit/bin/python -m benchmarks.harness_overhead --framework torch --model resnet50 --rounds 5
"""

import json
import math
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import click

from benchmarks import ratios
from benchmarks.ratios import Steps
from toolkit.analyses import runner
from toolkit.capture import venvs
from toolkit.ingest import records
from toolkit.ingest.store import StoreWriter, connect
from toolkit.settings import resolve

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@click.command
@click.option("--framework", type=click.Choice(["torch", "tf"]), default="torch", show_default=True)
@click.option("--model", default="resnet50", show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--steps", default=40, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Processes of each kind.")
def main(framework: str, model: str, batch: int, steps: int, rounds: int) -> None:
    """Print the ratio of median step times, harness over bare loop."""
    python = venvs.ensure(framework, "cpu", say=click.echo).python
    asked = (python, framework, model, batch, steps)
    measured = ratios.interleaved({"harness": partial(_harness, *asked), "bare": partial(_bare, *asked)}, rounds)
    for line in ratios.said(measured):
        click.echo(f"{framework} {model} batch {batch}: {line}")


def _bare(python: Path, framework: str, model: str, batch: int, steps: int) -> Steps:
    """Steps of the hand-written loop."""
    script = ROOT / "benchmarks" / f"bare_{framework}.py"
    command: list[str | Path] = [python, script, model, str(batch), str(steps)]
    printed = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
    times_ms = sorted(time_ns / 1e6 for time_ns in json.loads(printed.splitlines()[-1]))
    # discrete quantiles, as the analysis of the harness's marks takes them
    return Steps(*(times_ms[math.ceil(part * len(times_ms)) - 1] for part in (0.5, 0.1)))


def _harness(python: Path, framework: str, model: str, batch: int, steps: int) -> Steps:
    """Steps of one time pass as `hwprof run` starts it, with its samplers, from its marks."""
    settings = {
        "framework": framework, "model": model, "batch": batch, "steps": steps, "epochs": 1, "loop": "custom",
        "infer_repeats": 0, "validation_steps": 1, "threads": 1, "device": "cpu", "mode": "as-shipped",
    }  # fmt: skip
    spec = resolve(None, [f"{name}={value}" for name, value in settings.items()], profiles=ROOT / "profiles")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.json").write_text(spec.as_json())
        command: list[str | Path] = [
            python,
            "-m",
            "toolkit.capture.supervise",
            folder / "spec.json",
            "time",
            "cpu",
            folder,
        ]
        with subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE) as process:
            process.wait()
        with StoreWriter(folder) as store:
            records.read(folder / "worker.jsonl", pass_name="time", store=store)
        with connect(folder) as connection:
            row = runner.run(connection, "step_times")[0]
        return Steps(row["median_ns"] / 1e6, row["p10_ns"] / 1e6)


if __name__ == "__main__":
    main()
