"""Runs held to each other: what is claimed, what is refused, and that the parts make up what differs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from msgspec import structs

from tests import recorded
from tests.commands import hwprof
from tests.made_runs import end_as, made_run
from toolkit.analyses.comparable import Pair, Side, check
from toolkit.analyses.comparison import compare
from toolkit.analyses.difference_parts import IDLE, OVERLAP, REST, tables
from toolkit.analyses.energy import Energy
from toolkit.analyses.processes import METRICS, Process
from toolkit.analyses.steady_state import steady_state
from toolkit.commands.compare import command
from toolkit.commands.digest import digest
from toolkit.commands.sides import read
from toolkit.errors import BAD_INPUT, HwprofError
from toolkit.reports.comparison import markdown
from toolkit.reports.html import comparison as html
from toolkit.reports.html.content import Chart


def repeats(place: Path, name: str, *steps_ms: Any, **settings: Any) -> str:
    """Repeats of one run, each with its step time; as they are given to the command."""
    made = [made_run(place / f"{name}{number}", ms, seed=number, **settings) for number, ms in enumerate(steps_ms)]
    return ",".join(folder.name for folder in made)


def invoke(place: Path, *arguments: str) -> Result:
    """`hwprof compare` on the runs of a folder, 200 columns wide."""
    return CliRunner().invoke(
        command, ["--runs", str(place), *arguments], catch_exceptions=False, env={"COLUMNS": "200"}
    )


def told(place: Path, *arguments: str) -> dict[str, Any]:
    """What it says in JSON."""
    return dict(json.loads(invoke(place, *arguments, "--json").output))


def ratio(found: dict[str, Any], metric: str, pair: int = 0) -> dict[str, Any]:
    """Of one metric."""
    (one,) = [each for each in found["pairs"][pair]["ratios"] if each["metric"] == metric]
    return dict(one)


def refused(place: Path, *arguments: str) -> str:
    """The one line of a refusal."""
    with pytest.raises(HwprofError) as caught:
        invoke(place, *arguments)
    assert caught.value.exit_code == BAD_INPUT
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_difference_is_claimed_outside_the_margin_alone(tmp_path: Path) -> None:
    """A fifth slower is worse, a hundredth is no difference shown; and of throughput it is the other way round."""
    a = repeats(tmp_path, "a", 10.0, 10.1, 10.2, 10.05)
    slower, same = repeats(tmp_path, "b", 12.0, 12.1, 12.2, 12.3), repeats(tmp_path, "c", 10.1, 10.2, 10.3, 10.15)
    found = told(tmp_path, a, slower, same)
    step, again = ratio(found, "step_time"), ratio(found, "step_time", pair=1)
    assert (step["verdict"], step["effect"]) == ("higher", "worse")
    assert step["ratio"]["estimate"] == pytest.approx(12.15 / 10.075)
    assert step["ratio"]["processes"] == [4, 4]
    assert (again["verdict"], again["effect"]) == ("no difference shown", None)
    throughput = ratio(found, "throughput")
    assert (throughput["verdict"], throughput["effect"]) == ("lower", "worse")
    assert [side["label"] for side in found["sides"]] == ["A", "B", "C"]
    values = found["sides"][0]["metrics"][0]["values"]
    assert values == {"a0": 10e6, "a1": 10.1e6, "a2": 10.2e6, "a3": 10.05e6}


def test_the_margin_is_said_and_drawn_as_it_judges(tmp_path: Path) -> None:
    """Of half: from two thirds to one and a half, in both reports."""
    sides = [Side(name, read([made_run(tmp_path / name)])) for name in "ab"]
    found = compare([Pair(*sides)], margin=0.5, forced=None)
    assert "lies outside 0.667 to 1.500." in markdown(found)
    (forest,) = [block for block in html.sections(found)[0].blocks if isinstance(block, Chart)]
    (band,) = forest.layout["shapes"]
    assert (band["x0"], band["x1"]) == (pytest.approx(2 / 3), 1.5)
    assert "the grey band, 0.667 to 1.500." in str(forest.note)


def test_one_process_each_shows_nothing(tmp_path: Path) -> None:
    """However different their steps are: the ratio without an interval, and why."""
    a, b = repeats(tmp_path, "a", 10.0), repeats(tmp_path, "b", 20.0)
    found = told(tmp_path, a, b)
    step = ratio(found, "step_time")
    assert (step["verdict"], step["effect"], step["ratio"]["low"]) == ("not testable", None, None)
    assert step["ratio"]["estimate"] == 2
    assert (
        "one process each: no difference is testable; give 3 repeats of each, better six" in found["pairs"][0]["notes"]
    )
    assert "not testable" in invoke(tmp_path, a, b).output
    two = repeats(tmp_path, "c", 20.0, 20.0)
    assert any(note.startswith("too few repeats") for note in told(tmp_path, a, two)["pairs"][0]["notes"])


def test_steps_before_the_change_point_are_left_out(tmp_path: Path) -> None:
    """Where warming up ends is told of each process; one that slows down until the end has no steady state."""
    warm, late = [15.0] * 10 + [10.0] * 20, [10.0] * 25 + [14.0] * 5
    a, b = repeats(tmp_path, "a", warm, warm, warm), repeats(tmp_path, "b", late, late, late)
    found = told(tmp_path, a, b)
    assert [each["warmup_steps"] for each in found["sides"][0]["warming_up"]] == [10, 10, 10]
    assert ratio(found, "step_time")["ratio"]["estimate"] == 1
    (note,) = [note for note in found["pairs"][0]["notes"] if "steady" in note]
    assert note == "B: 3 of 3 runs: no steady state: the step's duration still changed after 25 of 30 steps"
    shown = invoke(tmp_path, a, b).output
    assert "warmed up after 10 of 30 steps, by change-points, in 3 of 3" in shown
    assert note in shown


def test_outliers_are_shown_and_stay_in(tmp_path: Path) -> None:
    """A process a third slower is named, and is one of the values."""
    a = repeats(tmp_path, "a", 10.0, 10.0, 10.1, 10.1, 13.5)
    b = repeats(tmp_path, "b", 10.0, 10.0, 10.1, 10.1, 10.0)
    shown = invoke(tmp_path, a, b).output
    assert "outlier, left in every figure: a4 (step_time, throughput, epoch_time, first_epoch)" in shown
    assert told(tmp_path, a, b)["sides"][0]["metrics"][0]["values"]["a4"] == 13.5e6


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model": "resnet18"}, "model: model cifar_cnn and resnet18"),
        ({"precision": "bf16"}, "precision: precision fp32 and bf16"),
        ({"batch": 8}, "data: batch 32 and 8"),
        ({"image_size": 64}, "data: image_size 32 and 64"),
        ({"facts": {"cpu": "Another"}}, "hardware: processor A processor and Another"),
        ({"facts": {"cpus": 4}, "threads": 1}, "hardware: processors 2 and 4, threads 0 and 1"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_differs_in_more_than_is_compared_is_refused_by_name(
    tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    """One line names it with both values; forced, the report begins with it."""
    a, b = repeats(tmp_path, "a", 10.0), repeats(tmp_path, "b", 10.0, **settings)
    assert refused(tmp_path, a, b) == f"The sides differ in {problem}. --force compares them all the same, and says so."
    assert f"Compared by --force. The sides differ in {problem}." in invoke(tmp_path, a, b, "--force").output
    assert told(tmp_path, a, b, "--force")["forced"].endswith(f"{problem}.")


def test_modes_and_unverified_frameworks_are_refused(tmp_path: Path) -> None:
    """As wherever runs come together: two modes by force, too."""
    a, shipped = repeats(tmp_path, "a", 10.0), repeats(tmp_path, "b", 10.0, mode="as-shipped")
    assert "never compared" in refused(tmp_path, a, shipped, "--force")
    tf = repeats(tmp_path, "c", 10.0, framework="tf", loop="custom")
    assert "not verified" in refused(tmp_path, a, tf)
    assert "Compared by --force. Matched runs of TensorFlow" in invoke(tmp_path, a, tf, "--force").output


def test_a_side_holds_repeats_of_one_run(tmp_path: Path) -> None:
    """What is none is refused, forced or not; so is a run given twice, and one that is not complete."""
    a, b = repeats(tmp_path, "a", 10.0), repeats(tmp_path, "b", 10.0, optimizer="sgd")
    said = refused(tmp_path, f"{a},{b}", a, "--force")
    assert said.startswith("a0 and b0 are no repeats of each other: optimizer adam and sgd. ")
    assert refused(tmp_path, a, a).startswith("a0 is given twice.")
    end_as("failed", made_run(tmp_path / "failed"))
    assert refused(tmp_path, a, "failed").startswith("failed is failed: ")
    assert refused(tmp_path, a).startswith("a0 alone is nothing to compare.")
    assert refused(tmp_path, a, "x*").startswith("'x*' fits no run.")


def test_a_pattern_stands_for_what_it_fits(tmp_path: Path) -> None:
    """Its quotes keep it from the shell."""
    repeats(tmp_path, "a", 10.0, 10.0, 10.0)
    repeats(tmp_path, "b", 10.0, 10.0)
    assert [side["runs"] for side in told(tmp_path, "a*", "b?")["sides"]] == [["a0", "a1", "a2"], ["b0", "b1"]]


def processes(place: Path, *names: str) -> list[Process]:
    """As the command reads them."""
    return read([place / name for name in names])


def test_the_ledger_s_parts_make_up_the_difference(tmp_path: Path) -> None:
    """Of the middle process and its middle epoch, to the nanosecond, the largest difference first."""
    repeats(tmp_path, "a", 10.000_001, 11.0, 9.0)
    repeats(tmp_path, "b", 14.000_007, 20.0, 13.0)
    (parts, *_), _ = tables(processes(tmp_path, "a0", "a1", "a2"), processes(tmp_path, "b0", "b1", "b2"))
    assert (parts.a_run, parts.b_run) == ("a0", "b0")
    assert (parts.a, parts.b) == (15 * 10_000_001 + 5_000_000, 15 * 14_000_007 + 5_000_000)
    assert [(part.name, part.difference) for part in parts.parts] == [
        ("compute", 15 * 4_000_006), ("data_wait", 0), ("validation", 0),
    ]  # fmt: skip
    assert sum(part.difference for part in parts.parts) == parts.difference == parts.b - parts.a


def test_kernel_categories_make_up_the_device_s_time(tmp_path: Path) -> None:
    """With what ran at the same time taken off and idle time added; a category that one side lacks is 0 of it."""
    made_run(tmp_path / "a", kernels={"gemm": 100, "conv": 50})
    made_run(tmp_path / "b", kernels={"gemm": 130, "norm": 20, "pool": 4})
    found, _ = tables(processes(tmp_path, "a"), processes(tmp_path, "b"))
    (parts,) = [each for each in found if each.of.startswith("Device time")]
    assert {part.name: (part.a, part.b) for part in parts.parts} == {
        "gemm": (103, 133), "conv": (50, 0), "norm": (0, 20), "pool": (0, 4), IDLE: (7, 14), OVERLAP: (-3, -3),
    }  # fmt: skip
    assert (parts.a, parts.b) == (157, 168)
    assert sum(part.difference for part in parts.parts) == 11


def energy(kind: str, name: str, mj: float | None, device: str = "0") -> Energy:
    """Of one device in one window of the time pass, by its counter."""
    unknown: dict[str, Any] = dict.fromkeys(Energy.__struct_fields__)
    own = {"pass_name": "time", "device": device, "kind": kind, "name": name, "windows": 1, "ns": 9, "counter_mj": mj}
    return Energy(**(unknown | own))


def test_energy_s_parts_make_up_the_run(tmp_path: Path) -> None:
    """To the microjoule, on the GPUs in use alone; a stage that has no figure is in the rest."""
    sides = []
    for name, run_mj, train_mj, setup_mj in (("a", 100.1234, 60.0004, None), ("b", 120.5, 80.25, 10.0)):
        (process,) = processes(made_run(tmp_path / name).parent, name)
        rows = [energy("run", "run", run_mj), energy("stage", "train", train_mj), energy("stage", "setup", setup_mj)]
        rows += [energy("run", "run", 70.0, other) for other in ("1", "rapl_package-0", "rapl_package-0_core")]
        sides.append([process._replace(summary=structs.replace(process.summary, energy=rows), gpu_indices=["0"])])
    (parts,) = [each for each in tables(*sides)[0] if each.unit == "uJ"]
    assert {part.name: (part.a, part.b) for part in parts.parts} == {
        "train": (60_000, 80_250), "setup": (0, 10_000), REST: (40_123, 30_250),
    }  # fmt: skip
    assert sum(part.difference for part in parts.parts) == parts.difference == 20_377


def test_what_only_one_side_tells_is_said(tmp_path: Path) -> None:
    """And so is a figure that only some of a side's runs have."""
    made_run(tmp_path / "a", kernels={"gemm": 100})
    made_run(tmp_path / "b")
    sides = [Side(name, processes(tmp_path, name)) for name in "ab"]
    (pair,) = compare([Pair(*sides)], margin=0.03, forced=None).pairs
    assert "Device time by kernel category, profiled window: not told, for only one side has it" in pair.notes


