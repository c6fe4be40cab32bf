"""A run folder: raw/ in, the store beside it out. Runs again at any time."""

import tempfile
from pathlib import Path

from toolkit.errors import FAILED, HwprofError
from toolkit.ingest import formats, place, place_stacks, pyspy, records
from toolkit.ingest.store import StoreWriter
from toolkit.spec import PASSES

TRACE_PATTERNS = (
    "trace/*.pt.trace.json*",
    "trace/plugins/profile/*/*.xplane.pb",
    "trace/memory_snapshot.pickle",
    "trace/memory.prof",
)
STACKS = "pyspy.json"
RECORDS = ("worker.jsonl", "samplers.jsonl", "gpu.jsonl")


def ingest(folder: Path) -> None:
    """Reads every pass's records and native traces into `folder`'s tables, and places slices in epochs and steps."""
    passes = [name for name in PASSES if (folder / "raw" / name / RECORDS[0]).exists()]
    if not passes:
        raise HwprofError(f"{folder} holds no recorded pass.", remedy="Its worker never started.", exit_code=FAILED)
    trace = 0
    with StoreWriter(folder) as store:
        for name in passes:
            raw = folder / "raw" / name
            for file in RECORDS:
                if (raw / file).exists():
                    records.read(raw / file, pass_name=name, store=store)
            for path in native_traces(raw):
                formats.importer_of(path).read(path, trace=trace, pass_name=name, store=store)
                trace += 1
            if (raw / STACKS).exists():
                trace += _stacks(raw / STACKS, trace, name, store)
    place.place(folder)
    place_stacks.place(folder)


def _stacks(path: Path, trace: int, pass_name: str, store: StoreWriter) -> bool:
    """Whether py-spy's trace was read; one that it left damaged is a warning, for the run is sound without it."""
    try:
        with tempfile.TemporaryDirectory() as trial, StoreWriter(Path(trial)) as unused:
            pyspy.read(path, trace=trace, pass_name=pass_name, store=unused)
    except HwprofError as error:
        warning = {"pass_name": pass_name, "code": "stacks_unreadable", "count": 1, "message": str(error)}
        store.append_rows("warnings", [warning | {"untrusted": False}])
        return False
    pyspy.read(path, trace=trace, pass_name=pass_name, store=store)
    return True


def native_traces(raw: Path) -> list[Path]:
    """The native profiler's files of one pass, oldest name first; then what it told of memory apart from them."""
    return [path for pattern in TRACE_PATTERNS for path in sorted(raw.glob(pattern))]
