"""`hwprof study`: what it refuses, what it runs and reports anew, and two published comparisons for real."""

import json
from pathlib import Path

import pytest

from tests.commands import hwprof, in_process
from tests.studies import MATCHED, SHIPPED, STUDY, begun, ran, times, written
from tests.test_house import make
from toolkit.analyses.study.claims import CONTRADICTED, NOT_TESTABLE
from toolkit.capture import launch
from toolkit.capture.runtime import Wish
from toolkit.capture.sweeps import COMPLETE
from toolkit.commands import studying, sweeping
from toolkit.errors import BAD_INPUT


def test_each_process_has_a_seed_of_its_own(tmp_path: Path) -> None:
    """So that what hangs on chance in training differs between processes, and the first is the settings' own."""
    spec = begun(tmp_path).points[0].spec
    plan = launch.Plan(Wish(spec, "cpu", None, (), tmp_path), *[None] * (len(launch.Plan._fields) - 1))
    assert [sweeping.reseeded(plan, number).spec.seed for number in (1, 2, 3)] == [0, 1, 2]


def test_bad_input_is_one_clear_line(tmp_path: Path) -> None:
    """Before anything is made: exit code 2, and no folder."""
    for arguments, line in (
        (["devto_rakhshath"], "Did you mean 'devto_rakshath'?"),
        ([], "Which study?"),
        (["devto_rakshath", "--set", "bacth=8"], "Did you mean 'batch'?"),
        (["devto_rakshath", "--repeats", "x"], "repeats 'x' is no number of runs."),
        (["--resume", "last"], "'last' is no study in"),
        (["--resume", "last", "--set", "batch=8"], "--resume goes on with what was asked then. Leave --set out."),
        (["--resume", "last", "--scale", "full", "--repeats", "9"], "Leave --scale, --repeats out."),
        (["devto_rakshath", "--set", f"data_dir={tmp_path}"], "holds neither test_batch.bin nor"),
        (["devto_rakshath", "--set", "framework=torch", "--set", "loop=fit"], "PyTorch has no loop 'fit'."),
    ):
        answer = in_process("study", "--runs", tmp_path / "runs", *arguments)
        assert answer.returncode == BAD_INPUT
        assert line in answer.stderr.splitlines()[-1]
        assert not (tmp_path / "runs").exists()


def test_a_scale_that_runs_nothing_says_why(tmp_path: Path) -> None:
    """In the words of the study, and without a folder."""
    text = STUDY.replace("[[published]]", '[experiments.scales.smoke]\nskip = "it takes hours"\n[[published]]', 1)
    answer = in_process("study", written(tmp_path, text), "--experiment", "train", "--runs", tmp_path / "runs")
    assert answer.returncode == BAD_INPUT
    assert "No experiment is run at scale smoke: train: it takes hours." in answer.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.e2e
def test_a_study_that_ran_is_reported_anew(tmp_path: Path) -> None:
    """By its folder, its name, or `show` and `report`; with the same figures."""
    sweep = ran(tmp_path, times(10, 5))
    found = json.loads(in_process("study", sweep.folder, "--runs", tmp_path, "--json", "--force").stdout)
    assert found == json.loads((sweep.folder / studying.RESULT).read_text())
    assert json.loads(in_process("show", sweep.name, "--runs", tmp_path, "--json", "--force").stdout) == found
    assert "TensorFlow is faster" in in_process("show", sweep.name, "--runs", tmp_path, "--force").stdout
    path = tmp_path / "page.html"
    assert in_process("report", sweep.name, "--runs", tmp_path, "-o", path, "--force").returncode == 0
    assert path.read_text() == (sweep.folder / studying.PAGE).read_text()
    assert sweep.name in in_process("list", "--runs", tmp_path).stdout


@pytest.mark.parametrize("option", ["--set=batch=8", "--verify", "--repeats=9", "--scale=full", "--max-minutes=1"])
def test_a_report_anew_runs_nothing_and_says_so(option: str, tmp_path: Path) -> None:
    """An option of running is refused, by its name."""
    sweep = begun(tmp_path)
    answer = in_process("study", sweep.name, "--runs", tmp_path, option)
    assert answer.returncode == BAD_INPUT
    assert f"is only reported anew. Leave {option.partition('=')[0]} out." in answer.stderr


def test_a_report_that_cannot_be_written_is_shown(tmp_path: Path) -> None:
    """And then says in one line why it is not there."""
    sweep = begun(tmp_path)
    (sweep.folder / studying.RESULT).mkdir()
    answer = in_process("study", sweep.name, "--runs", tmp_path)
    assert answer.returncode == BAD_INPUT
    assert "TensorFlow is faster" in answer.stdout
    assert f"{studying.RESULT} cannot be written: Is a directory." in answer.stderr.splitlines()[-1]


