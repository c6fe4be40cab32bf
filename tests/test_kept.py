"""What was analysed once is answered from what is kept of it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.test_analyze import trace_of, written
from toolkit.analyses import kept
from toolkit.commands.analyze import command


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def answer(*paths: Path) -> Any:
    """What `hwprof analyze --json` says of traces."""
    result = CliRunner().invoke(command, [*map(str, paths), "--json"], catch_exceptions=False)
    return json.loads(result.stdout)


def ranks(folder: Path) -> list[Path]:
    """Two ranks that wait for each other."""
    times = {0: 10, 1: 40}
    return [
        written(folder, f"rank{rank}", trace_of(("gemm", 1, 5), ("ncclAllReduce", start, 100 - start), rank=rank))
        for rank, start in times.items()
    ]


def unanalysed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, analysing is a failure."""

    def fail(*_: object) -> None:
        raise AssertionError("analysed again")

    monkeypatch.setattr(kept, "analyse", fail)


def test_the_same_content_is_analysed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All figures come again, those of the comparison of ranks too, under the names that the files have now."""
    traces = ranks(tmp_path)
    first = answer(*traces)
    unanalysed(monkeypatch)
    assert answer(*traces) == first
    moved = traces[0].rename(tmp_path / "moved.pt.trace.json.gz")
    assert answer(moved, traces[1])["traces"][0] == first["traces"][0] | {"path": str(moved)}


@pytest.mark.e2e
@pytest.mark.parametrize("change", ["damaged", "cut", "gone"])
def test_what_is_kept_and_damaged_is_made_anew(tmp_path: Path, change: str) -> None:
    """The answer is the same, and there is one again."""
    traces = ranks(tmp_path)
    first = answer(*traces)
    places = sorted(tmp_path.glob("cache/hwprof/stores/*/analysed-*"))
    assert len(places) == len(traces)
    for place in places:
        content = place.read_bytes()
        place.unlink()
        if change != "gone":
            place.write_bytes(content[: len(content) // 2] if change == "cut" else b"\x00" + content)
    assert answer(*traces) == first
    assert sorted(tmp_path.glob("cache/hwprof/stores/*/analysed-*")) == places


@pytest.mark.parametrize("why", ["code", "table"])
def test_other_code_and_other_tables_are_analysed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Figures of older code, or of tables that someone changed since, are no answer; one is kept at a time."""
    (trace, _) = ranks(tmp_path)
    first = answer(trace)
    (place,) = tmp_path.glob("cache/hwprof/stores/*/analysed-*")
    if why == "code":
        monkeypatch.setattr(kept, "_code", lambda: "of another version")
    else:
        os.utime(place.with_name("slices.parquet"), ns=(0, 0))
    assert answer(trace) == first
    (other,) = tmp_path.glob("cache/hwprof/stores/*/analysed-*")
    assert other != place


def test_a_store_that_cannot_be_written_to_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping is a help, not a need."""
    (trace, _) = ranks(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(kept, "_keep", refuse)
    first = answer(trace)
    assert answer(trace) == first
