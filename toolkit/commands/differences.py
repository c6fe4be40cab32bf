"""`hwprof differences`."""

import tempfile
from pathlib import Path

import click
import msgspec

from toolkit.analyses import differences
from toolkit.capture import descriptions, launch
from toolkit.commands.console import console
from toolkit.errors import HwprofError
from toolkit.reports import differences as report
from toolkit.settings import known, resolve
from toolkit.spec import AS_SHIPPED, FRAMEWORKS

PROFILES = launch.ROOT / "profiles"


@click.command
@click.argument("subjects", nargs=-1, required=True, metavar="MODEL | RUN RUN")
@click.option(
    "--frameworks", default="torch,tf", show_default=True, metavar="NAME,NAME", help="In which MODEL is compared."
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of MODEL.")
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of comparisons.")
def command(
    subjects: tuple[str, ...], frameworks: str, settings: tuple[str, ...], runs_folder: Path, *, as_json: bool
) -> None:
    """List what differs between two workloads: a MODEL as each framework ships it, or two RUNs.

    Of a MODEL the first framework's is held to each other's; it is built in each, on the processor, and not trained.
    Of runs, what their workers recorded is read. Nothing comes from a table.

    \b
    Examples:
      hwprof differences resnet50
      hwprof differences mobilenet_v2 --frameworks torch,tf,jax --set image_size=224 --set classes=1000
      hwprof differences last 20261121-155353-torch-resnet50-cpu-train-9e04
    """
    match subjects:
        case (model,):
            found = _of_model(model, frameworks, settings)
        case (a, b) if not settings:
            found = [differences.compare_runs(runs_folder, a, b)]
        case (_, _):
            raise HwprofError("--set changes no run that is there.", remedy="Leave it out, or give one model.")
        case _:
            raise HwprofError(f"{len(subjects)} are too many to compare.", remedy="Give one model, or two runs.")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        console().print(report.report(found))


def _of_model(model: str, frameworks: str, settings: tuple[str, ...]) -> list[differences.Comparison]:
    names = [known(name.strip(), FRAMEWORKS, "framework") for name in frameworks.split(",")]
    if len(set(names)) < max(len(names), 2):
        raise HwprofError(f"--frameworks {frameworks} compares nothing.", remedy="Name two or three, each once.")
    given = [f"mode={AS_SHIPPED}", *settings, f"model={model}"]
    specs = [resolve(None, [*given, f"framework={name}"], profiles=PROFILES) for name in names]
    for spec in specs:
        launch.check_model(spec)
    with tempfile.TemporaryDirectory(prefix="hwprof-differences-") as place:
        first, *others = map(differences.read, descriptions.describe_all(specs, Path(place), say=_say))
    return [differences.compare(first, other) for other in others]


def _say(line: str) -> None:
    click.echo(line, err=True)
