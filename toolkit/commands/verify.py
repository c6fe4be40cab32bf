"""`hwprof verify`."""

import click
import msgspec

from toolkit.analyses import verification
from toolkit.capture import launch, verify
from toolkit.commands.console import console
from toolkit.errors import FAILED, HwprofError
from toolkit.reports import verification as report
from toolkit.spec import FRAMEWORKS, known, resolve

PROFILES = launch.ROOT / "profiles"
HELD = tuple(name for name in FRAMEWORKS if name != verify.REFERENCE)


@click.command
@click.argument("model")
@click.option(
    "--frameworks",
    default=",".join(HELD),
    show_default=True,
    metavar="NAME,NAME",
    help="Which to hold to PyTorch.",
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the model or its optimizer.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def command(model: str, frameworks: str, settings: tuple[str, ...], *, as_json: bool) -> None:
    """Show that the matched MODEL is the same in every framework, before its speed is compared.

    The same weights and batches go through each; logits, loss, gradients, batch-norm statistics and weights after one
    and after ten steps are held to PyTorch's in float64. Verdicts are kept for these versions and sources.

    \b
    hwprof verify resnet50
    hwprof verify cifar_cnn --frameworks tf --set optimizer=sgd
    """
    asked = [known(name.strip(), HELD, "framework to hold to PyTorch") for name in frameworks.split(",")]
    spec = resolve(None, [*settings, f"model={model}"], profiles=PROFILES)
    found = verification.verdicts(spec.model, verify.probe_all(spec, asked, say=_say))
    for verdict in found:
        verification.keep(verify.identity(spec, verdict.framework), verdict)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        console().print(report.report(found))
    if differing := [verdict.framework for verdict in found if not verdict.agrees]:
        raise HwprofError(
            f"{spec.model} differs in {', '.join(differing)}.",
            remedy="Its matched runs must not be compared; the table names the first tensors that differ.",
            exit_code=FAILED,
        )


def _say(line: str) -> None:
    click.echo(line, err=True)
