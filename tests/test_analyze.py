"""`hwprof analyze`: the command line over traces that people bring."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.commands import Answer, hwprof
from tests.stores import SHARED, needs_traces, traces_cache
from toolkit.commands.analyze import command

EXPECTED: dict[str, Any] = json.loads((SHARED / "expected.json").read_text()) if SHARED.exists() else {}
SHOWN = [*EXPECTED.get("kineto", {}), *EXPECTED.get("xplane", {}), *EXPECTED.get("memory", {})]
HOSTILE = "[bold]<img src=x onerror=alert(1)>\x1b[31m'; DROP TABLE slices; --/../../etc"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of all tests of real traces."""
    return traces_cache(tmp_path_factory)


def analyze(cache: Path, *arguments: str | Path) -> Answer:
    """The command on a wide terminal."""
    return hwprof("analyze", *arguments, variables={"XDG_CACHE_HOME": str(cache), "COLUMNS": "200"})


def trace_of(*kernels: tuple[str, int, int], rank: int | None = None, world_size: int = 2) -> dict[str, Any]:
    """A Kineto trace of kernels (name, start µs, duration µs) with their launches."""
    events: list[dict[str, Any]] = []
    for number, (name, start, duration) in enumerate(kernels):
        event = {"ph": "X", "ts": start, "dur": duration, "args": {"correlation": number, "device": 0, "stream": 7}}
        events.append(event | {"cat": "kernel", "name": name, "pid": 0, "tid": 7})
        launch = {"ph": "X", "ts": start - 1, "dur": 1, "args": {"correlation": number}, "pid": 1, "tid": 1}
        events.append(launch | {"cat": "cuda_runtime", "name": "cudaLaunchKernel"})
    trace: dict[str, Any] = {"deviceProperties": [{"id": 0}], "traceEvents": events}
    if rank is not None:
        trace["distributedInfo"] = {"rank": rank, "world_size": world_size, "backend": "nccl"}
    return trace


def written(folder: Path, name: str, trace: Any) -> Path:
    """A trace file."""
    path = folder / f"{name}.pt.trace.json.gz"
    path.write_bytes(gzip.compress(json.dumps(trace).encode(), mtime=0))
    return path


@needs_traces
@pytest.mark.parametrize("file", EXPECTED.get("kineto", {}))
def test_shared_traces_have_their_published_figures(cache: Path, file: str) -> None:
    """Every device figure equals the reference to the nanosecond, through the command line."""
    answer = analyze(cache, SHARED / file, "--json")
    assert answer.returncode == 0, answer.stderr
    (trace,) = json.loads(answer.stdout)["traces"]
    assert trace["path"] == str(SHARED / file)
    assert trace["format"] == "kineto"
    wanted = EXPECTED["kineto"][file]
    found = {device["device"]: device for device in trace["devices"]}
    assert {device: {name: found[device][name] for name in figures} for device, figures in wanted.items()} == wanted


@needs_traces
def test_a_trace_without_gpu_work_where_there_should_be_some_is_not_trusted(cache: Path) -> None:
    """The verdict and its reason are in the JSON and in the report."""
    path = SHARED / "kineto" / "a100_cupti_ranges_no_kernels.pt.trace.json.gz"
    (trace,) = json.loads(analyze(cache, path, "--json").stdout)["traces"]
    assert not trace["trusted"]
    assert any(warning.startswith("no_kernels") for warning in trace["warnings"])
    assert "NOT TRUSTED" in analyze(cache, path).stdout


@needs_traces
@pytest.mark.parametrize("name", EXPECTED.get("must_be_rejected", []))
def test_a_corrupt_trace_is_one_clear_line(tmp_path: Path, name: str) -> None:
    """It names the file, and nothing of it is kept."""
    answer = analyze(tmp_path, SHARED / name)
    assert answer.returncode != 0
    assert name.rpartition("/")[2] in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert list((tmp_path / "hwprof" / "stores").glob("*")) == []


