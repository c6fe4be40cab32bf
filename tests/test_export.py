"""`hwprof export`: one timeline for Perfetto, read back by Perfetto itself; Parquet; speedscope."""

import functools
import json
import resource
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow.parquet as pq
import pytest
import viztracer
from click.testing import CliRunner, Result
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped] # stubs, and no py.typed
    Trace,
    TrackEvent,
)
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

from tests import pyspy_traces
from tests.browser import browser, needs_browser
from tests.stores import SHARED, needs_traces, rows
from tests.test_analyze import HOSTILE, trace_of, written
from toolkit import schema
from toolkit.commands.export import command
from toolkit.errors import HwprofError
from toolkit.ingest.store import connect

US = 1_000
PATIENCE_S = 120


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def export(*words: Any) -> Result:
    """What the command says and writes."""
    return CliRunner().invoke(command, [*map(str, words)], catch_exceptions=False)


def store_of(folder: Path) -> Path:
    """The only store in the cache."""
    (found,) = (folder / "cache" / "hwprof" / "stores").iterdir()
    return found


class Slice(NamedTuple):
    """One slice of an exported trace: its track's name with those above it, its times in ns, its flows."""

    track: str
    name: str
    ts_ns: int
    dur_ns: int
    flows: tuple[int, ...]


def slices(path: Path) -> list[Slice]:
    """Every slice of an exported trace, paired as Perfetto does: an end is of what its track began last."""
    trace = Trace.FromString(path.read_bytes())
    names, tracks, open_, found = {}, {0: ""}, defaultdict(list), []
    for packet in trace.packet:
        names |= {entry.iid: entry.name for entry in packet.interned_data.event_names}
        event = packet.track_event
        if packet.HasField("track_descriptor"):
            described = packet.track_descriptor
            tracks[described.uuid] = f"{tracks[described.parent_uuid]}/{described.name}"
        elif event.type == TrackEvent.TYPE_SLICE_BEGIN:
            open_[event.track_uuid].append((names[event.name_iid], packet.timestamp, tuple(event.flow_ids)))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            name, start, flows = open_[event.track_uuid].pop()
            found.append(Slice(tracks[event.track_uuid], name, start, packet.timestamp - start, flows))
    assert not any(open_.values())
    return found


def test_a_timeline_holds_every_slice_and_joins_launches_to_kernels(tmp_path: Path) -> None:
    """Names, starts and durations to the nanosecond; a kernel and its launch have one flow of their own."""
    trace = written(tmp_path, "one", trace_of(("gemm", 10, 5), (HOSTILE, 20, 7)))
    export(trace, "--to", "perfetto", "-o", tmp_path / "one.pftrace")
    found = slices(tmp_path / "one.pftrace")
    kernels = {each.name: each for each in found if each.track.endswith("/devices/GPU 0, stream 7")}
    assert {name: (each.ts_ns, each.dur_ns) for name, each in kernels.items()} == {
        "gemm": (10 * US, 5 * US), HOSTILE: (20 * US, 7 * US),
    }  # fmt: skip
    launches = {each.flows: each for each in found if each.name == "cudaLaunchKernel"}
    assert [launches[kernel.flows].ts_ns for kernel in kernels.values()] == [9 * US, 19 * US]


