"""XPlane traces made here, the shared real ones, and stores of both."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests import stores
from toolkit.errors import HwprofError
from toolkit.ingest import xplane
from toolkit.ingest.store import StoreWriter, connect
from toolkit.ingest.xplane_schema import message_class

REPO = Path(__file__).parents[1]
SHARED = REPO.parent / "shared" / "traces"
FIGURES = json.loads((SHARED / "expected.json").read_text()) if (SHARED / "expected.json").exists() else {}
EXPECTED: dict[str, dict[str, Any]] = FIGURES.get("xplane", {})
REJECTED: list[str] = [name for name in FIGURES.get("must_be_rejected", []) if name.endswith(".xplane.pb")]

START_NS = 1_757_516_928_109_201_518


def stat(names: dict[str, int], name: str, value: Any) -> Any:
    """An XStat of this value, whose name is entered into `names`; a text starting with & is one that is referred to."""
    made = message_class("XStat")(metadata_id=names.setdefault(name, len(names) + 1))
    if isinstance(value, str) and value.startswith("&"):
        made.ref_value = names.setdefault(value[1:], len(names) + 1)
    else:
        field = {str: "str_value", int: "int64_value", float: "double_value"}[type(value)]
        setattr(made, field, value)
    return made


def event(name: str, offset_ps: int = 0, duration_ps: int = 0, /, **stats: Any) -> dict[str, Any]:
    """An event to come, for `plane`."""
    return {"name": name, "offset_ps": offset_ps, "duration_ps": duration_ps, "stats": stats}


def plane(name: str, lines: Mapping[str, Iterable[dict[str, Any]]], timestamp_ns: int = 0, **stats: Any) -> bytes:
    """An XPlane whose lines `id:name` hold these events."""
    stat_ids: dict[str, int] = {}
    event_ids: dict[str, int] = {}
    made = message_class("XPlane")(name=name, stats=[stat(stat_ids, key, value) for key, value in stats.items()])
    for key, events in lines.items():
        line_id, line_name = key.split(":", 1)
        line = message_class("XLine")(id=int(line_id), name=line_name, timestamp_ns=timestamp_ns)
        for entry in events:
            told = [stat(stat_ids, key, value) for key, value in entry["stats"].items()]
            number = event_ids.setdefault(entry["name"], len(event_ids) + 1)
            times = {key: entry[key] for key in ("offset_ps", "duration_ps")}
            line.events.append(message_class("XEvent")(metadata_id=number, stats=told, **times).SerializeToString())
        made.lines.append(line.SerializeToString())
    for text, number in event_ids.items():
        made.event_metadata.add(key=number).value.name = text
    for text, number in stat_ids.items():
        made.stat_metadata.add(key=number).value.name = text
    content: bytes = made.SerializeToString()
    return content


def start(ns: int = START_NS) -> bytes:
    """The plane that tells when the profile started."""
    return plane("Task Environment", {}, profile_start_time=ns)


def space(*planes: bytes, **more: Any) -> bytes:
    """An XSpace."""
    content: bytes = message_class("XSpace")(planes=planes, **more).SerializeToString()
    return content


def read(content: bytes, folder: Path) -> duckdb.DuckDBPyConnection:
    """The store of a trace of this content."""
    path = folder / "vm.xplane.pb"
    path.write_bytes(content)
    return stores.read(path, xplane)


def imported(file: str, folder: Path) -> duckdb.DuckDBPyConnection:
    """The store of one shared trace."""
    with StoreWriter(folder) as store:
        xplane.read(SHARED / file, trace=0, pass_name=None, store=store)
    return connect(folder)


WHOLE = space(plane("/host:CPU", {"7:python": [event("train", 5, 10, step_num=1)]}), start())

LAUNCHED = [
    event("cuLaunchKernel", 1_000, 2_000, correlation_id=11),
    event("hipMemcpyHtoDAsync", 4_000, 1_000, device_id=3, correlation_id=12),
    event("hipMemcpyHtoDAsync", 5_000, 1_000, correlation_id=13),
    event("ampere_sgemm_128x64_nn", 6_000, 1_000, correlation_id=14),
    event("cuLaunchHostFunc", 8_000, 1_000, correlation_id=15),
    event("cuStreamSynchronize", 9_000, 1_000),
]
STREAM = [
    event("ampere_sgemm_128x64_nn", 5_000, 3_000, correlation_id=11),
    event(
        "CopyHostToDevice", 9_000, 1_000, correlation_id=12, memcpy_details="&kind:Unknown size:655360 dest:2 async:1"
    ),
    event("MemcpyD2H", 11_000, 1_000, correlation_id=13, memcpy_details="size:0 dest:0 async:0"),
    event("Memset", 12_000, 1_000, Memset_details="kind:Device size:64 async:1"),
    event("loop_add_fusion", 20_000, 1_000, correlation_id=14, hlo_category="convolution fusion"),
    event("MemoryResidency", 30_000, 0, MemoryResidency_details="size:5"),
]
RICH = space(
    plane(
        "/host:CPU", {"7:python": [event("$a.py:1 f", 0, 9), *LAUNCHED, event("MemoryAllocation", allocator_name="x")]}
    ),
    plane("/device:GPU:5", {"14:Stream #14(Compute,MemcpyH2D)": STREAM, "9:XLA Ops": [event("add", 5, 6)]}, 100),
    start(),
    errors=["out of buffers"],
)


def refused(content: bytes, folder: Path) -> None:
    """Asserts that this content is refused in one line that names the file, with nothing written."""
    with pytest.raises(HwprofError) as caught:
        read(content, folder)
    assert str(folder / "vm.xplane.pb") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((folder / "store").iterdir()) == []
