"""A study from its runs: verdicts, what bars them, what is said beside figures; made by hand, and for real."""

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from tests.commands import hwprof, in_process
from tests.report_runs import HOSTILE
from tests.studies import STUDY, begun, ran, result, written
from tests.test_house import make
from tests.test_report import Page, assert_shown, at
from toolkit.analyses import processes
from toolkit.analyses.study import claims
from toolkit.analyses.study.claims import CONTRADICTED, NOT_SHOWN, NOT_TESTABLE, SHOWN, InMode, Pair, Verdict
from toolkit.analyses.study.results import StudyResult
from toolkit.capture import launch
from toolkit.capture.runtime import Wish
from toolkit.capture.sweeps import COMPLETE, UNSUPPORTED, Entry, Log
from toolkit.commands import studying, sweeping
from toolkit.errors import BAD_INPUT
from toolkit.reports import study as report

SHIPPED = "as-shipped"
MATCHED = "matched"


def times(torch_ms: float, tf_ms: float, mode: str = SHIPPED) -> dict[tuple[str, str], float]:
    """How long steps take in each framework."""
    return {(mode, "torch"): torch_ms, (mode, "tf"): tf_ms}


def told(found: StudyResult, mode: str = SHIPPED, claim: int = 0) -> InMode:
    """A claim's verdict in a mode."""
    return next(each for each in found.claims[claim].modes if each.mode == mode)


def text_of(found: StudyResult) -> str:
    """The report as it is printed."""
    console = Console(width=200, record=True)
    console.print(report.report(found))
    return console.export_text()


@pytest.mark.parametrize(
    ("says", "tf_ms", "verdict"),
    [
        ('"lower"', 8.0, SHOWN),
        ('"lower"', 12.0, CONTRADICTED),
        ('"lower"', 10.1, NOT_SHOWN),
        ('"higher"', 12.0, SHOWN),
        ('"same"', 10.1, SHOWN),
        ('"same"', 12.0, CONTRADICTED),
        ('"lower"\nfactor = 10', 8.0, CONTRADICTED),
        ('"lower"\nfactor = 1.2', 5.0, SHOWN),
        ('"lower"\nfactor = 1.25', 8.0, NOT_SHOWN),
    ],
)
def test_a_verdict_is_what_the_interval_says(says: str, tf_ms: float, verdict: str, tmp_path: Path) -> None:
    """Outside the margin on the claimed side, on the other, or neither; of a factor by that; with what it rests on."""
    text = STUDY.replace('says = "lower"', f"says = {says}")
    found = told(result(tmp_path, times(10, tf_ms), text=text))
    assert found.verdict == verdict
    (pair,) = found.pairs
    assert pair.ratio
    assert pair.ratio.low
    assert pair.ratio.high
    assert pair.ratio.low < tf_ms / 10 < pair.ratio.high
    assert pair.ratio.processes == [3, 3]


def test_a_noisy_machine_shows_neither_difference_nor_equality(tmp_path: Path) -> None:
    """An interval that reaches over the margin decides nothing."""
    text = STUDY.replace('says = "lower"', 'says = "same"')
    assert told(result(tmp_path, times(10, 10), text=text, noise=(1.0, 1.2, 0.8))).verdict == NOT_SHOWN


def test_a_figure_of_nothing_is_one_and_has_no_ratio(tmp_path: Path) -> None:
    """Between epochs these runs do nothing but validate: 0 stands beside the published figure, and bars the verdict."""
    found = result(tmp_path, times(10, 5), text=STUDY.replace('"step_time"', '"epoch_gap_alone"'))
    (ours,) = (one for one in found.published[0].ours if one.mode == SHIPPED)
    assert ours.figure
    assert (ours.figure.estimate, ours.figure.processes) == (0, [3])
    claim = told(found)
    assert claim.verdict == NOT_TESTABLE
    assert "framework=tf: epoch_gap_alone is 0 in 3 of 3 runs, which has no ratio" in claim.why
    assert claim.pairs[0].a
    assert claim.pairs[0].ratio is None


