"""A sweep's matrix: what is an axis, which points there are, and what is refused before anything runs."""

import re
from pathlib import Path

import pytest

from toolkit.capture import matrix
from toolkit.capture.matrix import Point
from toolkit.errors import BAD_INPUT, HwprofError

PROFILES = Path(__file__).parents[1] / "profiles"


def points(*settings: str) -> list[Point]:
    """The points of these settings."""
    return matrix.points(matrix.of_settings(settings), profiles=PROFILES)


def refusal(*settings: str) -> str:
    """The one line that they are answered with."""
    with pytest.raises(HwprofError) as caught:
        points(*settings)
    assert caught.value.exit_code == BAD_INPUT
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_combination_is_a_point() -> None:
    """A comma list is an axis; points are numbered in the order of the axes, and each holds its whole spec."""
    made = points("framework=torch, tf", "model=cifar_cnn", "batch=8,32,80", "steps=3")
    assert [(point.number, dict(point.settings)) for point in made] == [
        (number, {"framework": framework, "batch": batch})
        for number, (framework, batch) in enumerate(
            [(framework, batch) for framework in ("torch", "tf") for batch in ("8", "32", "80")], 1
        )
    ]
    specs = [point.spec for point in made]
    assert [(spec.framework, spec.batch, spec.steps, spec.model) for spec in specs if spec] == [
        (framework, batch, 3, "cifar_cnn") for framework in ("torch", "tf") for batch in (8, 32, 80)
    ]


def test_each_model_keeps_its_profile() -> None:
    """What no setting says comes from each model's own profile."""
    assert [point.spec and point.spec.batch for point in points("model=cifar_cnn,vgg16")] == [64, 8]


def test_a_point_is_measured_for_its_own_sake() -> None:
    """Without the profiler and without the requests after training, unless they are asked for."""
    (plain,) = points("model=cifar_cnn")
    (asked,) = points("model=cifar_cnn", "passes=time,profile", "infer_batches=1,4", "infer_repeats=3")
    assert plain.spec
    assert (plain.spec.passes, plain.spec.infer_repeats) == (("time",), 0)
    assert asked.spec
    assert (asked.spec.passes, asked.spec.infer_batches, asked.spec.infer_repeats) == (("time", "profile"), (1, 4), 3)


def test_the_batch_of_inference_is_the_request_s() -> None:
    """Each batch is a point of its own, so that one that does not fit takes no other with it."""
    made = points("model=cifar_cnn", "task=train,infer", "batch=1,8")
    specs = [point.spec for point in made if point.spec]
    assert [(spec.task, spec.batch) for spec in specs] == [("train", 1), ("train", 8), ("infer", 1), ("infer", 8)]
    assert [spec.infer_batches for spec in specs[2:]] == [(1,), (8,)]
    assert "Give batch instead of infer_batches" in refusal("task=infer", "infer_batches=1,8")


def test_what_a_framework_has_not_is_a_point_all_the_same() -> None:
    """It keeps its number and the line that it is refused with; the others are not touched."""
    made = points("framework=torch,tf,jax", "compile=eager,inductor", "model=cifar_cnn")
    refused = {point.number: point.refused for point in made if point.spec is None}
    assert list(refused) == [4, 6]
    assert "TensorFlow has no compile mode 'inductor'." in str(refused[4])
    shipped = points("framework=torch,tf", "mode=as-shipped", "model=resnet18")
    assert [point.spec is None for point in shipped] == [False, True]
    assert "keras.applications has no resnet18." in str(shipped[1].refused)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["bacth=8,32"], "Unknown setting 'bacth'. Did you mean 'batch'?"),
        (["framework=torch,troch"], "Unknown framework 'troch'. Did you mean 'torch'?"),
        (["model=cifar_cnn,resnet5O"], "Unknown model 'resnet5O'. Did you mean 'resnet50'?"),
        (["batch=8,0"], "batch=0 is out of range."),
        (["batch=8,,32"], "batch='' is not a whole number."),
        (["batch=8,08"], "batch=8,08 says one thing twice."),
        (["passes=profile"], "passes=profile measures no time"),
        (["framework=torch", "loop=fit", "batch=8,32"], "No point of the matrix can run."),
        (["seed=" + ",".join(map(str, range(101))), "batch=" + ",".join(map(str, range(1, 101)))], "A matrix of 10100"),
    ],
)
def test_what_is_wrong_for_all_points_is_refused(settings: list[str], said: str) -> None:
    """One line, before there is a sweep."""
    assert said in refusal(*settings)


def test_a_file_says_the_same(tmp_path: Path) -> None:
    """[settings] holds what all points share, [matrix] the axes; what the command line says counts more."""
    path = tmp_path / "study.toml"
    path.write_text(
        "[settings]\nmodel = 'cifar_cnn'\nsteps = 3\npasses = ['time']\n"
        "[matrix]\nframework = ['torch', 'tf']\nbatch = [8, 32]\n"
    )
    assert matrix.points(matrix.of_toml(path), profiles=PROFILES) == points(
        "model=cifar_cnn", "steps=3", "framework=torch,tf", "batch=8,32"
    )
    assert (matrix.of_toml(path) | matrix.of_settings(["batch=4"]))["batch"] == ("4",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[settings]\nbatch = '8'\n", "batch = '8' is no int."),
        ("[matrix]\nbatch = 8\n", "batch = 8 is no list of values."),
        ("[matrix]\npasses = [['time']]\n", "passes is no axis."),
        ("[matrx]\nbatch = [8]\n", "Did you mean 'matrix'?"),
        ("settings = 8\n", "settings is no table."),
        ("[matrix\n", "Cannot read the matrix"),
    ],
)
def test_a_bad_file_is_one_clear_line(text: str, said: str, tmp_path: Path) -> None:
    """It names the file, the value and the remedy."""
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(HwprofError) as caught:
        matrix.of_toml(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_worked_example_s_file_is_its_command_line(tmp_path: Path) -> None:
    """The TOML of docs/comparing.md gives the points of the command above it."""
    text = (PROFILES.parent / "docs" / "comparing.md").read_text(encoding="utf-8")
    path = tmp_path / "study.toml"
    path.write_text(text.split("```toml\n")[1].split("```")[0])
    command = text.split("hwprof sweep ")[1].split("```")[0]
    settings = re.findall(r"--set (\S+)", command)
    assert len(matrix.points(matrix.of_toml(path), profiles=PROFILES)) == 12
    assert matrix.points(matrix.of_toml(path), profiles=PROFILES) == points(*settings)
