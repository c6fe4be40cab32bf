"""What the matched Keras definition costs in TensorFlow: VGG-16's training step beside that of keras.applications' own.

Fresh processes, in each of which steps of both take turns on one thread, the first of each pair drawn. A pair tells the
ratio of its two steps, a process the centre of its pairs, and the interval is over processes: of wall time, and of
processor time, which others on the machine disturb least. The two are one architecture at 224 pixels only. The aim is
a ratio within 3 % of 1. A quarter of an hour on a quiet machine. From the repository's root:

    .venv/toolkit/bin/python -m benchmarks.matched_cost
"""

import json
import math
import os
import subprocess
from pathlib import Path

import click

from benchmarks.ratios import of_processes
from toolkit.capture import venvs

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
TARGET = 0.03


@click.command
@click.option("--processes", default=8, show_default=True, type=click.IntRange(min=2))
@click.option("--pairs", default=8, show_default=True, help="Pairs of steps in each process.")
@click.option("--batch", default=1, show_default=True)
@click.option("--image-size", default=224, show_default=True)
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam", show_default=True)
def main(processes: int, pairs: int, batch: int, image_size: int, optimizer: str) -> None:
    """Print the ratios of step times, matched over keras.applications, and whether the aim is met."""
    python = venvs.ensure("tf", "cpu", say=click.echo).python
    command = [str(python), "-m", "benchmarks.matched_pair", *map(str, (batch, pairs, image_size)), optimizer]
    measured = []
    for number in range(processes):
        measured.append(_logs(command))
        wall, processor = (math.exp(sum(one) / len(one)) for one in measured[-1])
        click.echo(f"process {number + 1}: wall {wall:.4f}, processor {processor:.4f}")
    for place, clock in enumerate(("wall", "processor")):
        known = of_processes([logs[place] for logs in measured])
        click.echo(
            f"VGG-16 {image_size} px, batch {batch}, {optimizer}, {clock} time of a step:"
            f" matched / keras.applications = {known}, {processes} processes of {pairs} pairs"
        )
        click.echo(f"target, within {TARGET:.0%}: {known.verdict(TARGET)}")


def _logs(command: list[str]) -> list[list[float]]:
    """Of one process: the logarithms of the ratios of its pairs, of wall and of processor time."""
    done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return [[math.log(ratio) for ratio in ratios] for ratios in json.loads(done.stdout.splitlines()[-1])]


if __name__ == "__main__":
    main()
