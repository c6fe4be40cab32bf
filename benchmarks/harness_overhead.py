"""What the harness costs: its unprofiled pass, samplers running, against a bare loop of the same framework.

Fresh processes in random interleaved order; each gives the median of its steps; the ratio is of the medians over
processes, with a bootstrap interval. Run from the repository's root after `make profile` has made the environments:

    .venv/toolkit/bin/python -m benchmarks.harness_overhead --framework torch --model resnet50 --rounds 5
"""

import json
import os
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

import click

from toolkit.analyses import runner
from toolkit.capture import venvs
from toolkit.ingest import records
from toolkit.ingest.store import StoreWriter, connect
from toolkit.spec import resolve

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
RESAMPLES = 10_000


@click.command
@click.option("--framework", type=click.Choice(["torch", "tf"]), default="torch", show_default=True)
@click.option("--model", default="resnet50", show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--steps", default=40, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Processes of each kind.")
def main(framework: str, model: str, batch: int, steps: int, rounds: int) -> None:
    """Print the ratio of median step times, harness over bare loop."""
    python = venvs.ensure(framework, "cpu", say=click.echo).python
    order = ["harness", "bare"] * rounds
    random.shuffle(order)
    medians: dict[str, list[float]] = {"harness": [], "bare": []}
    for kind in order:
        measure = _harness if kind == "harness" else _bare
        medians[kind].append(measure(python, framework, model, batch, steps) / 1e6)
        click.echo(f"{kind:8} median step {medians[kind][-1]:8.3f} ms")
    low, high = _interval(medians["harness"], medians["bare"])
    ratio = statistics.median(medians["harness"]) / statistics.median(medians["bare"])
    click.echo(
        f"{framework} {model} batch {batch}: harness / bare = {ratio:.4f} (95 % interval {low:.4f} to {high:.4f})"
    )


def _bare(python: Path, framework: str, model: str, batch: int, steps: int) -> float:
    script = ROOT / "benchmarks" / f"bare_{framework}.py"
    command = [python, script, model, str(batch), str(steps)]
    printed = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
    return statistics.median(json.loads(printed.splitlines()[-1]))


def _harness(python: Path, framework: str, model: str, batch: int, steps: int) -> float:
    """One time pass as `hwprof run` starts it, with its samplers; the median comes from its marks."""
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
            return float(runner.run(connection, "step_times")[0]["median_ns"])


def _interval(harness: list[float], bare: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the ratio of medians, processes resampled."""
    draw = random.Random(0)  # noqa: S311 - resampling, no secret
    ratios = sorted(
        statistics.median(draw.choices(harness, k=len(harness))) / statistics.median(draw.choices(bare, k=len(bare)))
        for _ in range(RESAMPLES)
    )
    return ratios[RESAMPLES // 40], ratios[-RESAMPLES // 40]


if __name__ == "__main__":
    main()
