"""A run folder: raw/ in, the store beside it out. Runs again at any time."""

import tempfile
from pathlib import Path

from toolkit.errors import FAILED, HwprofError
from toolkit.ingest import formats, place, place_stacks, records
from toolkit.ingest.store import StoreWriter
from toolkit.own_spec import ALL_PASSES

# Of replicas that are processes of their own: a run's figures are rank 0's, whose marks these traces do not share.
OTHER_RANKS = "rank[1-9]*"
TRACE_PATTERNS = ("trace/*.pt.trace.json*", "trace/plugins/profile/*/*.xplane.pb")
# Told beside the native trace: the allocator's snapshot, what was alive, and py-spy's stacks.
BESIDE = ("trace/memory_snapshot.pickle", "trace/memory.prof", "pyspy.json")
RECORDS = ("worker.jsonl", "samplers.jsonl", "gpu.jsonl")


def ingest(folder: Path) -> None:
    """Reads every pass's records and native traces into `folder`'s tables, and places slices in epochs and steps."""
    passes = [name for name in ALL_PASSES if (folder / "raw" / name / RECORDS[0]).exists()]
    if not passes:
        raise HwprofError(f"{folder} holds no recorded pass.", remedy="Its worker never started.", exit_code=FAILED)
    trace = 0
    with StoreWriter(folder) as store:
        for name in passes:
            raw = folder / "raw" / name
            for file in RECORDS:
                if (raw / file).exists():
                    records.read(raw / file, pass_name=name, store=store)
            for path in (path for path in native_traces(raw) if not path.match(OTHER_RANKS)):
                formats.importer_of(path).read(path, trace=trace, pass_name=name, store=store)
                trace += 1
            for path in (raw / file for file in BESIDE if (raw / file).exists()):
                trace += _beside(path, trace, name, store)
    place.place(folder)
    place_stacks.place(folder)


def _beside(path: Path, trace: int, pass_name: str, store: StoreWriter) -> bool:
    """Whether a file beside the native trace was read; one that cannot be is a warning: the run is sound without it."""
    try:
        importer = formats.importer_of(path)
        with tempfile.TemporaryDirectory() as trial, StoreWriter(Path(trial)) as unused:
            importer.read(path, trace=trace, pass_name=pass_name, store=unused)
    except HwprofError as error:
        warning = {"pass_name": pass_name, "code": "unreadable_file", "count": 1, "message": str(error)}
        store.append_rows("warnings", [warning | {"untrusted": False}])
        return False
    importer.read(path, trace=trace, pass_name=pass_name, store=store)
    return True


def other_ranks(folder: Path) -> list[Path]:
    """The traces of a run that its own tables leave out: those of the ranks beside rank 0."""
    traces = (path for name in ALL_PASSES for path in native_traces(folder / "raw" / name))
    return [path for path in traces if path.match(OTHER_RANKS)]


def native_traces(raw: Path) -> list[Path]:
    """The native profiler's files of one pass, oldest name first."""
    return sorted(path for pattern in TRACE_PATTERNS for path in raw.glob(pattern))
