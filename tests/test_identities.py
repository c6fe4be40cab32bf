"""Figures that contradict each other are refused, whatever put them there."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from msgspec import structs

from tests.test_analyses import mark, store
from tests.test_analyze import trace_of, written
from toolkit.analyses import identities
from toolkit.analyses.device_time import device_time
from toolkit.analyses.kernel_attribution import kernel_attribution
from toolkit.analyses.sound import sound
from toolkit.analyses.step_parts import StepParts
from toolkit.analyses.streams import stream_idle
from toolkit.analyses.summary import summarise
from toolkit.commands.analyze import command
from toolkit.errors import HwprofError

KERNELS = (("gemm", 10, 10), ("ncclAllReduce", 15, 10), ("relu", 40, 5))
STEPS = [StepParts(trace=0, step=n, start_ns=n, end_ns=n + 1, parts_ns={"Kernel": 1}) for n in (1, 2)]


def corrupt(table: Path, change: str) -> None:
    """Rewrites a table of a store with the same columns."""
    changed = duckdb.sql(f"SELECT {change} FROM read_parquet('{table}')").to_arrow_table()  # noqa: S608 - our own
    pq.write_table(changed, table)


@pytest.mark.parametrize(
    "change",
    [
        "* REPLACE (-dur_ns AS dur_ns)",
        "* REPLACE (CASE WHEN kind = 'kernel' THEN 9223372036854775807 - ts_ns + dur_ns ELSE dur_ns END AS dur_ns)",
        "* EXCLUDE (kind), 7 AS kind",
    ],
    ids=["times run backwards", "times beyond 64 bits", "another type"],
)
def test_a_corrupted_store_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """The store is named, with what to do; no figure of it is printed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = str(written(tmp_path, "one", trace_of(*KERNELS)))
    whole = json.loads(CliRunner().invoke(command, [path, "--json"], catch_exceptions=False).stdout)
    assert whole["traces"][0]["devices"][0]["span_ns"] == 35_000
    (table,) = tmp_path.glob("cache/hwprof/stores/*/slices.parquet")
    corrupt(table, change)
    answer = CliRunner().invoke(command, [path, "--json"])
    assert answer.stdout == ""
    assert isinstance(answer.exception, HwprofError)
    assert str(table.parent) in str(answer.exception)
    assert "\n" not in str(answer.exception)


def test_a_store_that_is_no_parquet_is_one_clear_line(tmp_path: Path) -> None:
    """What cannot be read is named like what contradicts itself."""
    with pytest.raises(HwprofError, match="cannot be read"), sound(tmp_path):
        duckdb.connect().execute("SELECT * FROM nothing")


@pytest.mark.parametrize(
    ("figure", "identity"),
    [
        ("idle_ns", "span = compute"),
        ("busy_ns", "busy . idle = span"),
        ("kernel_sum_ns", "categories hold all kernels"),
        ("kernels", "streams' work = the device's work"),
    ],
)
def test_each_identity_of_a_device_is_checked(tmp_path: Path, figure: str, identity: str) -> None:
    """One nanosecond or one kernel too many is named."""
    devices, streams, attributions = figures(tmp_path)
    identities.check(devices, streams, attributions, STEPS)
    wrong = structs.replace(devices[0], **{figure: getattr(devices[0], figure) + 1})
    with pytest.raises(AssertionError, match=identity):
        identities.check([wrong], streams, attributions, STEPS)


@pytest.mark.parametrize("figure", ["idle_ns", "host_wait_ns", "slices", "span_ns"])
def test_each_identity_of_a_stream_is_checked(tmp_path: Path, figure: str) -> None:
    """Its idle time is its causes', its work the device's, and it is busy no longer than the device is."""
    devices, streams, attributions = figures(tmp_path)
    wrong = structs.replace(streams[0], **{figure: getattr(streams[0], figure) + 100_000})
    with pytest.raises(AssertionError):
        identities.check(devices, [wrong], attributions, STEPS)


def test_each_kernel_is_attributed_once(tmp_path: Path) -> None:
    """A part that is counted twice is refused."""
    devices, streams, (by,) = figures(tmp_path)
    with pytest.raises(AssertionError, match="by what asked for them"):
        identities.check(devices, streams, [structs.replace(by, operators=by.operators * 2)], STEPS)


@pytest.mark.parametrize(
    ("steps", "identity"),
    [
        ([structs.replace(STEPS[0], end_ns=5), STEPS[1]], "step 1 = its parts"),
        (STEPS[::-1], "steps do not overlap"),
    ],
)
def test_each_identity_of_steps_is_checked(steps: list[StepParts], identity: str) -> None:
    """The parts of a step are the step, and one step ends before the next begins."""
    with pytest.raises(AssertionError, match=identity):
        identities.check([], [], [], steps)


def figures(folder: Path) -> tuple[Any, Any, Any]:
    """Devices, streams and attributions of a store of three kernels."""
    slices = [
        {"trace": 0, "kind": "kernel", "name": name, "category": "gemm", "device": "0", "stream": "7"}
        | {"ts_ns": start * 1_000, "dur_ns": dur * 1_000}
        for name, start, dur in KERNELS
    ]
    traces = [{"trace": 0, "path": "t", "format": "kineto", "events": 3}]
    with store(folder, slices=slices, traces=traces) as connection:
        return device_time(connection), stream_idle(connection), kernel_attribution(connection)


def test_a_ledger_with_a_negative_part_is_refused(tmp_path: Path) -> None:
    """A phase that is longer than the epoch around it leaves less than nothing for the rest."""
    marks = [mark(1, None, "epoch", "train", 0, 10), mark(2, 1, "phase", "compute", 0, 30)]
    refused = pytest.raises(HwprofError, match="do not make up wall_ns")
    with store(tmp_path, marks=marks) as connection, refused, sound(tmp_path):
        summarise(connection)
