"""The XPlane importer: exact on real traces, one clear error on every damaged one, on the clock of what it traced."""

from pathlib import Path

import pytest

from tests.stores import needs_traces, rows
from tests.xplane_traces import EXPECTED, START_NS, WHOLE, event, imported, plane, read, space, start
from toolkit.ingest import xplane


@pytest.mark.parametrize("file", EXPECTED)
def test_lines_are_those_of_the_frameworks_own_reader(file: str, tmp_path: Path) -> None:
    """Every line of a real trace has its events, sum, union, first start and last end to the picosecond."""
    connection = imported(file, tmp_path)
    query = "SELECT plane, line, events, sum_ps, busy_ps, first_ps, last_ps FROM lines WHERE events > 0"
    names = ("events", "sum_ps", "busy_ps", "first_ps", "last_ps")
    found = {(plane, line): dict(zip(names, figures, strict=True)) for plane, line, *figures in rows(connection, query)}
    assert found == {
        (plane, line): figures for plane, told in EXPECTED[file].items() for line, figures in told["lines"].items()
    }


@pytest.mark.parametrize("file", EXPECTED)
def test_each_stream_is_counted_once(file: str, tmp_path: Path) -> None:
    """Slices of a GPU are its streams' events and durations, not those of lines derived from them."""
    connection = imported(file, tmp_path)
    streams = """
        SELECT regexp_extract(plane, '\\d+$') AS device, sum(events)::BIGINT, sum(sum_ps)::BIGINT FROM lines
        WHERE plane LIKE '/device:GPU:%' AND NOT derived GROUP BY device ORDER BY device
    """
    slices = (
        "SELECT device, count(*), sum(dur_ns)::BIGINT * 1000 FROM slices WHERE device IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    assert rows(connection, slices) == rows(connection, streams)


@needs_traces
def test_a_real_gpu_trace_of_tensorflow(tmp_path: Path) -> None:
    """BERT on V100s: kernels with categories, copies with bytes, each launched before it starts, memory by GPU."""
    connection = imported("xplane/gpu_cc70_tf_bert.xplane.pb", tmp_path)
    kinds = "SELECT device, kind, count(*), count(bytes) FROM slices WHERE device IS NOT NULL GROUP BY ALL ORDER BY ALL"
    assert rows(connection, kinds) == [
        ("1", "memcpy", 19, 19), ("4", "kernel", 665, 0), ("4", "memcpy", 94, 94),
        ("6", "kernel", 665, 0), ("6", "memcpy", 113, 113),
    ]  # fmt: skip
    assert rows(connection, "SELECT count(*) FROM slices WHERE device IS NOT NULL AND category IS NULL") == [(0,)]
    assert rows(connection, "SELECT code FROM warnings") == [("no_epoch",)]
    assert rows(connection, "SELECT DISTINCT device FROM allocations ORDER BY 1") == [("1",), ("4",), ("6",), ("cpu",)]
    assert rows(connection, "SELECT gpus, events FROM traces") == [(8, 15354 + 19 + 759 + 778)]
    derived = "SELECT DISTINCT line FROM lines WHERE derived ORDER BY line"
    names = ["TensorFlow Ops", "TensorFlow Name Scope", "Steps"]
    assert [line.split(":", 1)[1] for (line,) in rows(connection, derived)] == names


@needs_traces
def test_a_real_gpu_trace_of_jax(tmp_path: Path) -> None:
    """A ROCm trace lies at its wall-clock time, and a launch named after its kernel is a launch."""
    connection = imported("xplane/mi300_jax_conv.xplane.pb", tmp_path)
    assert rows(connection, "SELECT min(ts_ns) FROM slices WHERE device = '7'") == [(START_NS + 1_635_859_993,)]
    joined = "slices AS call JOIN slices AS work USING (correlation) WHERE call.kind = 'launch' AND work.device = '7'"
    assert rows(connection, f"SELECT count(*) FROM {joined}") == [(25,)]  # noqa: S608 - the text is ours
    assert rows(connection, "SELECT count(*) FROM warnings") == [(0,)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("vm.xplane.pb", b"", True), ("renamed", WHOLE, True), ("other.pb", b"\x0a\x03abc", False),
        ("vm.pt.trace.json", b"{}", False),
    ],
)  # fmt: skip
def test_matches_by_name_or_first_bytes(name: str, content: bytes, expected: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case's expected answer
    """A name that says XPlane is enough; without it the first plane's name decides."""
    (tmp_path / name).write_bytes(content)
    assert xplane.matches(tmp_path / name) is expected


@pytest.mark.parametrize(
    ("planes", "timestamp_ns", "expected"),
    [
        ([start()], 1_000, START_NS + 1_000 + 2),
        ([start()], START_NS + 7, START_NS + 7 + 2),
        ([], START_NS + 7, START_NS + 7 + 2),
        ([], 1_000, 1_002),
    ],
    ids=["relative", "epoch", "epoch_without_start", "own_clock"],
)
def test_lines_count_from_the_profile_s_start_or_the_epoch(
    planes: list[bytes], timestamp_ns: int, expected: int, tmp_path: Path
) -> None:
    """A line's `timestamp_ns` is either, told apart by size; without any epoch the trace's own clock remains."""
    host = plane("/host:CPU", {"1:python": [event("a", 1_600, 10_000)]}, timestamp_ns=timestamp_ns)
    connection = read(space(host, *planes), tmp_path)
    assert rows(connection, "SELECT ts_ns FROM slices") == [(expected,)]
    assert rows(connection, "SELECT code FROM warnings") == ([] if expected > START_NS else [("no_epoch",)])


def test_a_line_s_first_and_last_count_from_the_profile_s_start(tmp_path: Path) -> None:
    """Also where the line itself counts from the epoch."""
    host = plane("/host:CPU", {"1:python": [event("a", 1_500, 10_000)]}, timestamp_ns=START_NS + 7)
    connection = read(space(host, start()), tmp_path)
    assert rows(connection, "SELECT first_ps, last_ps FROM lines") == [(8_500, 18_500)]
