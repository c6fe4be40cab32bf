"""`hwprof report`."""

from pathlib import Path

import click

from toolkit.analyses import comparable
from toolkit.analyses.comparison import compare
from toolkit.analyses.statistics import MARGIN
from toolkit.capture import runs, sweeps
from toolkit.capture.files import write_whole
from toolkit.commands import completion
from toolkit.commands.digest import digest
from toolkit.commands.sides import given, summary_of
from toolkit.commands.sweeping import History, results_of
from toolkit.errors import HwprofError
from toolkit.reports.html import comparison, page, run, sweep


@click.command
@click.argument("names", metavar="RUN...", nargs=-1, shell_complete=completion.runs)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where; by default RUN.html, here."
)
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option(
    "--force", is_flag=True, help="Of several, compare what differs in more than what is compared, and say so."
)
def command(names: tuple[str, ...], output: Path | None, runs_folder: Path, *, force: bool) -> None:
    """Write a report as one HTML file, which opens offline and asks for nothing.

    RUN is a run's name or folder, `last` (the default), or a sweep's, which has curves by batch size. Several, or
    repeats with commas between, are held to the first, as by `hwprof compare`: differences first.

    \b
    hwprof report last -o report.html
    hwprof report RUN,RUN,RUN RUN,RUN,RUN -o difference.html
    hwprof report SWEEP
    """
    names = names or ("last",)
    found = sweeps.folder_of(runs_folder, names[0]) if len(names) == 1 and names != ("last",) else None
    if found:
        name, text = found.name, _of_sweep(found, force=force)
    elif len(names) == 1:
        folder = runs.find(runs_folder, names[0])
        name, text = folder.name, _of_run(folder)
    else:
        name, text = "comparison", _of_several(names, runs_folder, force=force)
    path = output or Path(f"{name}.html")
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


def _of_several(names: tuple[str, ...], runs_folder: Path, *, force: bool) -> str:
    pairs, notes = given(runs_folder, names)
    forced = comparable.check(pairs, force=force)
    found = compare(pairs, margin=MARGIN, forced=forced, notes=notes)
    sides = " · ".join(f"{side.label}: {len(side.runs)} processes" for side in found.sides)
    return page.render("Comparison of runs", sides, comparison.sections(found))


def _of_sweep(folder: Path, *, force: bool) -> str:
    found = results_of(History(sweeps.read(folder)), force=force)
    axes = ", ".join(f"{name} {'/'.join(values)}" for name, values in found.axes.items())
    return page.render(f"Sweep {found.sweep}", f"{axes} · on {found.host}", sweep.sections(found))
