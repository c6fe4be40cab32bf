"""`hwprof compare`."""

from pathlib import Path

import click
import msgspec

from toolkit.analyses import matched
from toolkit.analyses.memory_comparison import Side, compare
from toolkit.capture import runs
from toolkit.commands.console import console
from toolkit.commands.digest import digest
from toolkit.errors import HwprofError
from toolkit.reports import memory_comparison, summary_json


@click.command
@click.argument("names", metavar="RUN_A RUN_B", nargs=2)
@click.option("--memory", is_flag=True, help="Explain the difference in memory.")
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--force", is_flag=True, help="Compare matched runs too that are not verified to be the same.")
def command(names: tuple[str, str], runs_folder: Path, *, memory: bool, as_json: bool, force: bool) -> None:
    """Explain in numbers why RUN_B differs from RUN_A.

    The parts sum to the difference, and each advice names the figure that it rests on. Matched runs of several
    frameworks are compared where `hwprof verify` found them the same, runs of two modes never.

    \b
    hwprof compare --memory 20261121-114447-torch-resnet50-cuda-train-5086 last
    """
    if not memory:
        raise HwprofError("There is nothing to compare.", remedy="Give --memory.")
    folders = [runs.find(runs_folder, name) for name in names]
    forced = matched.check(folders, force=force)
    found = compare(*map(_side, folders), forced=forced)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        console().print(memory_comparison.report(found))


def _side(folder: Path) -> Side:
    path = folder / "summary.json"
    if summary_json.read(path) is None:
        digest(folder)
    summary = summary_json.read(path)
    if summary is None:
        raise HwprofError(f"{path} cannot be read.", remedy="Delete it: `hwprof show` makes a new one.")
    return Side(name=folder.name, spec=runs.spec_of(folder), allocators=summary.allocators)
