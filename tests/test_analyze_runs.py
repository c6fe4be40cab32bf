"""`hwprof analyze` of run folders."""

import json
from pathlib import Path

from tests.test_analyze_input import analyze
from tests.test_matched import launched
from toolkit.ingest import kineto
from toolkit.ingest.store import StoreWriter


def test_a_run_is_told_from_another_by_its_folder(tmp_path: Path) -> None:
    """Each trace of a run stands under the way to it, not under what every run calls it."""
    folders = [launched(tmp_path / name, "torch", mode="as-shipped") for name in ("one", "two")]
    for folder in folders:
        (trace,) = folder.glob("raw/profile/trace/*")
        with StoreWriter(folder) as store:
            kineto.read(trace, trace=0, pass_name="profile", store=store)
    found = json.loads(analyze(tmp_path / "cache", *folders, "--json").stdout)["traces"]
    traces = [folder / "raw" / "profile" / "trace" / "worker.pt.trace.json.gz" for folder in folders]
    assert [trace["path"] for trace in found] == list(map(str, traces))
