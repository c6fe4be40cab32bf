"""raw/ to summary.json: ingest, analyses, summary. Shared by the commands that need it."""

import contextlib
from pathlib import Path

import duckdb

from toolkit.analyses import matched, runtime, utilisation
from toolkit.analyses.sound import sound
from toolkit.analyses.summary import summarise
from toolkit.capture import runs
from toolkit.capture.files import write_whole
from toolkit.commands.progress import waiting
from toolkit.errors import FAILED, INTERRUPTED, HwprofError
from toolkit.ingest.run import ingest
from toolkit.ingest.store import connect
from toolkit.reports.stacks import write_speedscope
from toolkit.reports.summary_json import encode


def has_store(folder: Path) -> bool:
    """Whether a run folder was ingested: every pass has marks, where traces and readings may be of none."""
    return (folder / "marks.parquet").exists()


def digest(folder: Path) -> None:
    """Makes the store and summary.json of a run folder, anew where they are there already.

    HwprofError where they cannot be made, as on a full disk.
    """
    try:
        with waiting(f"Reading what {folder.name} recorded"):
            _digest(folder)
    except (OSError, duckdb.Error) as error:
        raise HwprofError(
            f"The tables of {folder.name} cannot be made: {error}.",
            remedy=f"Make room, and let {folder} be written.",
            exit_code=FAILED,
        ) from error


def _digest(folder: Path) -> None:
    ingest(folder)
    batch = runs.spec_of(folder).batch
    with sound(folder), connect(folder) as connection:
        summary = summarise(
            connection,
            runtime=runtime.read(folder),
            matched=matched.read(folder),
            batch=batch,
            epoch_samples=runs.facts_of(folder).get("train_samples"),
            work=utilisation.read(folder),
        )
        write_speedscope(connection, folder)
    write_whole(folder / "summary.json", encode(summary))


def finish(folder: Path, outcome: runs.Outcome) -> runs.Outcome:
    """Ingest and summary, then the status; a failure or Ctrl-C on the way becomes the run's outcome."""
    try:
        digest(folder)
    except KeyboardInterrupt:
        outcome = runs.Outcome("interrupted", "stopped while its records were read", INTERRUPTED)
    except HwprofError as error:
        if outcome == runs.COMPLETE:
            outcome = runs.Outcome("failed", str(error), FAILED)
    # On a full disk the run stays `incomplete`, and the line that follows says why.
    with contextlib.suppress(OSError):
        runs.close(folder, **outcome._asdict())
    return outcome
