"""`hwprof query`."""

import sys
from pathlib import Path
from typing import Any, Literal

import click

from toolkit.analyses import matched, query
from toolkit.commands import completion, progress, sources, stores
from toolkit.commands.console import Harmless, console
from toolkit.errors import HwprofError, complain, printable
from toolkit.reports import answers


@click.command
@click.argument("names", metavar="RUN...", nargs=-1, required=True, shell_complete=completion.runs)
@click.argument("question", metavar="SQL")
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option("--json", "form", flag_value="json", help="Print a JSON list with an object a row.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--parquet", type=click.Path(path_type=Path, dir_okay=False), help="Write this Parquet file instead.")
def command(
    names: tuple[str, ...], question: str, runs_folder: Path, form: Literal["json", "csv"] | None, parquet: Path | None
) -> None:
    """Answer a question in SQL about runs or traces, many at once.

    RUN is a run's name or folder, `last`, `all`, or a trace or a folder of them. The tables are those of docs/schema.md
    and the analyses of docs/analyses.md, each with the column `run` before its own, and `runs`, a row a run. The
    question is one SELECT of DuckDB's SQL: it changes nothing, and reads no file and no network.

    \b
    Examples:
      hwprof query last "SELECT name, count(*) AS calls FROM slices WHERE kind = 'op' GROUP BY name ORDER BY calls DESC"
      hwprof query all "SELECT run, epoch, part, ns FROM epoch_ledger" --csv
      hwprof query trace.pt.trace.json.gz "SUMMARIZE slices"
    """
    if form and parquet:
        raise HwprofError("An answer has one form.", remedy=f"Give --{form} or --parquet.")
    found = stores.find(names, runs_folder, shown=progress.wanted(as_json=form is not None))
    if unshown := matched.doubtful(matched.compared(sources.runs_among(found.values()))):
        complain(f"Compare no figures of these. {matched.not_the_same(unshown)}")
    answer = query.ask(found, stores.facts(found), question)
    if parquet:
        _write(answer, parquet)
    elif form:
        _print({"json": answers.json, "csv": answers.csv}[form](answer))
    else:
        console().print(Harmless(answers.table(answer)))


def _print(text: str) -> None:
    """As it is for programs; on a terminal what it might obey is escaped."""
    shown = "\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text
    click.echo(shown, nl=not shown.endswith("\n"), color=True)


def _write(answer: Any, path: Path) -> None:
    try:
        answers.write_parquet(answer, path)
    except OSError as error:
        reason = error.strerror or error
        raise HwprofError(f"{path} cannot be written: {reason}.", remedy="Give another --parquet.") from error
    click.echo(f"{path}: {answer.num_rows:,} rows", err=True)
