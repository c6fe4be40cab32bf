"""Sweeps held to themselves along their axes, and to each other point by point."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.made_runs import made_run
from tests.test_compare import invoke, ratio, refused, told
from tests.test_sweeps import sweep
from toolkit.capture.sweeps import COMPLETE, Entry, Log, Sweep

AXES = ("batch=4,8", "optimizer=adam,sgd")
SHARED = ("model=cifar_cnn", "framework=torch")


def made_sweep(place: Path, steps_ms: Mapping[int, float], *axes: str) -> Sweep:
    """A sweep whose points of these numbers were run three times each, at these step times; the others failed."""
    made = sweep(place, *SHARED, *(axes or AXES))
    with Log(made) as log:
        for point in made.points:
            if point.number not in steps_ms:
                log.append(Entry(point=point.number, repeat=1, status="out_of_memory"))
                continue
            for repeat in range(1, 4):
                settings = {"batch": point.spec.batch, "optimizer": point.spec.optimizer, "seed": repeat}
                name = f"{made.name}-{point.number}-{repeat}"
                made_run(place / name, steps_ms[point.number] * (1 + repeat / 1000), **settings)
                log.append(Entry(point=point.number, repeat=repeat, status=COMPLETE, run=name))
    return made


def test_a_sweep_s_points_are_held_to_each_other_along_its_axes(tmp_path: Path) -> None:
    """Pairs differ in one setting, beside the first value of its axis; what was not measured is said."""
    made = made_sweep(tmp_path, {1: 10.0, 2: 12.0, 3: 20.0})
    found = told(tmp_path, made.name)
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [
        ("batch=4 optimizer=adam", "batch=8 optimizer=adam"), ("batch=4 optimizer=adam", "batch=4 optimizer=sgd"),
    ]  # fmt: skip
    assert [ratio(found, "step_time", pair)["effect"] for pair in (0, 1)] == ["worse", "worse"]
    assert ratio(found, "throughput")["verdict"] == "no difference shown"
    assert found["notes"] == ["batch=8 optimizer=sgd: left out: out_of_memory"]
    assert [len(side["runs"]) for side in found["sides"]] == [3, 3, 3]
    assert "batch=8 optimizer=adam beside batch=4 optimizer=adam" in invoke(tmp_path, made.name).output


def test_two_sweeps_are_held_to_each_other_point_by_point(tmp_path: Path) -> None:
    """By their settings; a gate holds at each point, and a point that one lacks is said."""
    a = made_sweep(tmp_path, {1: 10.0, 2: 20.0}, "batch=4,8")
    b = made_sweep(tmp_path, {1: 10.0, 2: 26.0}, "batch=4,8,16")
    ended = invoke(tmp_path, a.name, b.name, "--fail-on", "step_time>5%")
    assert ended.exit_code == 1
    (failed,) = [line for line in ended.output.splitlines() if line.endswith("FAILED ")]
    assert "step_time>5%: B batch=8 beside A batch=8" in failed
    found = told(tmp_path, a.name, b.name)
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [
        ("A batch=4", "B batch=4"),
        ("A batch=8", "B batch=8"),
    ]
    assert found["notes"] == ["B batch=16: left out: out_of_memory"]


def test_a_sweep_is_not_mixed_with_runs(tmp_path: Path) -> None:
    """Nor are sweeps of nothing in common, or of nothing measured, compared."""
    a = made_sweep(tmp_path, {1: 10.0}, "batch=4,8")
    other = made_sweep(tmp_path, {1: 10.0}, "optimizer=adam,sgd")
    run = f"{a.name}-1-1"
    assert refused(tmp_path, a.name, run).startswith("Sweeps are compared with themselves or one other.")
    assert "no point in common" in refused(tmp_path, a.name, other.name)
    assert "no two points that were measured" in refused(tmp_path, a.name)


@pytest.mark.parametrize("sides", [1, 3])
def test_sides_of_sweeps_are_one_or_two(tmp_path: Path, sides: int) -> None:
    """One of one point has nothing to be held to, three are too many."""
    names = [made_sweep(tmp_path, {}, "batch=4,8").name for _ in range(sides)]
    assert "sweep" in refused(tmp_path, *names).lower()
