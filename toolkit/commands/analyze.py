"""`hwprof analyze`."""

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from toolkit.analyses.ranks import Analysis, Collectives, collectives, jobs
from toolkit.analyses.sound import sound
from toolkit.analyses.traces import TraceAnalysis, analyse
from toolkit.capture import runs
from toolkit.commands.console import console
from toolkit.commands.digest import digest
from toolkit.errors import HwprofError
from toolkit.ingest import cache, formats
from toolkit.ingest.store import connect
from toolkit.reports import traces


@click.command
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(paths: tuple[Path, ...], *, as_json: bool) -> None:
    """Analyse traces that any profiler run left: files, folders of them, or runs.

    A trace is read once: its tables are kept in the cache folder by the file's content.

    \b
    hwprof analyze trace.pt.trace.json.gz
    hwprof analyze log/ --json
    hwprof analyze runs/20261121-114447-torch-resnet50-cpu-train-5086
    """
    found = [trace for path in paths for trace in _traces(path)]
    analysis = Analysis(traces=[trace for trace, _ in found], jobs=jobs(found))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(analysis), indent=1).decode())
    else:
        console().print(traces.report(analysis))


def _traces(path: Path) -> Iterator[tuple[TraceAnalysis, Collectives]]:
    if not path.exists():
        raise HwprofError(f"There is no {path}.", remedy="Give a trace, a folder of traces, or a run.")
    if (path / runs.SPEC).exists():
        yield from _run(path)
        return
    for file in _files(path):
        yield from _analysed(cache.stored(file), str(file))


def _run(folder: Path) -> list[tuple[TraceAnalysis, Collectives]]:
    if not (folder / "traces.parquet").exists():
        digest(folder)
    return _analysed(folder)


def _analysed(store: Path, path: str | None = None) -> list[tuple[TraceAnalysis, Collectives]]:
    """Each trace of a store, with its collectives, which only the comparison of ranks needs."""
    with sound(store), connect(store) as connection:
        found = collectives(connection)
        return [(trace, found[number]) for number, trace in enumerate(analyse(connection, path))]


def _files(path: Path) -> list[Path]:
    """The file itself, or every trace in the folder."""
    if path.is_file():
        return [path]
    found = [file for file in sorted(path.rglob("*")) if file.is_file() and formats.knows(file)]
    if not found:
        raise HwprofError(f"{path} holds no trace.", remedy=f"Known formats: {formats.NAMES}.")
    return found
