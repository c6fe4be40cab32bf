"""`hwprof run`."""

from pathlib import Path

import click

from toolkit.capture import launch
from toolkit.capture.runs import COMPLETE
from toolkit.commands.digest import finish
from toolkit.commands.show import show
from toolkit.errors import HwprofError
from toolkit.settings import resolve, shown
from toolkit.spec import FIELDS

PROFILES = launch.ROOT / "profiles"
SETTINGS = "\n".join(f"  {name} ({shown(item.default)}): {item.metadata['doc']}" for name, item in FIELDS.items())


@click.command(epilog="\b\nSettings, with their defaults:\n" + SETTINGS)
@click.argument("profile", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting; may be given many times.")
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs go."
)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the report.")
def command(profile: Path | None, settings: tuple[str, ...], runs_folder: Path, *, as_json: bool) -> None:
    """Run a workload and report where its time went.

    PROFILE is a TOML file; without it, profiles/MODEL.toml of the model that is set.

    \b
    Examples:
      hwprof run --set framework=tf --set model=resnet50 --set loop=custom
      hwprof run --set framework=torch --set model=cifar_cnn --set dataset=cifar10 --set steps=0
    """
    plan = launch.plan(resolve(profile, settings, profiles=PROFILES), runs=runs_folder, say=_say)
    folder = launch.create_folder(runs_folder, plan)
    outcome = launch.run_passes(folder, plan, say=_say)
    outcome = finish(folder, outcome)
    if as_json or outcome == COMPLETE:
        _show(folder, as_json=as_json)
    if outcome != COMPLETE:
        # Without the report, which would hide the reason; `hwprof show` draws it from what there is.
        raise HwprofError(
            f"Run {folder.name} {outcome.status}: {outcome.reason}.",
            remedy=f"What it recorded is kept in {folder}, and `hwprof show` reads it; the worker's own words are in"
            " raw/*/worker.log.",
            exit_code=outcome.exit_code,
        )


def _show(folder: Path, *, as_json: bool) -> None:
    if (folder / "summary.json").exists():
        show(folder, as_json=as_json)


def _say(line: str) -> None:
    click.echo(line, err=True)