def test_a_study_is_no_sweep_to_go_on_with(tmp_path: Path) -> None:
    """Its processes have seeds of their own, which a sweep's have not: the line says what goes on with it."""
    sweep = begun(tmp_path)
    for name, line in ((sweep.name, f"hwprof study --resume {sweep.name} goes on"), ("last", "There are no sweeps")):
        answer = in_process("sweep", "--resume", name, "--runs", tmp_path)
        assert answer.returncode == BAD_INPUT
        assert line in answer.stderr


def test_the_list_names_every_study() -> None:
    """With what it is."""
    shown = in_process("study", "--list").stdout
    assert all(name in shown for name in ("devto_rakshath", "slides_itai2376", "edhouse_2026"))


def test_make_hands_over_the_study() -> None:
    """Variables become settings as for `make profile`; what a study itself is told becomes its options."""
    shown = make("-n", "study", "STUDY=devto_rakshath", "SCALE=short", "MAX_MINUTES=9", "BATCH=8", "RUNS=r", "VERIFY=1")
    words = shown.stdout.splitlines()[-1].replace("'", "").split()
    assert words == [
        ".venv/toolkit/bin/hwprof", "study", "--runs", "r", "--max-minutes", "9", "--scale", "short", "--verify",
        "--set", "batch=8", "--", "devto_rakshath",
    ]  # fmt: skip
    resumed = make("-n", "study", "RESUME=last").stdout.splitlines()[-1].replace("'", "").split()
    assert resumed == [".venv/toolkit/bin/hwprof", "study", "--resume", "last"]


LOCAL = ("--set=runtime=local", "--set=device=cpu")


@pytest.mark.e2e
def test_a_published_comparison_in_one_command(tmp_path: Path) -> None:
    """A budget that is over at once ends it cleanly, --resume finishes it: each claim has a verdict in both modes."""
    first = hwprof("study", "devto_rakshath", "--runs", tmp_path, "--max-minutes", "0", "--order-seed", "5", *LOCAL)
    assert first.returncode == 0, first.stderr
    assert "0 of 4 points done" in first.stdout
    assert "Its time is over" in first.stderr
    answer = hwprof("study", "--resume", "last", "--runs", tmp_path, "--json", "--force")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert (found["done"], [point["status"] for point in found["points"]]) == (4, [COMPLETE] * 4)
    verdicts = {(claim["id"], mode["mode"]): mode for claim in found["claims"] for mode in claim["modes"]}
    assert len(verdicts) == 6
    for mode in (SHIPPED, MATCHED):
        assert verdicts["accuracy", mode]["verdict"] == NOT_TESTABLE
        assert "no dataset" in verdicts["accuracy", mode]["why"]
        # orders of magnitude, by one framework's sum: told alike there is no such factor
        assert verdicts["loss", mode]["verdict"] == CONTRADICTED
        told_ = {each["name"]: each for each in verdicts["faster", mode]["pairs"][0]["mechanisms"]}
        assert {"ledger", "validation", "first_epoch", "between_epochs", "network"} == set(told_)
        compiled = next(row for row in told_["first_epoch"]["rows"] if row["what"].startswith("compiling"))
        assert (compiled["a"], compiled["b"] > 0) == (0, True)
    matched = verdicts["loss", MATCHED]["pairs"][0]["ratio"]["estimate"]
    assert matched == pytest.approx(1, abs=0.01)


@pytest.mark.e2e
def test_percentages_are_told_with_their_wholes(tmp_path: Path) -> None:
    """Processor of one core and of all, memory resident and of the machine's: of both frameworks, as measured."""
    answer = hwprof("study", "asu_lalitha_2024", "--runs", tmp_path, "--repeats", "1", "--json", *LOCAL)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    (cpu,) = (claim for claim in found["claims"] if claim["id"] == "cpu")
    shipped = next(mode for mode in cpu["modes"] if mode["mode"] == SHIPPED)
    assert shipped["verdict"] == NOT_TESTABLE
    rows = {row["what"]: row for row in shipped["pairs"][0]["mechanisms"][0]["rows"]}
    for side in ("a", "b"):
        one, every = rows["processor, of one core"][side], rows["processor, of all cores"][side]
        assert one == pytest.approx(every * rows["processors"][side])
        resident, whole = rows["most resident (RSS)"][side], rows["the machine's memory"][side]
        assert rows["resident, of the machine's memory"][side] == pytest.approx(100 * resident / whole)
