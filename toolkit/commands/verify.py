"""`hwprof verify`."""

from collections.abc import Sequence

import click
import msgspec

from toolkit.analyses import verification
from toolkit.analyses.verification import Verdict
from toolkit.capture import verdicts, verify
from toolkit.commands.console import console
from toolkit.errors import FAILED, HwprofError, complain
from toolkit.reports import verification as report
from toolkit.settings import known, resolve
from toolkit.spec import FRAMEWORKS, RunSpec

HELD = tuple(name for name in FRAMEWORKS if name != verdicts.REFERENCE)
EVERY = "all"
# By parameters, fewest first: what is wrong everywhere shows early.
MODELS = ("cifar_cnn", "mobilenet_v2", "resnet18", "efficientnet_b4", "resnet50", "resnet152", "vgg16", "vgg19")
Failures = list[tuple[str, HwprofError]]


@click.command
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--frameworks",
    default=",".join(HELD),
    show_default=True,
    metavar="NAME,NAME",
    help="Which to hold to PyTorch.",
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the model or its optimizer.")
@click.option("--force", is_flag=True, help="Verify anew what has a verdict already.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def command(models: tuple[str, ...], *, frameworks: str, settings: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Show that the matched MODEL is the same in every framework, before its speed is compared; or of all models.

    The same weights and batches go through each; logits, loss, gradients, batch-norm statistics and weights after one
    and after ten steps are held to PyTorch's in float64. A verdict is kept for these versions and sources, and not made
    again. A model that fails does not keep the next from its turn; the exit code then is not 0.

    \b
    Examples:
      hwprof verify resnet50
      hwprof verify cifar_cnn --frameworks tf --set optimizer=sgd
      hwprof verify all
    """
    named = (known(name.strip(), HELD, "framework to hold to PyTorch") for name in frameworks.split(","))
    asked = list(dict.fromkeys(named))
    specs = _specs(models, settings)
    found: list[Verdict] = []
    failures: Failures = []
    for spec in specs:
        try:
            found += of_model(spec, asked, force=force, failures=failures)
        except HwprofError as error:
            failures.append((spec.model, error))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    elif found:
        console().print(report.overview(found) if len(specs) > 1 else report.report(found))
    _complain(found, failures)


def _specs(models: Sequence[str], settings: Sequence[str]) -> list[RunSpec]:
    asked = MODELS if EVERY in models else models
    return [resolve(None, [*settings, f"model={model}"], profiles=verdicts.PROFILES) for model in asked]


def of_model(spec: RunSpec, asked: Sequence[str], *, force: bool, failures: Failures) -> list[Verdict]:
    """Verdicts of a model in these frameworks: kept ones, and of the others those that probes give now.

    Raises HwprofError where a probe cannot run. Verdicts that cannot be kept are a failure beside them.
    """
    spec = verdicts.subject(spec)
    kept = {} if force else {name: verification.kept(verdicts.identity(spec, name)) for name in asked}
    found = {name: verdict for name, verdict in kept.items() if verdict}
    for verdict in found.values():
        _say(f"Kept: {verdict.model} in {verdict.framework}, verified {verdict.verified}; --force makes it anew")
    if wanted := [name for name in asked if name not in found]:
        probed = verify.probe_all(spec, wanted, shows=verification.last_that_shows, say=_say)
        made = verification.verdicts(spec.model, probed)
        found |= {verdict.framework: verdict for verdict in made}
        try:
            for verdict in made:
                verification.keep(verdicts.identity(spec, verdict.framework), verdict)
        except HwprofError as error:
            failures.append((spec.model, error))
    return [found[name] for name in asked]


def _complain(found: Sequence[Verdict], failures: Failures) -> None:
    """One line for each model that could not be verified; then ends with an error where not all is well."""
    for model, failure in failures[:-1]:
        complain(f"{model}: {failure}")
    differing = [f"{verdict.model} in {verdict.framework}" for verdict in found if not verdict.agrees]
    if differing:
        if failures:
            complain(f"{failures[-1][0]}: {failures[-1][1]}")
        raise HwprofError(
            f"Not the same as in PyTorch: {', '.join(differing)}.",
            remedy="Matched runs of these must not be compared; `hwprof verify MODEL` names the tensors that differ.",
            exit_code=FAILED,
        )
    if failures:
        raise failures[-1][1]


def _say(line: str) -> None:
    click.echo(line, err=True)
