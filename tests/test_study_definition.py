"""A study's TOML: the published ones can be read and run, and what is wrong in one is a line that says where."""

import re
from pathlib import Path

import pytest

from tests.studies import STUDY, written
from toolkit.analyses.study import definition, points
from toolkit.analyses.study.definition import SCALES, Scale
from toolkit.analyses.study.mechanisms import MECHANISMS
from toolkit.analyses.study.points import Asked
from toolkit.commands import studying
from toolkit.errors import BAD_INPUT, HwprofError

PROFILES = studying.STUDIES.parent
NAMES = ("asu_lalitha_2024", "asu_patel_dl_frameworks", "devto_rakshath", "edhouse_2026", "slides_itai2376")
# What a machine without GPUs, or a zoo, has not: a result of its point.
REFUSED = ("keras.applications has no resnet18.", "parallel=data_parallel does nothing on device=cpu")


def asked(study: str, scale: Scale, **overrides: str) -> Asked:
    """A study at a scale, without its dataset."""
    given = {name: [text] for name, text in overrides.items()}
    return Asked(study=study, scale=scale, overrides=given, no_dataset="it is not here")


def test_the_five_studies_are_there() -> None:
    """Each has a name, by which it is called."""
    assert tuple(definition.names(studying.STUDIES)) == NAMES


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_a_published_study_can_be_run(name: str, scale: Scale) -> None:
    """At each scale every point is one that can run, but for what a zoo or a machine has not; both modes are there."""
    found = definition.read(studying.path_of(name))
    made = points.of_study(found, asked(name, scale), profiles=PROFILES)
    assert [point.refused for point in made if point.refused and not point.refused.startswith(REFUSED)] == []
    assert {point.settings["mode"] for point in made} == {"as-shipped", "matched"}
    assert [point.number for point in made] == list(range(1, len(made) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_published_study_says_what_it_is(name: str) -> None:
    """Every figure has its evidence, every claim its place and, where it is measured, points that it compares."""
    found = definition.read(studying.path_of(name))
    made = points.of_study(found, asked(name, "full"), profiles=PROFILES)
    assert all(figure.where for figure in found.published)
    for claim in found.claims:
        assert claim.where
        if claim.says != "nothing":
            assert claim.mechanisms
            for side in (claim.a, claim.b):
                assert any(points.matches(point, {"experiment": claim.experiment, **side}) for point in made), claim.id


def test_figures_are_those_of_the_shared_record() -> None:
    """Every published value stands in the record of the source, to the digit."""
    shared = Path(__file__).parents[2] / "shared" / "studies"
    if not shared.is_dir():
        pytest.skip("the record of published studies is not on this machine")
    sources = {"slides_itai2376": ("novac_2022", "becirovic_2025")}
    for name in NAMES:
        texts = [(shared / f"{source}.toml").read_text() for source in sources.get(name, (name,))]
        numbers = {float(number) for text in texts for number in re.findall(r"(?<![\w.])\d+\.?\d*", text)}
        values = [figure.value for figure in definition.read(studying.path_of(name)).published]
        assert {value for value in values if value is not None} <= numbers


def test_what_counts_more(tmp_path: Path) -> None:
    """Study, choice, experiment, scale, the command line: later ones replace earlier ones, and what changed is told."""
    found = definition.read(written(tmp_path))
    ask = asked("a_study", "smoke", epochs="4", normalise="cifar10")
    specs = [point.spec for point in points.of_study(found, ask, profiles=PROFILES)]
    assert {(spec.epochs, spec.steps, spec.normalise) for spec in specs if spec} == {(4, 15, "cifar10")}
    changed = {each.setting: (each.full, each.here) for each in points.scaled(found, ask, profiles=PROFILES)}
    assert changed == {"epochs": ("10", "4"), "steps": ("100", "15"), "normalise": ("none", "cifar10")}


def test_what_was_scaled_is_held_to_what_full_runs(tmp_path: Path) -> None:
    """What the study leaves open is the profile's, or a point's; one given as it would be anyway is no change."""
    found = definition.read(written(tmp_path, STUDY.replace("steps = 15 }", "steps = 15, batch = 32 }")))
    ask = Asked(study="a", scale="smoke", no_dataset=None, overrides={"passes": ["time"], "infer_repeats": ["5"]})
    changed = {each.setting: (each.full, each.here) for each in points.scaled(found, ask, profiles=PROFILES)}
    assert changed == {
        "epochs": ("10", "2"), "steps": ("100", "15"), "batch": ("64", "32"), "infer_repeats": ("0", "5"),
    }  # fmt: skip


def test_inference_alone_has_no_settings_of_training() -> None:
    """Nothing of its figures hangs on how long another experiment of the study trains."""
    found = definition.read(studying.path_of("slides_itai2376"))
    changed = points.scaled(found, asked("slides_itai2376", "short"), profiles=PROFILES)
    by = {name: {each.setting for each in changed if each.experiment == name} for name in ("train", "infer", "deep")}
    assert by["train"] == {"epochs", "steps", "validation_steps", "threads"}
    assert by["infer"] == by["deep"] == {"threads", "infer_repeats"}


def test_a_list_on_the_command_line_is_an_axis(tmp_path: Path) -> None:
    """As in a sweep: every point once for each value; claims pair those of one value."""
    found = definition.read(written(tmp_path))
    ask = Asked(study="a", scale="smoke", overrides={"batch": ["8", "16"], "mode": ["matched"]}, no_dataset=None)
    made = points.of_study(found, ask, profiles=PROFILES)
    assert [(point.settings["framework"], point.settings["batch"]) for point in made] == [
        ("torch", "8"), ("torch", "16"), ("tf", "8"), ("tf", "16"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "A beside B"', 'titel = "A"', "unknown field `titel`"),
        ('evidence = "secondary"\n', "", "missing required field `evidence` - at `$.published[1]`"),
        ('evidence = "secondary"', 'evidence = "hearsay"', "'hearsay' - at `$.published[1].evidence`"),
        ("value = 0.010\n", "", "figure step_tf: evidence 'secondary' and value None."),
        ('metric = "step_time"\na =', 'metric = "stepp_time"\na =', "metric of claim faster: 'stepp_time'."),
        ('figures = ["step_torch", "step_tf"]', 'figures = ["stp"]', "Unknown figure of claim faster: 'stp'."),
        ('mechanisms = ["ledger",', 'mechanisms = ["leger",', "Did you mean 'ledger'?"),
        ("b = { framework = ", "b = { framwork = ", "Did you mean 'framework'?"),
        ('b = { framework = "tf" }', 'b = { framework = "torch" }', "claim faster: a and b are no two sides."),
        ('says = "lower"', 'says = "nothing"', "claim faster: says 'nothing', and untestable is ''."),
        ('says = "lower"', 'says = "same"\nfactor = 2', "claim faster: factor 2.0."),
        ('metric = "step_time"\n[', 'metric = "step_time"\nof = { bacth = "8" }\n[', "setting of figure step_torch:"),
        ('framework = ["torch", "tf"]', "framework = []", "length >= 1 - at `$.experiments[0].matrix[...]`"),
        ('modes = ["as-shipped", "matched"]', "modes = []", "length >= 1 - at `$.experiments[0].modes`"),
        ("epochs = 10", 'epochs = "10"', "epochs = '10' is no int."),
        ("epochs = 10", "epoch = 10", "Did you mean 'epochs'?"),
        ('repeats = "6"', 'repeats = "many"', "repeats 'many' is no number of runs."),
        ("[scales.full]", "[scales.huge]", "Invalid enum value 'huge'"),
        ('id = "step_tf"', 'id = "step_torch"', "figure 'step_torch' stands there twice."),
        ('title = "A beside B"', "title = [", "Cannot read the study"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_clear_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    """It names the file, where in it, and what would be right."""
    assert old in STUDY
    with pytest.raises(HwprofError) as caught:
        definition.read(written(tmp_path, STUDY.replace(old, new)))
    assert said in str(caught.value)
    assert "a_study.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == BAD_INPUT


def test_the_page_tells_every_mechanism() -> None:
    """docs/studies.md lists what a claim may name."""
    page = (PROFILES.parent / "docs" / "studies.md").read_text(encoding="utf-8")
    assert [name for name, teller in MECHANISMS.items() if f"| `{name}` | {teller.about} |" not in page] == []
