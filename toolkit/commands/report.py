"""`hwprof report`."""

from pathlib import Path

import click

from toolkit.capture import runs
from toolkit.capture.files import write_whole
from toolkit.commands.digest import digest
from toolkit.commands.sides import summary_of
from toolkit.errors import HwprofError
from toolkit.reports.html import page, run


@click.command
@click.argument("name", metavar="RUN", default="last")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where; by default RUN.html, here."
)
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
def command(name: str, output: Path | None, runs_folder: Path) -> None:
    """Write a report as one HTML file, which opens offline and asks for nothing.

    RUN is a run's name or folder, or `last`.

    \b
    hwprof report last -o report.html
    """
    folder = runs.find(runs_folder, name)
    title, text = folder.name, _of_run(folder)
    path = output or Path(f"{title}.html")
    try:
        write_whole(path, text)
    except OSError as error:
        raise HwprofError(f"{path} cannot be written: {error.strerror or error}.", remedy="Give another -o.") from error
    click.echo(f"Written: {path} ({path.stat().st_size / 1e6:.1f} MB)", err=True)


def _of_run(folder: Path) -> str:
    if not (folder / "marks.parquet").exists() or not (folder / runs.STATUS).exists():
        digest(folder)
    spec, status = runs.spec_of(folder), runs.status_of(folder)
    subtitle = " · ".join((
        folder.name, spec.task, spec.mode, f"batch {spec.batch}", f"{spec.dataset} {spec.image_size}×{spec.image_size}",
        status["status"],
    ))  # fmt: skip
    return page.render(
        f"{spec.framework} {spec.model}", subtitle, run.sections(folder, spec, status, summary_of(folder))
    )