def test_what_overlaps_without_nesting_lies_side_by_side(tmp_path: Path) -> None:
    """In lanes of one name; each keeps its own duration."""
    trace = written(tmp_path, "one", trace_of(("a", 10, 5), ("b", 12, 5), ("c", 12, 2), ("d", 15, 0)))
    export(trace, "--to", "perfetto", "-o", tmp_path / "one.pftrace")
    kernels = [each for each in slices(tmp_path / "one.pftrace") if "stream" in each.track]
    assert {each.name: each.dur_ns // US for each in kernels} == {"a": 5, "b": 5, "c": 2, "d": 0}
    assert len({each.track for each in kernels}) == 1


@pytest.mark.parametrize(
    ("apart", "align", "begins"), [(3, None, 13), (1000, None, 10), (1000, "clock", 1010), (3, "start", 10)]
)
def test_several_lie_side_by_side(tmp_path: Path, apart: int, align: str | None, begins: int) -> None:
    """Below a track each; on their own clock where they overlap, else from one moment on, which is said."""
    traces = [written(tmp_path, name, trace_of(("gemm", at, 5))) for name, at in (("a", 10), ("b", 10 + apart))]
    options = ["--align", align] if align else []
    said = export(*traces, "--to", "perfetto", "-o", tmp_path / "both.pftrace", *options).output
    starts = {
        each.track.split("/devices")[0]: each.ts_ns for each in slices(tmp_path / "both.pftrace") if each.name == "gemm"
    }
    assert starts == {f"/{traces[0]}": 10 * US, f"/{traces[1]}": begins * US}
    assert ("Aligned by their starts" in said) == (begins == 10)
    flows = [each.flows for each in slices(tmp_path / "both.pftrace") if each.name == "gemm"]
    assert len(set(flows)) == 2


def test_stacks_and_speedscope(tmp_path: Path) -> None:
    """Python's frames are slices of their thread, and a profile that speedscope reads."""
    path = tmp_path / "stacks.json"
    path.write_text(json.dumps(pyspy_traces.EVENTS))
    export(path, "--to", "perfetto", "-o", tmp_path / "stacks.pftrace")
    frames = [each for each in slices(tmp_path / "stacks.pftrace") if "/Python stacks/" in each.track]
    assert sorted((each.name.split(" ")[0], each.dur_ns // US) for each in frames) == sorted(
        (name, end - begin) for name, begin, end in pyspy_traces.TREE
    )
    export(path, "--to", "speedscope", "-o", tmp_path / "out.json")
    (profile,) = json.loads((tmp_path / "out.json").read_text())["profiles"]
    assert len(profile["events"]) == 2 * len(frames)


def test_parquet_holds_every_table_of_every_run(tmp_path: Path) -> None:
    """With the run before the schema's own columns."""
    traces = [written(tmp_path, name, trace_of((name, 1, 5))) for name in ("a", "b")]
    export(*traces, "--to", "parquet", "-o", tmp_path / "tables")
    for table, columns in schema.TABLES.items():
        names = pq.read_schema(tmp_path / "tables" / f"{table}.parquet").names
        assert names == ["run", *(column.name for column in columns)]
    kernels = pq.read_table(tmp_path / "tables" / "slices.parquet", filters=[("kind", "=", "kernel")])
    assert kernels.select(["run", "name"]).to_pylist() == [{"run": str(path), "name": path.name[0]} for path in traces]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """As DuckDB tells of it, which writes these files itself."""
    trace = written(tmp_path, "one", trace_of(("gemm", 10, 5)))
    export(trace, "--to", "parquet", "-o", tmp_path / "first")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, usual[1]))
    try:
        with pytest.raises(HwprofError, match=r"full cannot be written: .*File too large"):
            export(trace, "--to", "parquet", "-o", tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert not (tmp_path / "full").exists()


@pytest.mark.parametrize(
    ("target", "output", "said"),
    [
        ("perfetto", "gone/x", "gone/x cannot be written: No such file"),
        ("parquet", "there", "there cannot be written: File exists"),
        ("speedscope", "x", "holds no Python stacks"),
    ],
)
def test_bad_words_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, output: str, said: str
) -> None:
    """One clear line, and no file."""
    trace = written(tmp_path, "one", trace_of(("gemm", 10, 5)))
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    with pytest.raises(HwprofError, match=said):
        export(trace, "--to", target, "-o", output)
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {"cache"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Perfetto's own page, as viztracer's package brings it, on loopback; traces in the folder `site` lie beside it."""
    folder = tmp_path / "site"
    shutil.copytree(Path(viztracer.__file__).parent / "web_dist", folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(SimpleHTTPRequestHandler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ASK = """
const done = arguments[1];
(async () => {
  const rows = [], answer = await app.trace.engine.query(arguments[0]);
  for (const row = answer.iter({name: "str", count: 0n, ns: 0n}); row.valid(); row.next()) {
    rows.push([row.name, String(row.count), String(row.ns)]);
  }
  done(rows);
})().catch(error => done(String(error)));
"""


def ask(driver: WebDriver, question: str) -> set[tuple[str, int, int]]:
    """Names with a count and a number, from Perfetto's own trace processor."""
    answer = driver.execute_async_script(ASK, question)
    assert isinstance(answer, list), answer
    return {(name, int(count), int(ns)) for name, count, ns in answer}


def summed(stores: list[duckdb.DuckDBPyConnection], question: str) -> set[tuple[str, int, int]]:
    """Names with a count and a number, those of all stores together."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, count, ns in (row for store in stores for row in rows(store, question)):
        found[name][0] += count
        found[name][1] += ns
    return {(name, count, ns) for name, (count, ns) in found.items()}


@pytest.mark.e2e
@needs_browser
@needs_traces
@pytest.mark.parametrize(
    "names",
    [("v100_resnet50_steps_memory",), ("a100_nccl_rank0", "v100_resnet50_steps_memory")],
    ids=["one", "several"],
)
def test_perfetto_itself_reads_the_same(tmp_path: Path, site: str, names: tuple[str, ...]) -> None:
    """Its page opens the file, and its trace processor counts and sums what the stores hold, flows too; no error."""
    traces = [SHARED / "kineto" / f"{name}.pt.trace.json.gz" for name in names]
    export(*traces, "--to", "perfetto", "-o", tmp_path / "site" / "trace.pftrace")
    ours = [connect(store) for store in (tmp_path / "cache" / "hwprof" / "stores").iterdir()]
    by_name = "SELECT {} AS name, count(*) AS count, {} AS ns FROM {} GROUP BY 1"
    with browser() as driver:
        driver.set_script_timeout(PATIENCE_S)
        driver.get(f"{site}/index.html#!/?url={site}/trace.pftrace")
        WebDriverWait(driver, PATIENCE_S).until(lambda _: driver.execute_script("return Boolean(window.app?.trace)"))
        read = ask(driver, by_name.format("name", "sum(dur)", "slice WHERE dur >= 0"))
        held = by_name.format("name", "sum(dur_ns)::BIGINT", "slices WHERE dur_ns IS NOT NULL")
        assert read == summed(ours, held)
        flows = "SELECT 'flows' AS name, count(*) AS count, count(DISTINCT slice_in) AS ns FROM flow"
        launched = summed(
            ours,
            "SELECT 'flows', count(*), count(*) FROM slices WHERE device IS NOT NULL AND correlation IN"
            " (SELECT correlation FROM slices WHERE kind = 'launch')",
        )
        assert ask(driver, flows) == launched
        broken = (
            "SELECT name, value AS count, 0 AS ns FROM stats WHERE severity IN ('error', 'data_loss') AND value > 0"
        )
        assert ask(driver, broken) == set()
