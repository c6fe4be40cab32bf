"""Why two runs differ in memory: parts that sum to the difference, and advice that names its figure."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.test_analyses import mark, store
from toolkit.analyses.allocator_memory import AllocatorMemory
from toolkit.analyses.memory_comparison import MemoryComparison, Side, compare
from toolkit.analyses.summary import summarise
from toolkit.commands.compare import command
from toolkit.errors import HwprofError
from toolkit.reports.summary_json import encode
from toolkit.spec import RunSpec

MIB = 1 << 20
NAMES = ("in_use", "peak_in_use", "reserved", "fragmented", "device")


def row(**figures: int | None) -> AllocatorMemory:
    """A GPU's allocator, its figures in MiB; what is not given is not told."""
    levels = {f"{name}_bytes": figures[name] and figures[name] * MIB for name in NAMES if name in figures}  # type: ignore[operator] # an int there
    told = dict.fromkeys((name for name, value in levels.items() if value is not None), "counters")
    unknown = dict.fromkeys(AllocatorMemory.__struct_fields__)
    usual = {"pass_name": "time", "device": "0", "allocator": "T", "basis": "total", "told_by": told}
    missing = {f"{name}_bytes": f"no {name}" for name in NAMES if levels.get(f"{name}_bytes") is None}
    return AllocatorMemory(**(unknown | usual | levels | {"reasons": missing}))


def side(name: str, allocator: AllocatorMemory, /, **settings: Any) -> Side:
    """A run of one allocator."""
    return Side(name=name, spec=RunSpec(**settings), allocators=[allocator])