def test_a_setting_that_is_compared_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """As the batch of a sweep."""
    sides = [Side(name, read([made_run(tmp_path / name, batch=batch)])) for name, batch in (("a", 4), ("b", 8))]
    assert check([Pair(*sides, axes=["batch"])], force=False) is None
    with pytest.raises(HwprofError, match="batch 4 and 8"):
        check([Pair(*sides)], force=False)


def test_names_are_data_in_markdown(tmp_path: Path) -> None:
    """They open no tag, end no cell and mention nobody; the grids have as many cells in each row."""
    a, b = made_run(tmp_path / "<b>|@me"), made_run(tmp_path / "b")
    text = invoke(tmp_path, a.name, b.name, "--format", "markdown").output
    assert "<b>" not in text
    assert "&#60;b&#62;&#124;&#64;me" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {6, 7}
    assert "| step_time, ms | 10.00 | 10.00 | 1.000 | – | not testable |" in rows


@pytest.mark.e2e
def test_the_gate_s_exit_code_is_the_process_s(tmp_path: Path) -> None:
    """0 where nothing is shown, 1 where a condition failed, both with the report; 2 where it cannot be tested."""
    draw = np.random.default_rng(0)
    a = repeats(tmp_path, "a", *draw.uniform(10.0, 10.2, 3))
    b = repeats(tmp_path, "b", *draw.uniform(11.5, 11.7, 3), resident_mib=700.0)
    for condition, code, verdict in (
        ("step_time>5%", 1, "FAILED"), ("step_time>20%", 0, "not shown"), ("peak_memory>2%", 1, "FAILED"),
        ("step_time>20%,peak_memory>50%", 0, "not shown"), ("throughput<5%", 1, "FAILED"),
    ):  # fmt: skip
        ended = invoke(tmp_path, a, b, "--fail-on", condition)
        assert (ended.exit_code, verdict in ended.output) == (code, True)
    assert refused(tmp_path, a, b, "--fail-on", "energy>5%").startswith("energy>5% cannot be tested: a0 has no energy.")
    assert hwprof("compare", "--runs", tmp_path, a, b, "--fail-on", "step_time>5%").returncode == 1


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("step_tim>5%", "Did you mean 'step_time'?"),
        ("step_time>5", "'step_time>5' is no condition."),
        ("", "'' is no condition."),
        ("step_time<100%", "can never fail"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(tmp_path: Path, condition: str, problem: str) -> None:
    """In one line, with an example."""
    a, b = repeats(tmp_path, "a", 10.0), repeats(tmp_path, "b", 10.0)
    assert problem in refused(tmp_path, a, b, "--fail-on", condition)


def test_hardware_that_was_not_recorded_is_not_taken_for_equal(tmp_path: Path) -> None:
    """It refuses nothing, and is said."""
    made_run(tmp_path / "a")
    (made_run(tmp_path / "b") / "raw" / "time" / "facts.json").unlink()
    (pair,) = told(tmp_path, "a", "b")["pairs"]
    assert "B: recorded no processor, processors, GiB of memory: whether they are equal is not known" in pair["notes"]


def test_inference_has_no_steps_to_warm_up(tmp_path: Path) -> None:
    """And so nothing is said of them."""
    sides = [Side(name, processes(made_run(tmp_path / name).parent, name)) for name in "ab"]
    sides = [Side(side.label, [side.processes[0]._replace(durations=[], steady=steady_state([]))]) for side in sides]
    assert not any("steps" in note for note in compare([Pair(*sides)], margin=0.03, forced=None).pairs[0].notes)


def test_a_margin_or_a_form_that_is_none_is_refused(tmp_path: Path) -> None:
    """In one line each."""
    a, b = repeats(tmp_path, "a", 10.0), repeats(tmp_path, "b", 10.0)
    for margin in ("nan", "-1", "101"):
        assert refused(tmp_path, a, b, "--margin", margin).endswith("Give 0 to 100.")
    assert "--memory has no Markdown" in refused(tmp_path, a, b, "--memory", "--format", "markdown")


def test_a_gate_that_memory_would_ignore_is_refused(tmp_path: Path) -> None:
    """By name: no gate passes because it was never judged."""
    for name in "ab":
        made_run(tmp_path / name)
    said = refused(tmp_path, "a", "b", "--memory", "--fail-on", "step_time>5%", "--margin", "3")
    assert said == "--memory explains a difference, and judges none. Leave --margin, --fail-on out."


def test_many_conditions_ask_for_wider_intervals(tmp_path: Path) -> None:
    """So that all together fail in at most one of twenty gates; two are as each for itself."""
    a, b = repeats(tmp_path, "a", 10.0, 10.1, 10.2), repeats(tmp_path, "b", 10.0, 10.1, 10.2)
    for metrics, level in (
        ("step_time", 0.95),
        ("step_time throughput", 0.95),
        ("step_time epoch_time first_epoch throughput", 0.975),
    ):
        conditions = ",".join(f"{metric}>5%" for metric in metrics.split())
        gate = told(tmp_path, a, b, "--fail-on", conditions)["gate"]
        assert gate["level"] == pytest.approx(level)
        assert all(each["ratio"]["level"] >= level for each in gate["conditions"])
        assert not gate["failed"]


def test_what_is_not_trusted_is_said(tmp_path: Path) -> None:
    """Its figures stay, and the report says whose they are."""
    sides = [Side(name, processes(made_run(tmp_path / name).parent, name)) for name in "ab"]
    doubtful = sides[1].processes[0]
    doubtful = doubtful._replace(summary=structs.replace(doubtful.summary, trusted=False))
    found = compare([Pair(sides[0], Side("b", [doubtful]))], margin=0.03, forced=None)
    assert [side.untrusted for side in found.sides] == [[], ["b"]]
    assert "NOT TRUSTED: b" in markdown(found)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_null_where_a_run_does_not_tell_it(metric: str, tmp_path: Path) -> None:
    """Never 0: of a run without marks nothing is told but its memory."""
    (process,) = processes(made_run(tmp_path / "a").parent, "a")
    bare = structs.replace(process.summary, epochs=[], gaps=[], training=[], samples=[])
    assert METRICS[metric].of(process._replace(summary=bare, durations=[])) is None


@pytest.mark.e2e
def test_recorded_runs_are_compared(tmp_path: Path) -> None:
    """Real runs of two frameworks, by force: every part table sums, and one process each shows nothing."""
    names = [folder.name for folder in recorded.unpack(tmp_path)]
    for folder in names:
        digest(tmp_path / folder)
    found = told(tmp_path, *names[:2], "--force")
    (pair,) = found["pairs"]
    assert {each["verdict"] for each in pair["ratios"]} == {"not testable"}
    assert {"step_time", "epoch_time", "peak_memory", "latency"} <= {each["metric"] for each in pair["ratios"]}
    assert pair["parts"]
    for table in pair["parts"]:
        assert sum(part["difference"] for part in table["parts"]) == table["difference"] == table["b"] - table["a"]


def test_too_few_repeats_are_no_pass(tmp_path: Path) -> None:
    """A gate that could never fail is refused."""
    a, b = repeats(tmp_path, "a", 10.0), repeats(tmp_path, "b", 90.0)
    said = refused(tmp_path, a, b, "--fail-on", "step_time>5%")
    assert said.startswith("step_time>5% cannot be tested: A and B have 1 and 1 processes. Give 3 repeats of each")
