"""`hwprof run`."""

import contextlib
from pathlib import Path

import click
import duckdb

from toolkit.capture import launch, runs
from toolkit.commands.digest import digest
from toolkit.commands.show import show
from toolkit.errors import FAILED, INTERRUPTED, HwprofError
from toolkit.spec import FIELDS, resolve, shown

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
    hwprof run --set framework=tf --set model=resnet50 --set loop=custom
    hwprof run --set framework=torch --set model=cifar_cnn --set dataset=cifar10 --set steps=0
    """
    plan = launch.plan(resolve(profile, settings, profiles=PROFILES), runs=runs_folder, say=_say)
    folder = launch.create_folder(runs_folder, plan)
    outcome = launch.run_passes(folder, plan, say=_say)
    outcome = _digest(folder, outcome)
    if as_json or outcome == launch.COMPLETE:
        _show(folder, as_json=as_json)
    if outcome != launch.COMPLETE:
        # Without the report, which would hide the reason; `hwprof show` draws it from what there is.
        raise HwprofError(
            f"Run {folder.name} {outcome.status}: {outcome.reason}.",
            remedy=f"What it recorded is kept in {folder}, and `hwprof show` reads it; the worker's own words are in"
            " raw/*/worker.log.",
            exit_code=outcome.exit_code,
        )


def _digest(folder: Path, outcome: launch.Outcome) -> launch.Outcome:
    """Ingest and summary, then the status; a failure or Ctrl-C on the way becomes the run's outcome."""
    try:
        digest(folder)
    except KeyboardInterrupt:
        outcome = launch.Outcome("interrupted", "stopped while its records were read", INTERRUPTED)
    except HwprofError as error:
        if outcome == launch.COMPLETE:
            outcome = launch.Outcome("failed", str(error), FAILED)
    except (OSError, duckdb.Error) as error:
        if outcome == launch.COMPLETE:
            outcome = launch.Outcome("failed", f"its tables cannot be written: {error}", FAILED)
    # On a full disk the run stays `incomplete`, and the line that follows says why.
    with contextlib.suppress(OSError):
        runs.close(folder, **outcome._asdict())
    return outcome


def _show(folder: Path, *, as_json: bool) -> None:
    if (folder / "summary.json").exists():
        show(folder, as_json=as_json)


def _say(line: str) -> None:
    click.echo(line, err=True)
