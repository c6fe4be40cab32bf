"""What the matched Keras definition costs in TensorFlow: VGG-16's training step beside that of keras.applications' own.

Steps of both in turn in one process on one thread, the first of each pair drawn; the ratio of medians with its 95 %
interval, of processor time, which others on the machine disturb least, and of wall time. The two are one
architecture at 224 pixels only. The aim is a ratio within 3 % of 1. From the repository's root:

    .venv/toolkit/bin/python -m benchmarks.matched_cost --batch 2 --steps 20
"""

import json
import os
import statistics
import subprocess
from pathlib import Path

import click

from benchmarks.ratios import with_interval
from toolkit.capture import venvs

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}


@click.command
@click.option("--batch", default=2, show_default=True)
@click.option("--steps", default=20, show_default=True, help="Pairs of steps.")
@click.option("--image-size", default=224, show_default=True)
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam", show_default=True)
def main(batch: int, steps: int, image_size: int, optimizer: str) -> None:
    """Print the ratios of step times, matched over keras.applications."""
    python = venvs.ensure("tf", "cpu", say=click.echo).python
    command = [python, "-m", "benchmarks.matched_pair", *map(str, (batch, steps, image_size)), optimizer]
    printed = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured = json.loads(printed.splitlines()[-1])
    for place, clock in enumerate(("wall", "processor")):
        own, other = ([taken[place] for taken in measured[name]] for name in ("matched", "keras.applications"))
        medians = statistics.median(own), statistics.median(other)
        click.echo(
            f"VGG-16 {image_size} px, batch {batch}, {optimizer}, {clock} time of a step: matched"
            f" {medians[0] / 1e6:,.1f} ms, keras.applications {medians[1] / 1e6:,.1f} ms,"
            f" ratio {with_interval(own, other)}"
        )


if __name__ == "__main__":
    main()
