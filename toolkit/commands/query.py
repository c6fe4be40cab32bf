"""`hwprof query`."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from toolkit.analyses import matched, query
from toolkit.capture import runs
from toolkit.commands import progress, sources
from toolkit.commands.console import Harmless, console
from toolkit.commands.digest import digest
from toolkit.errors import HwprofError, complain, printable
from toolkit.ingest import cache
from toolkit.ingest.store import text_of
from toolkit.reports import answers
from toolkit.spec import RunSpec


@click.command
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
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
    hwprof query last "SELECT name, count(*) AS calls FROM slices WHERE kind = 'op' GROUP BY name ORDER BY calls DESC"
    hwprof query all "SELECT run, epoch, part, ns FROM epoch_ledger" --csv
    hwprof query trace.pt.trace.json.gz "SUMMARIZE slices"
    """
    if form and parquet:
        raise HwprofError("An answer has one form.", remedy=f"Give --{form} or --parquet.")
    stores = _stores(names, runs_folder, shown=progress.wanted(as_json=form is not None))
    if unshown := matched.doubtful(matched.compared(sources.runs_among(stores.values()))):
        complain(f"Compare no figures of these. {matched.not_the_same(unshown)}")
    answer = query.ask(stores, [_facts(name, folder) for name, folder in stores.items()], question)
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


def _stores(names: Sequence[str], runs_folder: Path, *, shown: bool) -> dict[str, Path]:
    """The store of each run or trace by its name; of two of one name, by where they lie."""
    found, failures = sources.find(path for name in names for path in _paths(name, runs_folder))
    if failures:
        raise failures[0]
    if not found:
        raise HwprofError(f"There are no runs in {runs_folder}.", remedy="Make one, or name a trace.")
    stores: dict[str, Path] = {}
    with progress.watching(found, shown=shown) as watch_of:
        for path in found:
            is_run = (path / runs.SPEC).exists()
            if is_run and not (path / "traces.parquet").exists():
                digest(path)
            name = path.name if is_run and path.name not in stores else text_of(path)
            stores[name] = path if is_run else cache.stored(path, watch=watch_of(path))
    return stores


def _paths(name: str, runs_folder: Path) -> list[Path]:
    if name == "all":
        return runs.folders(runs_folder)
    return [Path(name) if Path(name).exists() else runs.find(runs_folder, name)]


def _facts(name: str, folder: Path) -> dict[str, Any]:
    """The row of `runs`: what was asked of the run, the device that it ran on, how it ended; NULL of a trace."""
    settings: dict[str, Any] = {field.name: None for field in dataclasses.fields(RunSpec)}
    if (folder / runs.SPEC).exists():
        settings |= dataclasses.asdict(runs.spec_of(folder)) | {"device": runs.device_of(folder)}
        return {"run": name, "status": runs.status_of(folder)["status"], **settings}
    return {"run": name, "status": None, **settings}