def test_too_few_processes_are_no_test(tmp_path: Path) -> None:
    """The figures are there, the interval is not, and the reason is."""
    found = told(result(tmp_path, times(10, 5), noise=(1.0,)))
    assert (found.verdict, found.why) == (NOT_TESTABLE, "too few processes for an interval: 1 of a side")
    assert found.pairs[0].ratio


def test_a_mechanism_tells_both_sides(tmp_path: Path) -> None:
    """The ledger's parts sum to the epoch; what validation and waiting are is what the runs were made of."""
    (pair,) = told(result(tmp_path, times(10, 20))).pairs
    ledger, gap, percentages = pair.mechanisms
    rows = {row.what: (row.a, row.b) for row in ledger.rows}
    assert rows.pop("whole epoch") == tuple(sum(each) for each in zip(*rows.values(), strict=True))
    assert rows["validation"] == (5e6, 5e6)
    assert "compute +" in ledger.says
    assert "cannot show as a gap" in gap.says
    assert {row.what: row.a for row in percentages.rows}["the machine's memory"] == 8 << 30


def test_a_matched_comparison_needs_a_verdict_on_the_models(tmp_path: Path) -> None:
    """Without one neither the claim nor TensorFlow's figure is shown, and the remedy is; --force shows both."""
    sweep = ran(tmp_path, times(10, 5, MATCHED))
    found = studying.read(sweep.folder, force=False)
    assert told(found, MATCHED).verdict == NOT_TESTABLE
    assert "TensorFlow cifar_cnn are not verified to be the same as PyTorch's" in told(found, MATCHED).why
    assert found.withheld
    ours = {(one.framework, each.mode): each for one in found.published for each in one.ours}
    assert ours["torch", MATCHED].figure
    assert ours["tf", MATCHED].figure is None
    assert "are not verified" in str(ours["tf", MATCHED].why)
    assert told(studying.read(sweep.folder, force=True), MATCHED).verdict == SHOWN


@pytest.mark.parametrize(
    "text",
    [
        STUDY.replace('framework = ["torch", "tf"]', 'framework = ["tf"]'),
        STUDY.replace('a = { framework = "torch" }', 'a = { framework = "tf", batch = "8" }')
        .replace('b = { framework = "tf" }', 'b = { framework = "tf", batch = "16" }')
        .replace("matrix = { framework", "matrix = { batch = [8, 16], framework"),
    ],
)
def test_matched_tensorflow_needs_one_also_without_pytorch(text: str, tmp_path: Path) -> None:
    """Where PyTorch has no such point, or another claim holds two of TensorFlow's to each other."""
    found = studying.read(ran(tmp_path, {(MATCHED, "tf"): 5}, text=text).folder, force=False)
    assert told(found, MATCHED).verdict == NOT_TESTABLE
    assert "are not verified" in str(found.withheld)
    ours = [each for one in found.published if one.framework == "tf" for each in one.ours if each.mode == MATCHED]
    assert ours
    assert all(each.figure is None and "are not verified" in str(each.why) for each in ours)


def test_modes_never_share_a_table(tmp_path: Path) -> None:
    """Each has its own verdict and its own figures beside the published ones."""
    found = result(tmp_path, times(10, 5) | times(5, 10, MATCHED))
    assert (told(found).verdict, told(found, MATCHED).verdict) == (SHOWN, CONTRADICTED)
    assert found.counts == {SHIPPED: {SHOWN: 1}, MATCHED: {CONTRADICTED: 1}}
    shown = text_of(found)
    for mode in (SHIPPED, MATCHED):
        assert f"Claims, {mode}" in shown
        assert f"Published figures, and ours beside them, {mode}" in shown


