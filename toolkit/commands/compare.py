"""`hwprof compare`."""

from pathlib import Path

import click
import msgspec

from toolkit.analyses import comparable, comparison, gate, matched, memory_comparison
from toolkit.capture import runs
from toolkit.commands import completion, progress
from toolkit.commands.console import console
from toolkit.commands.options import check_given
from toolkit.commands.sides import folders_of, given, summary_of
from toolkit.errors import FAILED, HwprofError
from toolkit.reports import comparison as report
from toolkit.reports import memory_comparison as memory_report

FORMATS = ("table", "markdown", "json")
WHOLE = 100
# What --memory heeds: it claims nothing, so that there is neither a margin nor a gate.
OF_MEMORY = frozenset({"names", "memory", "runs_folder", "format_", "as_json", "force"})


@click.command
@click.argument("names", metavar="SIDE...", nargs=-1, required=True, shell_complete=completion.runs)
@click.option("--memory", is_flag=True, help="Only the difference in memory, of two runs: what each part is, too.")
@click.option("--margin", default=3.0, show_default=True, type=float, metavar="PERCENT",
              help="A difference is claimed outside of it.")  # fmt: skip
@click.option("--fail-on", metavar="CONDITIONS", help='Exit 1 on a shown difference, as "step_time>5%,peak_memory>2%".')
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True, help="What is printed."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; as --format json.")
@click.option("--force", is_flag=True, help="Compare what differs in more than what is compared, and say so.")
def command(  # noqa: PLR0913 - one parameter an option
    names: tuple[str, ...],
    runs_folder: Path,
    fail_on: str | None,
    margin: float,
    format_: str,
    *,
    memory: bool,
    as_json: bool,
    force: bool,
) -> None:
    """Hold runs to each other: what differs, by how much at least, and which parts make it up.

    A SIDE is a run, or repeats of it with commas between (RUN,RUN,RUN; a pattern in quotes stands for all that it
    fits). The first is what the others are held to. Of a sweep the points are held to each other along its axes, of two
    sweeps point by point. One value stands for one process, so that a difference is claimed
    from three repeats a side on. Runs that differ in model, precision, data or hardware, and matched runs of several
    frameworks that `hwprof verify` did not find the same, are refused without --force; two modes always.

    \b
    Examples:
      hwprof compare RUN,RUN,RUN RUN,RUN,RUN
      hwprof compare "*-torch-resnet18-*" "*-tf-resnet18-*" --format markdown
      hwprof compare SWEEP
      hwprof compare RUN,RUN,RUN RUN,RUN,RUN --fail-on "step_time>5%,peak_memory>2%"

    Exit codes: 0 no condition of --fail-on failed, 1 one did, 2 runs that cannot be compared, or conditions not tested.
    """
    format_ = "json" if as_json else format_
    # `not` so that NaN is refused, too
    if not 0 <= margin <= WHOLE:
        raise HwprofError(f"A margin of {margin:g} % is none.", remedy="Give 0 to 100.")
    if memory:
        check_given(OF_MEMORY, "--memory explains a difference, and judges none")
        _memory([folders_of(runs_folder, name) for name in names], force=force, format_=format_)
        return
    conditions = gate.parse(fail_on) if fail_on is not None else []
    with progress.waiting("Comparing"):
        pairs, notes = given(runs_folder, names)
        forced = comparable.check(pairs, force=force)
        judged = gate.judge(conditions, pairs) if conditions else None
        found = comparison.compare(pairs, margin=margin / WHOLE, forced=forced, gate=judged, notes=notes)
    _print(found, format_)
    if judged and judged.failed:
        click.get_current_context().exit(FAILED)


def _print(found: comparison.Comparison, format_: str) -> None:
    match format_:
        case "json":
            _print_json(found)
        case "markdown":
            click.echo(report.markdown(found), nl=False)
        case _:
            console().print(report.report(found))


def _print_json(found: msgspec.Struct) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())


def _memory(sides: list[list[Path]], *, force: bool, format_: str) -> None:
    if format_ == "markdown":
        raise HwprofError("--memory has no Markdown of its own.", remedy="Leave it out: memory is among the parts.")
    if [len(folders) for folders in sides] != [1, 1]:
        raise HwprofError("--memory explains two runs.", remedy="Give two, or leave it out.")
    forced = matched.check([folder for (folder,) in sides], force=force)
    found = memory_comparison.compare(*(_side(folder) for (folder,) in sides), forced=forced)
    if format_ == "json":
        _print_json(found)
    else:
        console().print(memory_report.report(found))


def _side(folder: Path) -> memory_comparison.Side:
    return memory_comparison.Side(
        name=folder.name, spec=runs.spec_of(folder), allocators=summary_of(folder).allocators
    )  # fmt: skip
