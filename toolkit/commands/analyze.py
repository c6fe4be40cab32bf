"""`hwprof analyze`."""

from pathlib import Path

import click
import msgspec
from msgspec import structs

from toolkit.analyses import matched
from toolkit.analyses.kept import Analysed, analysed, kept
from toolkit.analyses.ranks import Analysis, jobs
from toolkit.capture import runs
from toolkit.commands import progress, sources
from toolkit.commands.console import Harmless, console
from toolkit.commands.digest import digest, has_store
from toolkit.errors import HwprofError, complain
from toolkit.ingest import cache
from toolkit.ingest.store import text_of
from toolkit.reports import traces


@click.command
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--salvage", is_flag=True, help="Of a damaged file, analyse what comes before the damage.")
@click.option("--force", is_flag=True, help="Analyse matched runs together that are not verified to be the same.")
def command(paths: tuple[Path, ...], *, as_json: bool, salvage: bool, force: bool) -> None:
    """Analyse traces that any profiler run left: files, folders of them, or runs.

    A trace is read once: its tables are kept in the cache folder by the file's content. A path that cannot be analysed
    is named on stderr, and the others are analysed all the same; the exit code then is not 0. So is a run that recorded
    no native trace, of which --json prints an object without traces. Matched runs of several frameworks are analysed
    together where `hwprof verify` found them the same, runs of two modes never.

    \b
    Examples:
      hwprof analyze trace.pt.trace.json.gz
      hwprof analyze log/ --json
      hwprof analyze runs/20261121-114447-torch-resnet50-cpu-train-5086
    """
    found, failures = sources.find(paths)
    forced = matched.check(sources.runs_among(found), force=force)
    answers: list[Analysed] = []
    with progress.watching(found, shown=progress.wanted(as_json=as_json)) as watch_of:
        for path in found:
            try:
                answers.append(_traces(path, salvage=salvage, watch=watch_of(path)))
            except HwprofError as error:
                failures.append(error)
                continue
            if not answers[-1]:
                remedy = "`hwprof show` reports what it did record."
                failures.append(HwprofError(f"{path} recorded no native trace.", remedy=remedy))
    whole = [answer for each in answers for answer in each]
    if whole or (as_json and answers):
        traces_ = [trace for trace, _ in whole]
        _print(Analysis(forced=forced, traces=traces_, jobs=jobs(whole)), as_json=as_json)
    if failures:
        for failure in failures[:-1]:
            complain(failure)
        raise failures[-1]


def _print(analysis: Analysis, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(analysis), indent=1).decode())
    else:
        console().print(Harmless(traces.report(analysis)))


def _traces(path: Path, *, salvage: bool, watch: progress.Watch) -> Analysed:
    if (path / runs.SPEC).exists():
        return _run(path)
    return kept(cache.stored(path, salvages=salvage, watch=watch), text_of(path))


def _run(folder: Path) -> Analysed:
    if not has_store(folder):
        digest(folder)
    # the store knows its traces by where they lie in the run, which does not tell one run from another
    return [(structs.replace(trace, path=text_of(folder / trace.path)), own) for trace, own in analysed(folder)]
