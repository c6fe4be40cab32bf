"""Charts of a run beside GPUs that it was not given: only its own are drawn as its own."""

from pathlib import Path
from typing import Any

import pytest

from tests.test_allocator_memory import GPU, nvml
from tests.test_analyses import MS, mark, store
from toolkit.analyses.allocator_memory import first_gpus
from toolkit.analyses.summary import summarise
from toolkit.analyses.timeline import Reading, ReadingSeries, timelines
from toolkit.reports.html import memory
from toolkit.reports.html.content import Chart, Told
from toolkit.reports.html.side_timelines import _telling


@pytest.mark.parametrize(
    ("own", "drawn"), [({}, [[700.0, 800.0]]), ({"mig": True}, [])], ids=["another first", "split into instances"]
)
def test_memory_is_drawn_beside_that_of_the_run_s_own_gpu(
    tmp_path: Path, own: dict[str, Any], drawn: list[list[float]]
) -> None:
    """The framework's device 0 is NVML's GPU 3 where that is what the run was given; an instance's is not told."""
    trace = {"trace": 0, "pass_name": "time", "path": "t", "format": "kineto", "events": 1}
    event = {"trace": 0, "pass_name": "time", "device": "0", "action": "alloc", "bytes": 1 << 20}
    allocations = [
        event | {"ts_ns": at * MS, "address": at, "in_use_bytes": in_use << 20}
        for at, in_use in ((10, 1), (50, 2), (90, 3))
    ]
    counters = [*nvml((20, 50), (60, 60)), *nvml((20, 700), (60, 800), device="3")]
    gpus = [GPU | {"used": False}, GPU | {"device": "3"} | own]
    marks = [mark(0, None, "run", "time", 0, 100)]
    with store(tmp_path, traces=[trace], allocations=allocations, counters=counters, gpus=gpus, marks=marks) as found:
        summary = summarise(found)
        section = memory.section(summary, Told(summary), timelines(found, ["time"]), first_gpus(found))
    assert section is not None
    (chart,) = [block for block in section.blocks if isinstance(block, Chart)]
    assert [line["y"] for line in chart.data if line.get("yaxis") == "y2"] == drawn


@pytest.mark.parametrize(("gpus", "drawn"), [([], [None]), (["1"], ["1"])], ids=["on the processor", "on one of two"])
def test_a_run_beside_others_has_its_own_device_drawn(gpus: list[str], drawn: list[str | None]) -> None:
    """A run on the processor of a machine with GPUs is drawn by the host's figures."""
    points = [Reading(ts_ns=1, value=1)]
    series = [
        ReadingSeries(
            pass_name="time", source="nvml", device=device, metric=metric, unit="B", readings=1, points=points
        )
        for device, metric in (("0", "memory_used"), ("1", "memory_used"), (None, "rss"))
    ]
    assert [one.device for one in _telling(("memory_used", "rss"), series, gpus)] == drawn