@pytest.mark.e2e
@pytest.mark.traces
@needs_traces
@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("file", SHOWN)
def test_a_report_fits_its_terminal(cache: Path, monkeypatch: pytest.MonkeyPatch, file: str, columns: int) -> None:
    """No line is longer than the terminal is wide; the verdict comes before any figure, then where to look."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = CliRunner().invoke(command, [str(SHARED / file)], catch_exceptions=False)
    lines = answer.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    verdict = next(number for number, line in enumerate(lines) if re.match("(NOT TRUSTED|trusted) · ", line))
    assert verdict <= 2
    assert any(line.startswith(("Findings", "No findings", "Look next at")) for line in lines[: verdict + 12])
    assert len(lines) < 220


def test_doubt_comes_before_remarks(cache: Path, tmp_path: Path) -> None:
    """What makes a trace untrusted is counted, named first, and is what to look at first."""
    trace = trace_of(("gemm", 10, 10), ("gemm", 30, 10))
    for event in trace["traceEvents"]:
        if event["cat"] == "cuda_runtime":
            event["ts"] += 5
    trace["traceEvents"].append({"ph": "X", "cat": "something_new", "name": "x", "ts": 1, "dur": 1, "pid": 1, "tid": 1})
    path = written(tmp_path, "early", trace)
    (found,) = json.loads(analyze(cache, path, "--json").stdout)["traces"]
    assert [text.partition(" ")[0] for text in found["warnings"]] == ["clock_violation", "other_categories"]
    assert [text[:19] for text in found["doubts"]] == ["clock_violation ×2:"]
    report = analyze(cache, path).stdout
    places = [
        report.index(text) for text in ("NOT TRUSTED", "clock_violation", "other_categories", "Look next at", "1.")
    ]
    assert places == sorted(places)
    assert "1. The warnings above" in report


def test_a_step_without_device_work_between_others_is_doubted(cache: Path, tmp_path: Path) -> None:
    """The profiler recorded nothing of it; before the first and after the last step with work it may be cut."""
    trace = trace_of(("gemm", 210, 10), ("gemm", 410, 10))
    step = {"ph": "X", "cat": "user_annotation", "dur": 100, "pid": 1, "tid": 1}
    trace["traceEvents"] += [step | {"name": f"ProfilerStep#{number}", "ts": 100 * number} for number in range(1, 6)]
    (found,) = json.loads(analyze(cache, written(tmp_path, "gap", trace), "--json").stdout)["traces"]
    assert not found["trusted"]
    assert found["doubts"] == ["empty_window ×1: 1 steps between others launched no device work."]


def test_kernels_of_no_known_category_are_listed(cache: Path, tmp_path: Path) -> None:
    """By name, the longest first, in the JSON and in the report; and each is shown once."""
    kernels = [(f"my_thing_{number}", 100 * number, number) for number in range(1, 13)]
    path = written(tmp_path, "other", trace_of(*kernels, ("sgemm", 5_000, 9)))
    (found,) = json.loads(analyze(cache, path, "--json").stdout)["traces"]
    assert [(kernel["name"], kernel["ns"]) for kernel in found["uncategorised"]] == [
        (f"my_thing_{number}", number * 1_000) for number in range(12, 0, -1)
    ]
    report = analyze(cache, path).stdout
    assert "Kernels of no known category: 89.7% of the work" in report
    assert "further kernels of category other" in report
    assert [report.count(f"my_thing_{number} ") for number in range(5, 13)] == [1] * 8


def test_traces_side_by_side_come_first(cache: Path, tmp_path: Path) -> None:
    """Several traces begin with one row each, with the verdict; that several devices are summed up is said."""
    for name in ("a", "b"):
        written(tmp_path, name, trace_of(("gemm", 10, 10)))
    report = analyze(cache, tmp_path).stdout
    lines = report.splitlines()
    assert lines[0].startswith("Traces, ms")
    assert [line.split()[:2] for line in lines[4:6]] == [["a", "yes"], ["b", "yes"]]
    assert "of all devices" not in report
    two = trace_of(("gemm", 10, 10), ("gemm", 30, 10))
    two["traceEvents"][2]["args"]["device"] = 1
    written(tmp_path, "c", two)
    assert "span, idle: of all devices of the trace together" in analyze(cache, tmp_path).stdout


def test_the_json_follows_the_contract(cache: Path, tmp_path: Path) -> None:
    """The names that other tools build on, integers for nanoseconds, the device's number as text."""
    path = written(tmp_path, "one", trace_of(("ampere_sgemm", 10, 10), ("elementwise_kernel", 30, 10)))
    (trace,) = json.loads(analyze(cache, path, "--json").stdout)["traces"]
    assert {"path", "format", "trusted", "warnings", "devices", "steps", "memory"} <= set(trace)
    (device,) = trace["devices"]
    assert device["device"] == "0"
    assert (device["span_ns"], device["busy_ns"], device["idle_ns"]) == (30_000, 20_000, 10_000)
    (stream,) = trace["streams"]
    assert (stream["host_wait_ns"], stream["kernel_wait_ns"], stream["other_ns"]) == (10_000, 0, 0)
    (attribution,) = trace["kernels_by"]
    assert attribution["kernel_sum_ns"] == sum(part["kernel_ns"] for part in attribution["operators"])


