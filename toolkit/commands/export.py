"""`hwprof export`."""

import shutil
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Literal

import click
import duckdb

from toolkit import schema
from toolkit.analyses import query
from toolkit.capture.files import whole, write_whole
from toolkit.commands import completion, progress, stores
from toolkit.errors import HwprofError
from toolkit.ingest.store import connect
from toolkit.reports import stacks, timeline

Target = Literal["perfetto", "parquet", "speedscope"]
ENDINGS = {"perfetto": ".pftrace", "parquet": "-parquet", "speedscope": ".speedscope.json"}


@click.command
@click.argument("names", metavar="RUN...", nargs=-1, required=True, shell_complete=completion.runs)
@click.option("--to", "target", type=click.Choice(list(ENDINGS)), required=True, help="What to make.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Where; by default RUN.pftrace and the like, here."
)
@click.option(
    "--align",
    type=click.Choice(["start", "clock"]),
    help="Of several: all from one moment on, or as they were; by default as they were, if they overlap.",
)
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
def command(names: tuple[str, ...], target: Target, output: Path | None, align: str | None, runs_folder: Path) -> None:
    """Write runs or traces for other programs, several side by side.

    RUN is a run's name or folder, `last`, `all`, or a trace or a folder of them. perfetto: one timeline for
    ui.perfetto.dev, of the loop's marks, device work and the launches that asked for it, threads, Python stacks, power,
    memory and utilisation, and allocators. parquet: a folder with a file a table of docs/schema.md, each with the
    column `run`. speedscope: Python stacks, where py-spy recorded some (PYSPY=true).

    \b
    Examples:
      hwprof export last --to perfetto
      hwprof export rank0.pt.trace.json.gz rank1.pt.trace.json.gz --to perfetto -o job.pftrace
      hwprof export all --to parquet -o tables
    """
    found = stores.find(names, runs_folder, shown=True)
    path = output or Path((Path(next(iter(found))).name if len(found) == 1 else "runs") + ENDINGS[target])
    try:
        with progress.waiting(f"Writing {path.name}"):
            if target == "perfetto":
                _perfetto(found, path, align)
            else:
                {"parquet": _parquet, "speedscope": _speedscope}[target](found, path)
    except (OSError, duckdb.IOException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise HwprofError(f"{path} cannot be written: {reason}.", remedy="Give another -o.") from error
    click.echo(f"Written: {path}", err=True)


def _perfetto(found: Mapping[str, Path], path: Path, align: str | None) -> None:
    extents = {name: timeline.extent(folder) for name, folder in found.items()}
    firsts = {name: extent.first_ns for name, extent in extents.items() if extent.first_ns is not None}
    if not firsts:
        raise HwprofError(f"{', '.join(found)} holds nothing that has a time.", remedy="Name another run or trace.")
    align = align or ("clock" if _overlap(extents.values()) else "start")
    if align == "start" and len(found) > 1:
        click.echo("Aligned by their starts; --align clock leaves them as they were.", err=True)
    first = min(firsts.values())
    shifts = {name: first - firsts.get(name, first) if align == "start" else 0 for name in found}
    with whole(path) as partial, partial.open("wb") as file:
        timeline.write(found, shifts, first, file)


def _overlap(extents: Iterable[timeline.Extent]) -> bool:
    """Whether each goes on when the next begins, or there is just one."""
    known = sorted((first, last) for first, last in extents if first is not None and last is not None)
    reached = list(accumulate((last for _, last in known), max))
    return all(first <= until for (first, _), until in zip(known[1:], reached, strict=False))


def _parquet(found: Mapping[str, Path], path: Path) -> None:
    path.mkdir(parents=True)
    try:
        with query.opened(found, stores.facts(found)) as connection:
            for table in (*schema.TABLES, query.RUNS):
                connection.table(table).write_parquet(str(path / f"{table}.parquet"), compression="zstd")
    except BaseException:
        shutil.rmtree(path)
        raise


def _speedscope(found: Mapping[str, Path], path: Path) -> None:
    name, folder = next(iter(found.items()))
    if len(found) > 1:
        raise HwprofError("A speedscope file is of one run.", remedy=f"Name one, such as {name}.")
    with connect(folder) as connection:
        text = stacks.speedscope_of(connection)
    if text is None:
        raise HwprofError(f"{name} holds no Python stacks with times.", remedy="Record them: make profile PYSPY=true.")
    write_whole(path, text)
