"""Idle streams and queues of launches: by hand and by brute force."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.device_slices import DEVICE_WORK, LAUNCHED, Row, connected, kernel, launch, span
from toolkit.analyses.streams import Launches, StreamIdle, launches, stream_idle


def idle_of(folder: Path, *slices: Row) -> StreamIdle:
    """The one stream of these slices."""
    (found,) = stream_idle(connected(folder, slices))
    return found


@pytest.mark.parametrize(
    ("launched", "started", "parts"),
    [
        (101, 160, (60, 0, 0)),
        (100, 160, (0, 0, 60)),
        (50, 129, (0, 29, 0)),
        (50, 130, (0, 0, 30)),
        (101, 110, (10, 0, 0)),
        (None, 110, (0, 0, 10)),
    ],
    ids=["launched late", "launched in time", "under 30 ns", "30 ns", "launched late, under 30 ns", "no launch"],
)
def test_a_gap_has_one_cause(tmp_path: Path, launched: int | None, started: int, parts: tuple[int, int, int]) -> None:
    """After work that ended at 100, a gap is the host's, the device's own, or other."""
    calls = [launch(1, 0)] + ([launch(2, launched)] if launched is not None else [])
    found = idle_of(tmp_path, *calls, kernel(1, 10, 100), kernel(2, started, 200))
    assert (found.host_wait_ns, found.kernel_wait_ns, found.other_ns) == parts
    assert (found.gaps, found.idle_ns, found.span_ns) == (1, started - 100, 190)


def test_a_gap_begins_where_the_last_of_all_before_ended(tmp_path: Path) -> None:
    """Work that overlaps on one stream is no idle time, and a short slice inside a long one ends nothing."""
    found = idle_of(tmp_path, kernel(1, 0, 100), kernel(2, 10, 20), kernel(3, 50, 110), kernel(4, 150, 160))
    assert (found.gaps, found.idle_ns, found.other_ns) == (1, 40, 40)


def test_streams_idle_apart(tmp_path: Path) -> None:
    """Each stream of each device has its own idle time, the nameless stream too."""
    slices = [
        kernel(None, 0, 10),
        kernel(None, 50, 60),
        kernel(None, 10, 50, stream="8"),
        kernel(None, 0, 5, stream=None),
    ]
    found = stream_idle(connected(tmp_path, slices))
    assert {stream.stream: stream.idle_ns for stream in found} == {"7": 40, "8": 0, None: 0}


@given(work=st.lists(DEVICE_WORK, min_size=1, max_size=12), launched=LAUNCHED)
def test_causes_of_idleness_sum_to_it(
    tmp_path_factory: pytest.TempPathFactory, work: list[Row], launched: dict[int, int]
) -> None:
    """Whatever overlaps or lacks its launch, idle is what nothing covers, and each gap has the cause by the rule."""
    calls = [launch(*call) for call in launched.items()]
    for stream in stream_idle(connected(tmp_path_factory.mktemp("store"), work + calls)):
        own = [row for row in work if row["stream"] == stream.stream]
        assert stream.slices == len(own)
        assert (stream.idle_ns, stream.span_ns) == idle_by_moments(own)
        parts = causes(own, launched)
        assert (stream.host_wait_ns, stream.kernel_wait_ns, stream.other_ns) == tuple(
            parts[cause] for cause in ("host", "kernel", "other")
        )


def idle_by_moments(work: list[Row]) -> tuple[int, int]:
    """Idle and span, counted."""
    start, end = min(row["ts_ns"] for row in work), max(row["ts_ns"] + row["dur_ns"] for row in work)
    busy = {moment for row in work for moment in range(row["ts_ns"], row["ts_ns"] + row["dur_ns"])}
    return end - start - len(busy), end - start


def causes(work: list[Row], launched: dict[int, int]) -> Counter[str]:
    """Nanoseconds by cause, gap by gap."""
    found: Counter[str] = Counter()
    for start in sorted({row["ts_ns"] for row in work}):
        before = [row["ts_ns"] + row["dur_ns"] for row in work if row["ts_ns"] < start]
        gap = start - max(before, default=start)
        if gap > 0:
            calls = [
                launched[row["correlation"]] for row in work if row["ts_ns"] == start and row["correlation"] in launched
            ]
            late = bool(calls) and min(calls) > start - gap
            found["host" if late else "kernel" if calls and gap < 30 else "other"] += gap
    return found


def test_a_launch_waits_until_its_work_starts_behind_those_before_it(tmp_path: Path) -> None:
    """Delay runs from call to start; the queue counts earlier launches to the stream that had not started."""
    slices = [
        launch(1, 0), launch(2, 5), launch(3, 8), launch(4, 9),
        kernel(1, 6, 20), kernel(2, 20, 30), kernel(3, 30, 40), kernel(4, 10, 12, stream="8"), kernel(99, 50, 60),
        launch(5, 70), span("launch", "cudaMemsetAsync", 72, 73, correlation=6),
    ]  # fmt: skip
    without, with_work = sorted(launches(connected(tmp_path, slices)), key=lambda row: row.device or "")
    assert with_work == Launches(
        trace=0, device="0", launches=4, launches_without_work=0, work_without_launch=1, median_delay_ns=6,
        p90_delay_ns=22, max_delay_ns=22, early_starts=0, median_queue=0, max_queue=1,
    )  # fmt: skip
    assert (without.device, without.launches_without_work, without.median_delay_ns) == (None, 1, None)


def test_one_launch_of_many_kernels_is_one_launch(tmp_path: Path) -> None:
    """A graph's kernels share a correlation: its delay ends with the first of them."""
    slices = [launch(1, 0), kernel(1, 7, 9), kernel(1, 9, 30), kernel(1, 30, 31)]
    (found,) = launches(connected(tmp_path, slices))
    assert (found.launches, found.max_delay_ns, found.max_queue) == (1, 7, 0)


@given(work=st.lists(DEVICE_WORK, min_size=1, max_size=12), launched=LAUNCHED)
def test_queues_are_those_of_a_count_launch_by_launch(
    tmp_path_factory: pytest.TempPathFactory, work: list[Row], launched: dict[int, int]
) -> None:
    """Whatever starts before its launch, with it or after, the deepest queue is that of counting at every launch."""
    started: dict[tuple[str, int], int] = {}
    for row in work:
        if row["correlation"] in launched:
            key = (row["stream"], row["correlation"])
            started[key] = min(row["ts_ns"], started.get(key, row["ts_ns"]))
    queues = [
        sum(
            launched[other] < launched[call] < start
            for (other_stream, other), start in started.items()
            if other_stream == stream
        )
        for stream, call in started
    ]
    (found,) = launches(
        connected(tmp_path_factory.mktemp("store"), work + [launch(*call) for call in launched.items()])
    )[:1]
    assert found.max_queue == max(queues, default=None)
    assert found.launches == len({call for _, call in started})
    assert found.work_without_launch == sum(row["correlation"] not in launched for row in work)
