"""A study from its runs: verdicts, what bars them, what is said beside figures; of runs made by hand."""

import json
import re
from pathlib import Path

import pytest

from tests.report_runs import HOSTILE
from tests.studies import MATCHED, SHIPPED, STUDY, begun, ran, result, text_of, times, told
from tests.test_report import Page, assert_shown, at
from toolkit.analyses import processes
from toolkit.analyses.study import claims
from toolkit.analyses.study.claims import CONTRADICTED, NOT_SHOWN, NOT_TESTABLE, SHOWN, Pair, Verdict
from toolkit.capture.sweeps import UNSUPPORTED, Entry, Log
from toolkit.commands import studying
from toolkit.reports.tables import three_digits


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
    for words in ("epochs, steps", "secondary", "unreadable", "--set normalise=cifar10", "0.0100 [0.00998–0.0100] s"):
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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"), (3, "3"), (-0.00043217, "-0.000432"), (0.948, "0.948"), (2.1834, "2.18"),
        (47.31, "47.3"), (715.23, "715"), (12_934.6, "12,935"),
    ],
)  # fmt: skip
def test_figures_have_three_digits(value: float, said: str) -> None:
    """However small they are; no digit before the point is left out."""
    assert three_digits(value) == said
