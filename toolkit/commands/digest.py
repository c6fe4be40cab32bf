"""raw/ to summary.json: ingest, analyses, summary. Shared by the commands that need it."""

from pathlib import Path

from toolkit.analyses import matched, runtime, utilisation
from toolkit.analyses.sound import sound
from toolkit.analyses.summary import summarise
from toolkit.capture import runs
from toolkit.capture.files import write_whole
from toolkit.ingest.run import ingest
from toolkit.ingest.store import connect
from toolkit.reports.stacks import write_speedscope
from toolkit.reports.summary_json import encode
from toolkit.spec import from_json


def digest(folder: Path) -> None:
    """Makes the store and summary.json of a run folder, anew where they are there already."""
    ingest(folder)
    batch = from_json((folder / runs.SPEC).read_text(encoding="utf-8")).batch
    with sound(folder), connect(folder) as connection:
        summary = summarise(
            connection,
            runtime=runtime.read(folder),
            matched=matched.read(folder),
            batch=batch,
            work=utilisation.read(folder),
        )
        write_speedscope(connection, folder)
    write_whole(folder / "summary.json", encode(summary))
