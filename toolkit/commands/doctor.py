"""`hwprof doctor`."""

from pathlib import Path

import click

from toolkit import __version__
from toolkit.capture import launch
from toolkit.capture.doctor import examine
from toolkit.commands.console import console
from toolkit.errors import FAILED
from toolkit.reports import doctor


@click.command
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs go."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(runs_folder: Path, *, as_json: bool) -> int:
    """Look at this machine: what of hwprof works here, and what to do about the rest.

    Exit code 0 where `make profile` can run, 1 where a problem stops it.

    \b
    Examples:
      hwprof doctor
      hwprof doctor --json
    """
    found = doctor.diagnosis(examine(runs=runs_folder, root=launch.ROOT), version=__version__)
    if as_json:
        click.echo(doctor.encode(found))
    else:
        console().print(doctor.report(found))
    return 0 if found.ready else FAILED