def parts(found: MemoryComparison) -> dict[str, tuple[int, int]]:
    """Of each run, in MiB."""
    return {part.name: (part.a_bytes // MIB, part.b_bytes // MIB) for part in found.parts}


FULL = row(in_use=100, peak_in_use=400, reserved=600, fragmented=150, device=1100)


def test_every_part_is_what_one_level_has_over_the_one_below() -> None:
    """Fragmentation counts no further than what lies beyond the peak; the parts sum to the difference."""
    other = row(in_use=120, peak_in_use=300, reserved=320, fragmented=90, device=700)
    found = compare(side("a", FULL), side("b", other), forced=None)
    assert parts(found) == {
        "live tensors": (100, 120), "workspace": (300, 180), "fragmentation": (150, 20), "reservation policy": (50, 0),
        "context and unexplained": (500, 380),
    }  # fmt: skip
    assert sum(part.difference_bytes for part in found.parts) == found.difference_bytes == -400 * MIB
    assert (found.whole, found.peak_difference_bytes) == ("on the device", -100 * MIB)


def test_what_one_run_does_not_tell_is_told_with_the_next() -> None:
    """TensorFlow tells no reservation: what lies between its peak and the device is one part, with the reason."""
    found = compare(
        side("a", FULL), side("b", row(in_use=90, peak_in_use=380, device=9000), framework="tf"), forced=None
    )
    assert parts(found) == {
        "live tensors": (100, 90), "workspace": (300, 290),
        "fragmentation, reservation policy, context and unexplained": (700, 8620),
    }  # fmt: skip
    assert "b: reservation policy not told apart: no reserved" in found.notes
    (advice,) = found.advice
    assert (advice.run, advice.figure_bytes) == ("b", 7920 * MIB)
    assert advice.text.startswith("allocator=growth: TensorFlow")


@pytest.mark.parametrize(
    ("settings", "other", "advised"),
    [
        ({"framework": "jax"}, {"reserved": 5000}, ["allocator=growth"]),
        ({"framework": "jax", "allocator": "growth"}, {"reserved": 5000}, []),
        ({}, {"reserved": 5000}, ["allocator=expandable_segments"]),
        ({}, {"reserved": 5000, "fragmented": 4600}, ["allocator=expandable_segments", "max_split_size_mb=N"]),
        ({"allocator": "expandable_segments", "max_split_size_mb": 64}, {"reserved": 5000, "fragmented": 4600}, []),
        ({"batch": 64}, {"reserved": 4000, "peak_in_use": 3850}, ["batch=32"]),
        ({}, {"reserved": 605}, []),
        ({}, {"device": 9000}, []),
    ],
    ids=["preallocation", "grows already", "reserved", "fragmented", "set already", "batch", "too little", "context"],
)
def test_no_advice_without_its_figure(settings: dict[str, Any], other: dict[str, int], advised: list[str]) -> None:
    """A setting is named where the part it reduces differs by enough, for the run with more, and is not set yet."""
    more = {"in_use": 100, "peak_in_use": 400, "reserved": 600, "fragmented": 150} | other
    b = row(**{"device": more["reserved"] + 500, **more})
    for first, second, letter in (
        (side("a", FULL), side("b", b, **settings), "b"),
        (side("a", b, **settings), side("b", FULL), "a"),
    ):
        found = compare(first, second, forced=None)
        assert [advice.text.partition(":")[0] for advice in found.advice] == advised
        assert all(advice.run == letter for advice in found.advice)
        differences = {part.name: abs(part.difference_bytes) for part in found.parts}
        assert all(advice.figure_bytes == differences[advice.part] for advice in found.advice)


LEVELS = st.tuples(*[st.none() | st.integers(0, 1000)] * 5)


@given(LEVELS, LEVELS)
def test_the_parts_sum_to_the_whole_whatever_is_told(first: Sequence[int | None], second: Sequence[int | None]) -> None:
    """In each run and in the difference, and none is negative; where nothing is in common that is the error."""
    a, b = (side(name, row(**dict(zip(NAMES, told, strict=True)))) for name, told in (("a", first), ("b", second)))
    try:
        found = compare(a, b, forced=None)
    except HwprofError:
        return
    assert sum(part.a_bytes for part in found.parts) == found.a_bytes
    assert sum(part.difference_bytes for part in found.parts) == found.b_bytes - found.a_bytes
    assert all(part.a_bytes >= 0 and part.b_bytes >= 0 for part in found.parts)


def test_on_the_host_growth_is_never_held_against_a_total() -> None:
    """PyTorch's count begins with the profiler and TensorFlow's with the process: only what is resident compares."""
    host = {"device": "cpu", "pass_name": "profile"}
    torch = structs.replace(row(in_use=10, peak_in_use=50, device=300), basis="growth", **host)
    tf = structs.replace(row(in_use=20, peak_in_use=60, device=500), **host)
    found = compare(side("a", torch), side("b", tf), forced=None)
    assert parts(found) == {"live tensors, context and unexplained": (300, 500)}
    assert (found.peak_difference_bytes, found.advice) == (None, [])
    same = compare(side("a", torch), side("b", torch), forced=None)
    assert parts(same) == {"live tensors": (10, 10), "context and unexplained": (290, 290)}
    assert same.notes == ["live tensors: growth since the profiler began; what was in use before is told with the rest"]


def test_a_gpu_s_memory_is_not_held_against_the_host_s() -> None:
    """One clear line, as where a run tells nothing at all."""
    with pytest.raises(HwprofError, match="not held against each other"):
        compare(side("a", FULL), side("b", structs.replace(FULL, device="cpu")), forced=None)
    silent = structs.replace(row(), told_by={}, reasons={"in_use_bytes": "no counters"})
    with pytest.raises(HwprofError, match="b tells nothing of its memory: no counters"):
        compare(side("a", FULL), side("b", silent), forced=None)


def run_folder(folder: Path, **settings: Any) -> str:
    """A run with a summary, whose allocator is PyTorch's on a GPU."""
    folder.mkdir()
    told = {"pass_name": "time", "source": "torch", "device": "0", "unit": "B", "ts_ns": 5}
    readings = [told | {"metric": metric, "value": 8.0 * MIB} for metric in ("in_use", "reserved", "peak_in_use")]
    (folder / "spec.json").write_text(dataclasses.replace(RunSpec(), **settings).as_json())
    with store(folder, marks=[mark(0, None, "run", "time", 0, 9)], counters=readings) as connection:
        (folder / "summary.json").write_text(encode(summarise(connection)))
    return str(folder)


def test_compare_prints_both_forms_and_keeps_the_modes_apart(tmp_path: Path) -> None:
    """Text and JSON of the same figures; two modes are never put together, forced or not."""
    one, two = run_folder(tmp_path / "one"), run_folder(tmp_path / "two")
    shipped = run_folder(tmp_path / "shipped", mode="as-shipped")
    text = CliRunner().invoke(command, ["--memory", one, two]).output
    assert "live tensors" in text
    found = json.loads(CliRunner().invoke(command, ["--memory", "--json", one, two]).output)
    assert (found["runs"], found["whole"], found["a_bytes"]) == (["one", "two"], "reserved", 8 * MIB)
    with pytest.raises(HwprofError, match="never compared"):
        CliRunner().invoke(command, ["--memory", "--force", one, shipped], catch_exceptions=False)
    with pytest.raises(HwprofError, match="--memory explains two runs"):
        CliRunner().invoke(command, ["--memory", one, two, shipped.replace("shipped", "one")], catch_exceptions=False)


def test_frameworks_that_are_not_verified_are_refused_without_force(tmp_path: Path) -> None:
    """As wherever runs come together; forced, the report says so first."""
    one, two = run_folder(tmp_path / "one"), run_folder(tmp_path / "two", framework="tf")
    with pytest.raises(HwprofError, match="not verified"):
        CliRunner().invoke(command, ["--memory", one, two], catch_exceptions=False)
    assert CliRunner().invoke(command, ["--memory", "--force", one, two]).output.startswith("Compared by --force.")