def test_a_folder_of_ranks_is_one_table_with_the_missing_named(cache: Path, tmp_path: Path) -> None:
    """A row a rank, how much communication was hidden, and who is not there."""
    written(tmp_path, "rank0", trace_of(("gemm", 10, 10), ("ncclAllReduce", 15, 10), rank=0, world_size=3))
    written(tmp_path, "rank2", trace_of(("gemm", 9_010, 10), ("ncclAllReduce", 9_020, 10), rank=2, world_size=3))
    (tmp_path / "notes.txt").write_text("no trace")
    analysis = json.loads(analyze(cache, tmp_path, "--json").stdout)
    (job,) = analysis["jobs"]
    assert (job["world_size"], job["missing"], [rank["rank"] for rank in job["ranks"]]) == (3, [1], [0, 2])
    hidden = [(d["comm_ns"], d["exposed_comm_ns"]) for trace in analysis["traces"] for d in trace["devices"]]
    assert hidden == [(10_000, 5_000), (10_000, 10_000)]
    report = analyze(cache, tmp_path).stdout
    assert "50.0%" in report
    assert "Missing of 3 ranks: 1" in report


def test_a_trace_is_read_once(tmp_path: Path) -> None:
    """The same content, under another name too, is answered from the store kept of it."""
    cache = tmp_path / "cache"
    content = trace_of(("once", 10, 10))
    analyze(cache, written(tmp_path, "first", content))
    stores = set((cache / "hwprof" / "stores").glob("*"))
    second = analyze(cache, written(tmp_path, "second", content), "--json")
    assert json.loads(second.stdout)["traces"][0]["path"].endswith("second.pt.trace.json.gz")
    assert set((cache / "hwprof" / "stores").glob("*")) == stores


def test_hostile_names_are_data(cache: Path, tmp_path: Path) -> None:
    """Markup, terminal escapes and SQL in a kernel's name change nothing, and no escape reaches the terminal."""
    path = written(tmp_path, "hostile", trace_of((HOSTILE, 10, 10)))
    (trace,) = json.loads(analyze(cache, path, "--json").stdout)["traces"]
    assert trace["devices"][0]["categories"] == {"other": 10_000}
    assert "\x1b" not in analyze(cache, path).stdout


def test_hostile_names_of_devices_and_streams_are_data(cache: Path, tmp_path: Path) -> None:
    """They are texts where a trace has texts, and markup nowhere: in tables, in what to look at next, in notes."""
    trace = trace_of(("gemm", 10, 10), ("gemm", 40, 10), ("gemm", 90, 30))
    for event in trace["traceEvents"]:
        if event.get("cat") == "kernel":
            event |= {"tid": "stream [/x]", "args": {"correlation": event["args"]["correlation"], "device": "[/A100]"}}
    other = {"ph": "X", "cat": "kernel", "name": "gemm", "ts": 10, "dur": 5, "pid": 0, "tid": 7}
    memory = {"Device Type": 1, "Device Id": "[/A100]", "Addr": 1, "Bytes": 512, "Total Reserved": 2 << 30}
    instant = {"ph": "i", "name": "[memory]", "ts": 10, "pid": 1, "tid": 1}
    trace["traceEvents"] += [other | {"args": {"device": 1}}, instant | {"args": memory | {"Total Allocated": 512}}]
    answer = analyze(cache, written(tmp_path, "devices", trace))
    assert answer.returncode == 0, answer.stderr
    for said in (
        "Idle: device [/A100] does", "idle time of stream [/x],", "reserved on device [/A100]",
        "\n [/A100]        3  ", "\n [/A100]    [/x]  ", "\n [/A100]         3     1.0", "\n device [/A100]  ███",
        "\n device [/A100]            1 ",
    ):  # fmt: skip
        assert said in answer.stdout