@pytest.mark.parametrize(
    ("added", "why"),
    [
        ('needs = ["gpu"]', "no GPU: no run was on one"),
        ('needs = ["cifar10"]', "no dataset: CIFAR-10 is not on this machine"),
        ('decided_by = ["epochs"]', "what this scale changed decides it: epochs 2 for 10"),
    ],
)
def test_what_is_lacking_bars_a_verdict(added: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the figures say, which are shown all the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = STUDY.replace('figures = ["step_torch"', f'{added}\nfigures = ["step_torch"')
    text = text.replace('model = "cifar_cnn"', 'model = "cifar_cnn"\ndataset = "cifar10"')
    found = told(result(tmp_path, times(10, 5), text=text))
    assert found.verdict == NOT_TESTABLE
    assert why in found.why
    assert found.pairs[0].ratio


def test_a_claim_that_nothing_measures_says_so(tmp_path: Path) -> None:
    """It has no mode, and its reason is the study's."""
    claim = '[[claims]]\nid = "taste"\ntext = "B is nicer"\nwhere = "p. 3"\nsays = "nothing"\nuntestable = "a taste"\n'
    found = result(tmp_path, times(10, 5), text=STUDY + claim)
    assert [(each.mode, each.verdict, each.why) for each in found.claims[1].modes] == [("", NOT_TESTABLE, "a taste")]
    assert "Claims that nothing here measures" in text_of(found)


def test_of_several_pairs_without_figures_the_first_says_why(tmp_path: Path) -> None:
    """Of several that nothing is told of, none is testable, with the first one's reason."""
    text = STUDY.replace("matrix = { framework", "matrix = { batch = [8, 16], framework")
    sweep = begun(tmp_path, text)
    with Log(sweep) as log:
        for point in sweep.points[:4]:
            log.append(Entry(point=point.number, repeat=1, status="out_of_memory", reason="time pass: no room"))
    found = told(studying.read(sweep.folder, force=True))
    assert found.verdict == NOT_TESTABLE
    assert found.why.startswith("of 2 pairs 2 not testable, such as: framework=torch: out of memory (time pass: no")
    assert [pair.settings for pair in found.pairs] == [{"batch": "8"}, {"batch": "16"}]


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ((SHOWN, SHOWN), SHOWN),
        ((SHOWN, NOT_TESTABLE), NOT_SHOWN),
        ((SHOWN, NOT_SHOWN), NOT_SHOWN),
        ((CONTRADICTED, NOT_TESTABLE), CONTRADICTED),
        ((SHOWN, CONTRADICTED), NOT_SHOWN),
        ((NOT_TESTABLE, NOT_TESTABLE), NOT_TESTABLE),
    ],
)
def test_a_claim_of_several_pairs_is_shown_where_all_are(pairs: tuple[Verdict, Verdict], verdict: Verdict) -> None:
    """Not where one was not tested; contradicted where some are and none is shown; with the numbers."""
    made = [Pair(settings={}, a=None, b=None, ratio=None, verdict=each, why=None, mechanisms=[]) for each in pairs]
    found, why = claims._together(made)
    assert found == verdict
    assert "of 2 pairs " in why


def test_a_point_that_cannot_run_bars_its_claim_by_its_own_reason(tmp_path: Path) -> None:
    """Also where the claim is of some models only, and the point differs from others in its framework alone."""
    text = STUDY.replace("[[claims]]", '[[claims]]\nonly = { model = ["resnet18"] }')
    sweep = begun(tmp_path, text, {"model": ["resnet18"], "mode": [SHIPPED]})
    (refused,) = (point for point in sweep.points if point.refused)
    with Log(sweep) as log:
        log.append(Entry(point=refused.number, repeat=0, status=UNSUPPORTED, reason=refused.refused))
    assert (
        "framework=tf: unsupported (keras.applications has no resnet18."
        in told(studying.read(sweep.folder, force=True)).why
    )


def test_a_point_that_failed_ends_no_study(tmp_path: Path) -> None:
    """It is a row with its reason, its claims are not testable for that reason, and the others have verdicts."""
    found = result(
        tmp_path,
        times(10, 5) | times(10, 5, MATCHED),
        otherwise={(SHIPPED, "tf"): ("out_of_memory", "time pass: no room")},
    )
    assert told(found).verdict == NOT_TESTABLE
    assert told(found).why == "framework=tf: out of memory (time pass: no room)"
    assert told(found, MATCHED).verdict == SHOWN
    assert found.done == 4
    assert re.search(r"2 +train, as-shipped +framework=tf +out of memory +time pass: no room", text_of(found))


