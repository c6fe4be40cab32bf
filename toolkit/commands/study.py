"""`hwprof study`."""

from pathlib import Path
from typing import NoReturn, cast

import click
import msgspec

from toolkit.analyses.study import definition
from toolkit.analyses.study.definition import SCALES, Scale
from toolkit.analyses.study.results import StudyResult
from toolkit.capture import matrix, sweeps
from toolkit.capture.sweeps import Sweep
from toolkit.commands import options, studying, sweep, sweeping
from toolkit.commands.console import console
from toolkit.commands.options import check_given
from toolkit.errors import HwprofError
from toolkit.reports import study as report


@click.command
@click.argument("name", metavar="NAME | STUDY_FOLDER", required=False)
@click.option("--scale", type=click.Choice(SCALES), default="smoke", show_default=True, help="How much of it runs.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting, in every experiment.")
@click.option("--experiment", "experiments", multiple=True, metavar="NAME", help="Of the study run this alone.")
@click.option(
    "--repeats", type=options.Repeats(), metavar="LEAST..MOST", help="Runs of each point; by default the scale's."
)
@options.max_minutes
@options.order_seed
@click.option(
    "--verify", "verified", is_flag=True, help="First show matched models to be the same, where not done yet."
)
@click.option("--resume", metavar="STUDY", help="Go on with one that ran: its name, its folder, or `last`.")
@click.option("--list", "listed", is_flag=True, help="List the studies that there are.")
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs go."
)
@click.option("--json", "as_json", is_flag=True, help="Print study.json instead of the report.")
@click.option("--force", is_flag=True, help="Show figures of matched runs that are not verified to be the same too.")
def command(  # noqa: PLR0913 - one parameter an option
    name: str | None,
    scale: str,
    settings: tuple[str, ...],
    experiments: tuple[str, ...],
    repeats: tuple[int, int] | None,
    *,
    max_minutes: float | None,
    order_seed: int,
    verified: bool,
    resume: str | None,
    listed: bool,
    runs_folder: Path,
    as_json: bool,
    force: bool,
) -> None:
    """Run a published comparison of frameworks again on this machine, and say of each claim what came of it.

    NAME is one of --list, or a TOML file (docs/studies.md); the folder of a study that ran is reported anew. The report
    stands in the study's folder, too: study.json, and study.html, which opens offline.

    \b
    Examples:
      hwprof study devto_rakshath
      hwprof study asu_patel_dl_frameworks --scale short --max-minutes 20 --set device=cpu
      hwprof study --resume last
    """
    if listed:
        console().print(report.listed({each: definition.read(studying.path_of(each)) for each in _names()}))
        return
    if name and not resume and (folder := studying.find(runs_folder, name)):
        check_given(sweep.REPORTING | {"name"}, f"{folder.name} ran, and is only reported anew")
        _report(folder, as_json=as_json, force=force)
        return
    if resume:
        made = _resumed(runs_folder, resume)
    else:
        path, given = studying.path_of(name or _none_named()), matrix.of_settings(settings)
        asked = studying.ask(path, cast("Scale", scale), given, runs=runs_folder, experiments=experiments)
        made = studying.begin(asked, runs=runs_folder, seed=order_seed, repeats=repeats)
    if verified:
        studying.verify_models(made.points)
    planned = None if resume else sweeping.plan_all(made.points, runs_folder=runs_folder, say=sweep.say)
    sweep.go_through(made, planned, max_minutes=max_minutes, go_on=_go_on(made), own_seeds=True)
    _report(made.folder, as_json=as_json, force=force)


def _report(folder: Path, *, as_json: bool, force: bool) -> None:
    """Prints the study's report, and writes it into its folder: what ran for hours is shown whatever the disk says."""
    result = studying.read(folder, force=force)
    show(result, as_json=as_json)
    studying.write(folder, result)
    sweep.say(f"Written: {folder / studying.PAGE} and {studying.RESULT}")


def show(result: StudyResult, *, as_json: bool) -> None:
    """One JSON object, or a report as wide as the terminal."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
    else:
        console().print(report.report(result))


def _names() -> list[str]:
    return definition.names(studying.STUDIES)


def _none_named() -> NoReturn:
    raise HwprofError("Which study?", remedy=f"Known: {', '.join(_names())}; `hwprof study --list` describes them.")


def _resumed(runs_folder: Path, name: str) -> Sweep:
    check_given(sweep.RESUMING | {"verified"}, "--resume goes on with what was asked then")
    folder = studying.find(runs_folder, name)
    if folder is None:
        raise HwprofError(f"{name!r} is no study in {runs_folder}.", remedy="`hwprof list` shows what ran.")
    made = sweeps.read(folder)
    sweep.check_host(made)
    return made


def _go_on(made: Sweep) -> str:
    return f"`hwprof study --resume {made.name}` goes on; what ran is kept."