@needs_traces
def test_the_order_of_events_changes_nothing(cache: Path, tmp_path: Path) -> None:
    """A real trace whose events stand in another order, the last first, gives every figure as before."""
    path = SHARED / "kineto" / "mi300_bert_small.pt.trace.json.gz"
    trace = json.loads(gzip.decompress(path.read_bytes()))
    trace["traceEvents"].reverse()
    (whole,), (turned,) = (
        json.loads(analyze(cache, file, "--json").stdout)["traces"]
        for file in (path, written(tmp_path, "reversed", trace))
    )
    assert turned == whole | {"path": turned["path"]}


def test_kernels_that_last_nothing_are_no_work_to_look_at(cache: Path, tmp_path: Path) -> None:
    """Where no duration is usable, no category stands out."""
    trace = trace_of(("gemm", 10, 10), ("gemm", 30, 10))
    for event in trace["traceEvents"]:
        event["dur"] = 1e30
    report = analyze(cache, written(tmp_path, "endless", trace)).stdout
    assert "unusable_duration ×4" in report
    assert "Work:" not in report


def test_the_gpus_model_is_said(cache: Path, tmp_path: Path) -> None:
    """Each model once, and nothing where the trace tells none; a hostile name is data."""
    trace = trace_of(("gemm", 10, 10)) | {
        "deviceProperties": [{"name": "V100"}, {"name": "V100"}, {"name": HOSTILE}, 7]
    }
    path, other = written(tmp_path, "told", trace), written(tmp_path, "untold", trace_of(("gemm", 10, 10)))
    told, untold = json.loads(analyze(cache, path, other, "--json").stdout)["traces"]
    assert (told["gpus"], told["gpu_model"], untold["gpu_model"]) == (4, f"V100, {HOSTILE}", None)
    report = analyze(cache, path).stdout
    assert "4 × V100, [bold]<img" in report
    assert "\x1b" not in report


def test_what_is_marked_on_the_host_is_listed(cache: Path, tmp_path: Path) -> None:
    """The user's ranges and the framework's, those of old traces too; numbers at the end are one."""
    trace = trace_of(("gemm", 10, 10))
    marks = [("user_annotation", "## forward ##", 5), ("user_annotation", "ProfilerStep#1", 7)]
    marks += [("Operator", "ProfilerStep#2", 9), ("cpu_op", "aten::mm", 3)]
    for number, (category, name, us) in enumerate(marks):
        mark = {"ph": "X", "ts": 100 * number, "dur": us, "pid": 1, "tid": 1}
        trace["traceEvents"].append(mark | {"cat": category, "name": name})
    path = written(tmp_path, "marked", trace)
    (found,) = json.loads(analyze(cache, path, "--json").stdout)["traces"]
    assert found["annotations"] == [
        {"name": "ProfilerStep#*", "calls": 2, "total_ns": 16_000, "longest_ns": 9_000},
        {"name": "## forward ##", "calls": 1, "total_ns": 5_000, "longest_ns": 5_000},
    ]
    assert "Marked on the host" in analyze(cache, path).stdout


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.json", None, "There is no"),
        ("empty.json", b"", "empty.json"),
        ("cut.pt.trace.json.gz", gzip.compress(b'{"traceEvents": [{"ph": "X"')[:-9], "cut.pt.trace.json.gz"),
        ("prose.txt", b"not a trace", "is no trace that hwprof knows"),
    ],
)
def test_what_is_no_trace_is_one_clear_line(
    cache: Path, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """The file and the remedy, exit code 2, no traceback."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    answer = analyze(cache, path)
    assert answer.returncode == 2
    assert said in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_an_empty_folder_says_so(cache: Path, tmp_path: Path) -> None:
    """A folder without traces names the formats that would be read."""
    answer = analyze(cache, tmp_path)
    assert answer.returncode == 2
    assert "holds no trace. Known formats: " in answer.stderr
