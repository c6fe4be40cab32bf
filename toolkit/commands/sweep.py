"""`hwprof sweep`."""

import platform
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.console import Console

from toolkit.capture import launch, matrix, runs, sweeps
from toolkit.capture.matrix import Point
from toolkit.capture.sweeps import Entry, Limits, Log, Sweep
from toolkit.commands import options, sweeping
from toolkit.commands.console import console
from toolkit.commands.options import check_given
from toolkit.commands.sweep_progress import watching
from toolkit.commands.sweeping import History
from toolkit.errors import INTERRUPTED, HwprofError, printable
from toolkit.reports import sweep as report

PROFILES = launch.ROOT / "profiles"
# Six is the least of which a median has an interval of 95 %.
REPEATS, WIDTH = "6..10", "5%"
MINUTE_S = 60
# What a report of what ran heeds, and what going on does.
REPORTING = frozenset({"runs_folder", "as_json", "force"})
RESUMING = REPORTING | {"resume", "max_minutes"}


@click.command
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE,VALUE", help="A setting; several values: an axis."
)
@click.option(
    "--repeats",
    type=options.Repeats(),
    default=REPEATS,
    show_default=True,
    metavar="LEAST..MOST",
    help="Runs of each point.",
)
@click.option(
    "--width",
    callback=lambda _context, _option, text: _share(text),
    default=WIDTH,
    show_default=True,
    help="Enough, once the 95 % interval is within ± this.",
)
@options.max_minutes
@options.order_seed
@click.option("--dry-run", is_flag=True, help="Show the points and run nothing.")
@click.option("--resume", metavar="SWEEP", help="Go on with a sweep: its name, its folder, or `last`.")
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs go."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the tables.")
@click.option("--force", is_flag=True, help="Show figures of matched runs that are not verified to be the same too.")
def command(  # noqa: PLR0913 - one parameter an option
    file: Path | None,
    settings: tuple[str, ...],
    repeats: tuple[int, int],
    width: float,
    max_minutes: float | None,
    *,
    order_seed: int,
    dry_run: bool,
    resume: str | None,
    runs_folder: Path,
    as_json: bool,
    force: bool,
) -> None:
    """Measure every combination of settings, each in fresh processes, in random order; and name the best batch.

    FILE is a TOML file with [settings] (one value each) and [matrix] (a list each); --set adds to it. What a
    combination cannot do, and what fails or runs out of memory, is a result of its point. Ctrl-C keeps what there is.

    \b
    Examples:
      hwprof sweep --set framework=torch,tf,jax --set model=cifar_cnn --set batch=8,32,128
      hwprof sweep --set task=infer --set batch=1,8,64 --set model=resnet18 --repeats 6..20 --width 2%
      hwprof sweep --resume last
    """
    if resume:
        sweep, plans = _resumed(runs_folder, resume), None
    else:
        asked = (matrix.of_toml(file) if file else {}) | matrix.of_settings(settings)
        points = matrix.points(asked, profiles=PROFILES)
        if dry_run:
            console().print(report.points(points))
            return
        runs.check_writable(runs_folder)
        plans = sweeping.plan_all(points, runs_folder=runs_folder, say=say)
        if not plans[0]:
            raise HwprofError(plans[1][1][1], remedy="No point of the matrix can run.")
        sweep = sweeps.create(runs_folder, points=points, seed=order_seed, limits=Limits(*repeats, width))
    history, _ = go_through(sweep, plans, max_minutes=max_minutes, go_on=_go_on(sweep))
    show(history, as_json=as_json, force=force)


def _resumed(runs_folder: Path, name: str) -> Sweep:
    check_given(RESUMING, "--resume goes on with what was asked then")
    folder = sweeps.find(runs_folder, name)
    if sweeps.is_study(folder):
        raise HwprofError(f"{folder.name} is a study.", remedy=f"hwprof study --resume {folder.name} goes on with it.")
    sweep = sweeps.read(folder)
    check_host(sweep)
    return sweep


def go_through(
    sweep: Sweep,
    planned: tuple[sweeping.Plans, dict[int, tuple[str, str]]] | None,
    *,
    max_minutes: float | None,
    go_on: str,
    own_seeds: bool = False,
) -> tuple[History, bool]:
    """Repeats points until all are finished, or the time is over; whether they are. `go_on` says how to, after Ctrl-C.

    Points that are not planned yet are: those that a resumed sweep has open. With `own_seeds` each repeat has another
    seed, so that what hangs on chance in training shows between processes.
    """
    runs_folder = sweep.folder.parent
    began = time.monotonic()
    with Log(sweep) as log:
        history = History(sweep)
        sweeping.settle_interrupted(history, log, say=say)
        if planned is None:
            planned = sweeping.plan_all(_open(history), runs_folder=runs_folder, say=say)
        plans, refused = planned
        for number, (status, reason) in refused.items():
            history.add(log.append(Entry(point=number, repeat=0, status=status, reason=reason)))

        def repeat(point: Point, number: int) -> Iterator[Entry]:
            plan = plans[point.number]
            plan = sweeping.reseeded(plan, number) if own_seeds else plan
            return sweeping.run_repeat(plan, runs_folder, point, number)

        say(f"{sweep.name}: {len(sweep.points)} points, order by seed {sweep.seed}")
        try:
            with watching(Console(stderr=True)) as watch:
                finished = sweeping.drive(
                    history,
                    log,
                    repeat,
                    watch=watch,
                    over=partial(_over, began, max_minutes),
                )
        except KeyboardInterrupt:
            raise HwprofError(f"{sweep.name} interrupted.", remedy=go_on, exit_code=INTERRUPTED) from None
    if not finished:
        say(f"Its time is over before every point is finished. {go_on}")
    return history, finished


def show(history: History, *, as_json: bool, force: bool) -> None:
    """Prints what a sweep found so far: one JSON object, or tables as wide as the terminal."""
    found = sweeping.results_of(history, force=force)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        console().print(report.report(found))


def check_host(sweep: Sweep) -> None:
    """Raises HwprofError where a sweep was begun on another machine."""
    if sweep.host != platform.node():
        raise HwprofError(
            f"{sweep.name} was begun on {printable(sweep.host)}, and this is {platform.node()}.",
            remedy="Figures of two machines are not put together: resume it there, or begin another here.",
        )


def _open(history: History) -> list[Point]:
    return [history.sweep.points[number - 1] for number in history.open()]


def _over(began: float, max_minutes: float | None) -> bool:
    return max_minutes is not None and time.monotonic() - began >= max_minutes * MINUTE_S


def _go_on(sweep: Sweep) -> str:
    return f"`hwprof sweep --resume {sweep.name}` goes on; what ran is kept."


def _share(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", text)
    if not found or not float(found[1]):
        raise HwprofError(f"--width {text} is no share.", remedy="Write it in per cent, as in 5%.")
    return float(found[1]) / 100


def say(line: str) -> None:
    """What a person should know while it runs."""
    click.echo(line, err=True)
