"""What a container costs: the unprofiled pass of one workload in a container and in the local environment.

Fresh runs in random interleaved order; each gives the median of its steps; the ratio is of the medians over runs, with
an interval. Run from the repository's root, where a container engine answers:

    .venv/toolkit/bin/python -m benchmarks.container_overhead --set framework=torch --set model=resnet18 --rounds 10
"""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import click

from benchmarks import ratios
from benchmarks.ratios import Steps

HWPROF = Path(sys.executable).with_name("hwprof")
SETTINGS = (
    "framework=torch", "model=resnet18", "batch=8", "steps=40", "epochs=1", "loop=custom", "infer_repeats=0",
    "validation_steps=1", "threads=1", "device=cpu", "passes=time",
)  # fmt: skip


@click.command
@click.option("--runtime", type=click.Choice(["docker", "podman"]), default="docker", show_default=True)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of `hwprof run`.")
@click.option("--rounds", default=10, show_default=True, help="Runs of each kind.")
def main(runtime: str, settings: tuple[str, ...], rounds: int) -> None:
    """Print the ratio of median step times, container over local."""
    measures = {kind: partial(_steps, kind, settings) for kind in (runtime, "local")}
    for measure in measures.values():
        # environment and image are made, and their files read once, before anything counts
        measure()
    for line in ratios.said(ratios.interleaved(measures, rounds)):
        click.echo(line)


def _steps(runtime: str, settings: tuple[str, ...]) -> Steps:
    asked = [f"--set={setting}" for setting in (*SETTINGS, *settings, f"runtime={runtime}")]
    with tempfile.TemporaryDirectory() as runs:
        command: list[str | Path] = [HWPROF, "run", "--json", "--runs", runs, *asked]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(done.stderr.strip())
    (steps,) = (entry for entry in json.loads(done.stdout)["steps"] if entry["epoch"] is None)
    return Steps(steps["median_ns"] / 1e6, steps["p10_ns"] / 1e6)


if __name__ == "__main__":
    main()
