"""`hwprof crossover`."""

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from toolkit.analyses import crossover
from toolkit.analyses.comparable import Pair, Side, check
from toolkit.commands import completion
from toolkit.commands.console import console
from toolkit.commands.sides import folders_of, read
from toolkit.reports import crossover as report

# In these the sides are meant to differ.
AXES = frozenset({"device", "GPUs"})


@click.command
@click.argument("names", metavar="SIDE SIDE", nargs=2, shell_complete=completion.runs)
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--force", is_flag=True, help="Compare what differs in more than the device, and say so.")
def command(names: tuple[str, str], runs_folder: Path, *, as_json: bool, force: bool) -> None:
    """Hold inference on a processor to inference on a GPU, and say from which batch size on the GPU is faster.

    A SIDE is a run, or repeats of it with commas between, or a pattern in quotes; one side on the processor, one on a
    GPU. Latency and throughput by batch size, with the transfer to the device and back, and without. One value stands
    for one process: the crossover has an interval from three runs a side on. What ran out of memory is named.

    \b
    Examples:
      hwprof crossover "*-torch-resnet50-cpu-infer-*" "*-torch-resnet50-cuda-infer-*"
      hwprof crossover RUN,RUN,RUN RUN,RUN,RUN --json
    """
    a, b = (Side(name, read(folders_of(runs_folder, name))) for name in names)
    found = held_to_each_other(a, b, force=force)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        console().print(report.report(found))


def held_to_each_other(a: Side, b: Side, *, force: bool) -> crossover.DeviceComparison:
    """The two sides' inference. Raises HwprofError where they differ in more than the device, without `force`."""
    said = [check([Pair(a, b, AXES)], force=force), crossover.same_program((a, b), force=force)]
    return crossover.compare((a, b), forced=" ".join(filter(None, said)) or None)


def of_two_devices(pairs: Sequence[Pair]) -> bool:
    """Whether these are one pair, of inference on a processor and on a GPU."""
    if len(pairs) != 1:
        return False
    every = [side.processes for side in pairs[0][:2]]
    infer = all(process.spec.task == "infer" for processes in every for process in processes)
    return infer and {processes[0].device for processes in every} == set(crossover.DEVICES)