def test_each_run_of_a_study_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its point's status and for its figures together: stores are large."""
    sweep = ran(tmp_path, times(10, 5))
    folders, read = [], processes.read
    monkeypatch.setattr(processes, "read", lambda folder, summary: folders.append(folder) or read(folder, summary))
    studying.read(sweep.folder, force=True)
    assert len(folders) == len(set(folders)) == 6


def test_a_study_that_ran_out_of_time_tells_what_is_there(tmp_path: Path) -> None:
    """Points without enough runs are unfinished; nothing is made up for them."""
    found = result(tmp_path, {(SHIPPED, "torch"): 10.0})
    assert found.done == 1
    assert told(found).verdict == NOT_TESTABLE
    assert told(found).why == "framework=tf: unfinished"
    assert "1 of 4 points done" in text_of(found)


def test_what_was_scaled_stands_beside_every_figure(tmp_path: Path) -> None:
    """Of the experiment that the figure is of; the choices and how to vary them, and the evidence, too."""
    found = result(tmp_path, times(10, 5))
    scaled = ["epochs 2 for 10", "steps 15 for 100"]
    assert [one.scaled for one in found.published] == [scaled, scaled, []]
    assert found.claims[0].scaled == scaled
    assert found.claims[0].published_ratio == 0.5
    assert [(one.setting, one.value, one.given) for one in found.choices] == [("normalise", "none", False)]
    shown = text_of(found)
    for words in ("epochs, steps", "secondary", "unreadable", "--set normalise=cifar10", "0.010 [0.010–0.010] s"):
        assert words in shown
    (ours,) = (one for one in found.published[0].ours if one.mode == SHIPPED)
    assert ours.figure
    assert ours.figure.estimate == pytest.approx(10e6, rel=0.003)


def test_to_vary_a_choice_leaves_other_experiments_alone(tmp_path: Path) -> None:
    """One that is made for some of them names these."""
    text = STUDY.replace('reason = "not stated"', 'reason = "not stated"\nexperiments = ["train"]')
    (choice,) = studying.read(begun(tmp_path, text).folder, force=True).choices
    assert choice.vary == "--set normalise=cifar10 --experiment train"


@pytest.mark.e2e
def test_every_figure_of_the_page_is_one_of_study_json(tmp_path: Path) -> None:
    """Exactly, where it says it stands; sections come in their order, and what is unknown says why."""
    sweep = ran(tmp_path, times(10, 5) | times(10, 5, MATCHED))
    studying.write(sweep.folder, studying.read(sweep.folder, force=False))
    parsed = Page(sweep.folder / studying.PAGE)
    told_ = json.loads((sweep.folder / studying.RESULT).read_text())
    assert len(parsed.figures) > 50
    for figure in parsed.figures:
        assert_shown(figure, at(told_, str(figure["data-of"])))
    assert [attributes["id"] for tag, attributes in parsed.elements if tag == "section"] == [
        "verdicts", "claims", "figures", "choices", "points", "environment", "definitions",
    ]  # fmt: skip


def test_names_in_a_study_are_data(tmp_path: Path) -> None:
    """Nothing that a TOML or a run says is markup or script on the page, or a control character on a terminal."""
    hostile = json.dumps(HOSTILE)
    text = STUDY.replace('unit = "s"', 'unit = "[/s]"')
    for name in ("A beside B", "Somebody, somewhere", "TensorFlow is faster", "table 1", "not stated", "a GPU",
                 "the weather", "of another machine"):  # fmt: skip
        text = text.replace(f'"{name}"', hostile)
    sweep = ran(tmp_path, times(10, 5), text=text, otherwise={(MATCHED, "torch"): ("failed", HOSTILE)})
    found = studying.read(sweep.folder, force=True)
    studying.write(sweep.folder, found)
    parsed = Page(sweep.folder / studying.PAGE)
    assert "window.harmed=1" in parsed.words
    assert not [tag for tag, _ in parsed.elements if tag in {"img", "iframe", "object", "base", "form"}]
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert "\u202e" not in (sweep.folder / studying.PAGE).read_text()
    assert "\x1b[2J" not in text_of(found)


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
