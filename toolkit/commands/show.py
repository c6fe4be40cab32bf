"""`hwprof show`."""

from pathlib import Path

import click

from toolkit.capture import runs, sweeps
from toolkit.commands import completion, study, studying, sweep
from toolkit.commands.console import console
from toolkit.commands.digest import digest
from toolkit.commands.sweeping import History
from toolkit.errors import HwprofError
from toolkit.reports import summary_json, terminal


@click.command
@click.argument("run", metavar="RUN | SWEEP | STUDY", default="last", shell_complete=completion.runs)
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json, or what the sweep found.")
@click.option("--force", is_flag=True, help="Of a sweep also the figures of matched runs that are not verified.")
def command(run: str, runs_folder: Path, *, as_json: bool, force: bool) -> None:
    """Show the report of a run, or of a sweep or study as far as it has come: name, folder, or `last` (run).

    \b
    Examples:
      hwprof show last
      hwprof show RUN --json
    """
    if run != "last" and (found := sweeps.folder_of(runs_folder, run)):
        if sweeps.is_study(found):
            study.show(studying.read(found, force=force), as_json=as_json)
        else:
            sweep.show(History(sweeps.read(found)), as_json=as_json, force=force)
        return
    folder = runs.find(runs_folder, run)
    # A run that is not closed may still be writing: what was read of it before is out of date.
    if summary_json.read(folder / "summary.json") is None or not (folder / runs.STATUS).exists():
        digest(folder)
    show(folder, as_json=as_json)


def show(folder: Path, *, as_json: bool) -> None:
    """Prints a run's summary: its JSON, or a report as wide as the terminal."""
    path = folder / "summary.json"
    if as_json:
        click.echo(path.read_text(encoding="utf-8"))
        return
    summary = summary_json.read(path)
    if summary is None:
        raise HwprofError(f"{path} cannot be read.", remedy="Delete it: `hwprof show` makes a new one.")
    console().print(terminal.report(folder.name, runs.spec_of(folder), runs.status_of(folder), summary))
