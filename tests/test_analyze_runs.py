"""`hwprof analyze` of run folders."""

import json
from pathlib import Path

from tests.made_runs import made_run, marks
from tests.test_analyze_input import analyze
from tests.test_matched import launched
from toolkit.errors import BAD_INPUT
from toolkit.ingest import kineto
from toolkit.ingest.store import StoreWriter


def test_a_run_is_told_from_another_by_its_folder(tmp_path: Path) -> None:
    """Each trace of a run stands under the way to it, not under what every run calls it."""
    folders = [launched(tmp_path / name, "torch", mode="as-shipped") for name in ("one", "two")]
    for folder in folders:
        (trace,) = folder.glob("raw/profile/trace/*")
        with StoreWriter(folder) as store:
            store.append_rows("marks", marks(10.0))
            kineto.read(trace, trace=0, pass_name="profile", store=store)
    found = json.loads(analyze(tmp_path / "cache", *folders, "--json").stdout)["traces"]
    traces = [folder / "raw" / "profile" / "trace" / "worker.pt.trace.json.gz" for folder in folders]
    assert [trace["path"] for trace in found] == list(map(str, traces))


def test_a_run_without_a_trace_is_named(tmp_path: Path) -> None:
    """It is neither silence nor a success; JSON stays an object."""
    folder = made_run(tmp_path / "bare")
    answer = analyze(tmp_path / "cache", folder, "--json")
    assert answer.returncode == BAD_INPUT
    assert answer.stderr.startswith(f"hwprof: {folder} recorded no native trace.")
    assert json.loads(answer.stdout) == {"forced": None, "traces": [], "jobs": []}
