"""`hwprof report`."""

from pathlib import Path

import click

from toolkit.analyses import comparable
from toolkit.analyses.comparison import compare
from toolkit.analyses.statistics import MARGIN
from toolkit.capture import runs, sweeps
from toolkit.capture.files import write_whole
from toolkit.commands import completion, progress, studying
from toolkit.commands.crossover import held_to_each_other, of_two_devices
from toolkit.commands.digest import digest, has_store
from toolkit.commands.sides import given, summary_of
from toolkit.commands.sweeping import History, results_of
from toolkit.errors import HwprofError
from toolkit.reports.html import comparison, crossover, page, run, side_timelines, sweep
from toolkit.reports.html.content import counted
from toolkit.reports.own import workload


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

    RUN is a run's name or folder, `last` (the default), a sweep's, which has curves by batch size, or a study's.
    Several, or repeats with commas between, are held to the first, as by `hwprof compare`: differences first. Inference
    on a processor and on a GPU is held to each other as by `hwprof crossover`: the batch from which the GPU is faster
    first.

    \b
    Examples:
      hwprof report last -o report.html
      hwprof report RUN,RUN,RUN RUN,RUN,RUN -o difference.html
      hwprof report SWEEP
    """
    names = names or ("last",)
    with progress.waiting("Making the page"):
        name, text = _page(names, runs_folder, force=force)
    path = output or Path(f"{name}.html")
    try:
        write_whole(path, text)
    except OSError as error:
        raise HwprofError(f"{path} cannot be written: {error.strerror or error}.", remedy="Give another -o.") from error
    click.echo(f"Written: {path} ({path.stat().st_size / 1e6:.1f} MB)", err=True)


def _page(names: tuple[str, ...], runs_folder: Path, *, force: bool) -> tuple[str, str]:
    """What the page is of, and its text."""
    found = sweeps.folder_of(runs_folder, names[0]) if len(names) == 1 and names != ("last",) else None
    if found:
        return found.name, studying.page_of(found, force=force) or _of_sweep(found, force=force)
    if len(names) > 1:
        return "comparison", _of_several(names, runs_folder, force=force)
    folder = runs.find(runs_folder, names[0])
    return folder.name, _of_run(folder)


def _of_run(folder: Path) -> str:
    if not has_store(folder) or not (folder / runs.STATUS).exists():
        digest(folder)
    spec, status = runs.spec_of(folder), runs.status_of(folder)
    subtitle = " · ".join((folder.name, *workload(spec), status["status"]))
    return page.render(
        f"{spec.framework} {spec.model}", subtitle, run.sections(folder, spec, status, summary_of(folder))
    )


def _of_several(names: tuple[str, ...], runs_folder: Path, *, force: bool) -> str:
    pairs, notes = given(runs_folder, names)
    if of_two_devices(pairs):
        return _of_two_devices(pairs[0], force=force)
    forced = comparable.check(pairs, force=force)
    found = compare(pairs, margin=MARGIN, forced=forced, notes=notes)
    sides = {side.label: side for pair in pairs for side in pair[:2]}
    subtitle = " · ".join(f"{side.label}: {counted(len(side.runs))}" for side in found.sides)
    return page.render(
        "Comparison of runs", subtitle, [*comparison.sections(found), *side_timelines.sections([*sides.values()])]
    )


def _of_two_devices(pair: comparable.Pair, *, force: bool) -> str:
    found = held_to_each_other(pair.a, pair.b, force=force)
    subtitle = f"{counted(len(found.cpu_runs))} on the processor · {counted(len(found.gpu_runs))} on a GPU"
    sections = [*crossover.sections(found), *side_timelines.sections(pair[:2])]
    return page.render("Inference on a processor and on a GPU", subtitle, sections)


def _of_sweep(folder: Path, *, force: bool) -> str:
    found = results_of(History(sweeps.read(folder)), force=force)
    axes = ", ".join(f"{name} {'/'.join(values)}" for name, values in found.axes.items())
    return page.render(f"Sweep {found.sweep}", f"{axes} · on {found.host}", sweep.sections(found))
