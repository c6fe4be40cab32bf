"""What the harness costs: its unprofiled pass, samplers running, against a bare loop of the same framework.

Fresh processes in random interleaved order; each gives the median of its steps; the ratio is of the medians over
processes, with a bootstrap interval. Run from the repository's root after `make profile` has made the environments:

    .venv/toolkit/bin/python -m benchmarks.harness_overhead --framework torch --model resnet50 --rounds 5
"""

import json
import os
import statistics
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import click

from benchmarks import ratios
from toolkit.analyses import runner
from toolkit.capture import venvs
from toolkit.ingest import records
from toolkit.ingest.store import StoreWriter, connect
from toolkit.spec import resolve

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
    medians = ratios.interleaved({"harness": partial(_harness, *asked), "bare": partial(_bare, *asked)}, rounds)
    click.echo(f"{framework} {model} batch {batch}: {ratios.said(medians)}")


def _bare(python: Path, framework: str, model: str, batch: int, steps: int) -> float:
    """Median step of the hand-written loop, ms."""
    script = ROOT / "benchmarks" / f"bare_{framework}.py"
    command = [python, script, model, str(batch), str(steps)]
    printed = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
    return statistics.median(json.loads(printed.splitlines()[-1])) / 1e6


def _harness(python: Path, framework: str, model: str, batch: int, steps: int) -> float:
    """Median step, ms, of one time pass as `hwprof run` starts it, with its samplers; it comes from its marks."""
    settings = {
        "framework": framework, "model": model, "batch": batch, "steps": steps, "epochs": 1, "loop": "custom",
        "infer_repeats": 0, "validation_steps": 1, "threads": 1, "device": "cpu",
    }  # fmt: skip
    spec = resolve(None, [f"{name}={value}" for name, value in settings.items()], profiles=ROOT / "profiles")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.json").write_text(spec.as_json())
        command = [python, "-m", "toolkit.capture.supervise", folder / "spec.json", "time", "cpu", folder]
        with subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE) as process:
            process.wait()
        with StoreWriter(folder) as store:
            records.read(folder / "worker.jsonl", pass_name="time", store=store)
        with connect(folder) as connection:
            return float(runner.run(connection, "step_times")[0]["median_ns"]) / 1e6


if __name__ == "__main__":
    main()
