"""What differs between two workloads: told once for all layers that differ alike, and found in what really runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.commands import hwprof
from tests.test_reports import drawn
from toolkit.analyses.differences import Comparison, Description, Difference, compare, read
from toolkit.analyses.initial_values import Tensor, alike, described, family
from toolkit.capture import description
from toolkit.capture.description import Layer, Section, Window
from toolkit.capture.workloads.tensors import LOOKED_AT, spacing, statistics
from toolkit.errors import HwprofError
from toolkit.reports import shipped
from toolkit.reports.differences import report
from toolkit.spec import RunSpec

CONSTANT = {"scale": statistics(np.ones(8), 8)}


def told(layers: list[Layer], sections: dict[str, Section] | None = None, framework: str = "torch") -> Description:
    """A description as its reader has it, of these layers and sections."""
    spec = RunSpec(framework=framework, model="resnet50", mode="as-shipped")
    text = description.document(spec, "cpu", sections=sections or {}, layers=layers)
    return msgspec.json.decode(text, type=Description)


def norm(name: str, channels: int = 8, epsilon: float = 1e-5) -> Layer:
    """A batch norm."""
    return description.batch_norm(
        name, channels=channels, epsilon=epsilon, momentum=0.1, remembers="biased", tensors=CONSTANT
    )


def conv(name: str, channels: tuple[int, int], *, kernel: int = 1, stride: int = 1) -> Layer:
    """A convolution without a bias."""
    window = Window((kernel, kernel), (stride, stride), ((0, 0), (0, 0)))
    return description.convolution(
        name, window, channels=channels, groups=1, bias=False, output=(4, 4), tensors={}
    )  # fmt: skip


def shown(comparison: Comparison) -> list[tuple[str, str, Any, Any, int | None]]:
    """Differences as a person reads them, without the names of layers."""
    return [(each.part, each.what, each.a, each.b, each.layers) for each in comparison.differences]


def test_the_same_workload_differs_in_nothing() -> None:
    """Everything is told to be equal, with the number of layers."""
    one = told([norm("a"), norm("b"), conv("c", (3, 8))], {"loss": {"reduction": "mean"}})
    found = compare(one, one)
    assert found.differences == []
    assert {(each.part, each.what, each.layers) for each in found.equal} >= {
        ("loss", "reduction", None), ("batch norm", "epsilon", 2), ("batch norm", "initial scale", 2),
        ("convolution", "stride", 1), ("convolution", "number of layers", 1),
    }  # fmt: skip


def test_one_difference_of_many_layers_is_told_once() -> None:
    """With how many of how many layers differ so, and their names in both."""
    mine = [norm(f"bn{number}") for number in range(37)]
    others = [norm(f"{number}_bn", epsilon=1e-3) for number in range(36)] + [norm("36_bn")]
    (found,) = compare(told(mine), told(others)).differences
    assert (found.part, found.what, found.a, found.b, found.layers, found.of) == (
        "batch norm", "epsilon", 1e-5, 1e-3, 36, 37,
    )  # fmt: skip
    assert found.where[:2] == [("bn0", "0_bn"), ("bn1", "1_bn")]


def test_layers_are_paired_whatever_lies_between_them() -> None:
    """A shortcut that one framework calls before the branch and another after it is still the same layer."""
    mine = [conv("conv1", (8, 4)), conv("conv2", (4, 4), kernel=3, stride=2), conv("down", (8, 16), stride=2)]
    others = [conv("0", (8, 16), stride=2), conv("1", (8, 4), stride=2), conv("2", (4, 4), kernel=3)]
    found = compare(told(mine), told(others)).differences
    assert [(each.what, each.a, each.b, each.where) for each in found] == [
        ("stride", 1, 2, [("conv1", "1")]), ("stride", 2, 1, [("conv2", "2")]),
    ]  # fmt: skip


def test_a_layer_that_only_one_has_is_named() -> None:
    """By how many each has of its kind and size, and where the one without a partner lies."""
    found = compare(told([]), told([description.activation("predictions", "softmax")]))
    assert found.differences == [
        Difference("activation", "number of layers softmax", 0, 1, where=[(None, "predictions")])
    ]


@pytest.mark.parametrize(
    ("mine", "other", "differs"),
    [
        ({"weight decay": None}, {"weight decay": 0.0}, False),
        ({"amsgrad": False}, {}, False),
        ({"clipnorm": 1.0}, {}, True),
        ({"clipnorm": 1}, {"clipnorm": True}, True),
        ({"epsilon": 1e-8}, {"epsilon": 1e-7}, True),
    ],
)
def test_what_is_off_is_what_is_not_there(mine: Section, other: Section, *, differs: bool) -> None:
    """An option that one framework lacks and the other leaves off makes no difference; yes is not 1."""
    found = compare(told([], {"optimizer": mine}), told([], {"optimizer": other}))
    assert bool(found.differences) is differs


def draws(count: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Values of each family, with a deviation of 1."""
    draw = np.random.default_rng(seed)
    normal = draw.standard_normal(2 * count)
    truncated = normal[np.abs(normal) < 2]
    return {
        "normal": normal[:count],
        "uniform": draw.uniform(-(3**0.5), 3**0.5, count),
        "truncated normal": truncated[:count] / 0.879626,
    }


def tensor(values: NDArray[np.float64]) -> Tensor:
    """The statistics of all of its values."""
    return msgspec.convert(statistics(values, values.size), Tensor)


@pytest.mark.parametrize("count", [1000, 100_000])
@pytest.mark.parametrize("seed", range(5))
def test_how_a_tensor_was_drawn_shows_in_its_values(count: int, seed: int) -> None:
    """Normal, uniform and truncated draws are told apart from a thousand values on; constants are named."""
    for name, values in draws(count, seed).items():
        assert family(tensor(0.02 * values)) == name
    assert family(tensor(np.zeros(9))) == "all 0"
    assert family(tensor(np.ones(9))) == "all 1"
    assert family(tensor(draws(64, seed)["normal"])) == "drawn, too few values to tell how"
    assert family(tensor(np.array([np.nan]))) == "not finite"


@pytest.mark.parametrize("name", ["normal", "uniform", "truncated normal"])
def test_two_draws_of_one_law_are_alike(name: str) -> None:
    """Of another seed they are; a twentieth wider, or moved by as much, they are not."""
    one, other = tensor(draws(100_000, 1)[name]), draws(100_000, 2)[name]
    assert alike(one, tensor(other))
    assert not alike(one, tensor(1.05 * other))
    assert not alike(one, tensor(other + 0.05))
    assert not any(alike(one, tensor(values)) for kind, values in draws(100_000, 2).items() if kind != name)


def test_a_law_of_variance_has_to_explain_every_tensor() -> None:
    """All laws that do are named; where none does, the deviations are."""
    fans = [(147, 3136), (576, 576), (4608, 2048)]
    made = draws(50_000)["normal"]
    he = [(tensor(made * (2 / fan_out) ** 0.5), (fan_in, fan_out)) for fan_in, fan_out in fans]
    assert described(he) == "normal, variance 2/fan-out (He)"
    assert described(he[1:2]) == "normal, variance 2/fan-in (He) or 2/fan-out (He)"
    fixed = [(tensor(made * 0.01), each) for each in fans]
    assert described(fixed) == "normal, deviation 0.01"
    assert described([(tensor(np.zeros(9)), None)]) == "all 0"


def test_initial_values_of_one_law_are_one_difference() -> None:
    """Also of tensors too small to tell their shape: those go with the others of their law."""

    def convs(values: Callable[[int], NDArray[np.float64]], law: Callable[[int, int], float]) -> list[Layer]:
        return [
            description.dense(
                f"{size}", inputs=size, outputs=2 * size, bias=False,
                tensors={"kernel": statistics(values(2 * size * size) * law(size, 2 * size) ** 0.5, 2 * size * size)},
            )
            for size in (22, 64, 128)
        ]  # fmt: skip

    he = convs(lambda count: draws(count)["normal"], lambda _, fan_out: 2 / fan_out)
    glorot = convs(lambda count: draws(count, 1)["uniform"], lambda fan_in, fan_out: 2 / (fan_in + fan_out))
    (found,) = compare(told(he), told(glorot)).differences
    assert (found.what, found.layers, found.of) == ("initial kernel", 3, 3)
    assert (found.a, found.b) == (
        "normal, variance 2/fan-out (He) or 1/fan-in", "uniform, variance 2/(fan-in + fan-out) (Glorot)",
    )  # fmt: skip


def test_a_large_tensor_is_looked_at_in_part() -> None:
    """Evenly, never more than the bound, and its count told."""
    for count in (1, LOOKED_AT, LOOKED_AT + 1, 10 * LOOKED_AT):
        values = np.zeros(count)[:: spacing(count)]
        assert LOOKED_AT / 2 <= values.size <= LOOKED_AT or values.size == count
        assert statistics(values, count)["count"] == count


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [(32, 3, 1, (1, 1)), (32, 3, 2, (0, 1)), (31, 3, 2, (1, 1)), (8, 1, 2, (0, 0))]
)  # fmt: skip
def test_same_padding_is_in_pixels(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    """What the last window lacks, the smaller half before: one-sided for a stride of 2 over an even size."""
    assert description.same_padding(size, kernel, stride, 1) == padding


def test_epsilon_in_effect_is_read_off_a_first_step() -> None:
    """PyTorch's Adam moves by lr·g/(g+ε); Keras's, before its bias is corrected, as if ε were 31.6 times it."""
    gradient, rate = description.TINY_GRADIENT, 1e-3
    assert description.epsilon_in_effect(rate, rate * gradient / (gradient + 1e-8)) == 1e-8
    keras = rate * 0.001**0.5 / 0.1 * 0.1 * gradient / (0.001**0.5 * gradient + 1e-7)
    assert description.epsilon_in_effect(rate, keras) == 3.2e-6


def test_a_remembered_variance_tells_its_kind() -> None:
    """Of -1 and 1 the biased variance is 1, the unbiased 2, whatever the momentum."""
    for momentum in (0.1, 0.01, 0.001):
        assert description.remembered_variance(1.0, 1.0, momentum) == "biased"
        assert description.remembered_variance(1.0, 1 + momentum, momentum) == "unbiased"


def test_a_description_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """Damaged, of another version, or too large to be one."""
    path = tmp_path / "description.json"
    whole = description.document(RunSpec(), "cpu", sections={}, layers=[])
    for text, said in (
        (whole[:-9], "cannot be read"), (whole.replace('"version":1', '"version":99'), "is of version 99"),
        (" " * (1 << 24) + whole, "is larger than"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(HwprofError, match=said):
            read(path)


def test_a_comparison_without_differences_says_so() -> None:
    """In a line, with all that is the same, and no empty table."""
    one = told([norm("a")], {"loss": {"reduction": "mean"}})
    text = drawn(report([compare(one, one)]), 200)
    assert "PyTorch resnet50 as-shipped and PyTorch resnet50 as-shipped: 0 differences" in text
    assert "loss: reduction; batch norm (1): epsilon, momentum" in text
    assert "─" not in text


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (RunSpec(framework="jax", model="resnet50"), "figures of keras.applications.ResNet50 with JAX's own defaults"),
        (RunSpec(model="resnet18"), "figures of torchvision.models.resnet18 with PyTorch's own defaults"),
        (RunSpec(framework="tf", model="cifar_cnn"), "figures of cifar_cnn as hwprof writes it with TensorFlow's"),
    ],
)
def test_reports_of_as_shipped_runs_say_whose_defaults_they_are_of(spec: RunSpec, said: str) -> None:
    """Which zoo's model, whose defaults, and what lists the differences."""
    told_of = shipped.sentence(spec)
    assert said in told_of
    assert f"`hwprof differences {spec.model}`" in told_of


def test_a_run_without_a_description_says_so(tmp_path: Path) -> None:
    """A run of an older hwprof is named, and the remedy."""
    folder = tmp_path / "20260101-000000-torch-resnet50-cpu-train-0000"
    folder.mkdir()
    (folder / "spec.json").write_text(RunSpec().as_json())
    done = hwprof("differences", "last", folder.name, "--runs", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"hwprof: The run {folder.name} holds no description.json")


def test_the_report_s_names_do_nothing_to_a_terminal() -> None:
    """A layer's name comes from a file: markup and escapes in it are text."""
    line = drawn(report([compare(told([norm("[red]\x1b[31m")]), told([norm("b", epsilon=1.0)]))]), 200)
    assert "[red]\\x1b[31m | b" in line
    assert "1 of 1" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet5O"], "Unknown model 'resnet5O'. Did you mean 'resnet50'?"),
        (["a", "b", "c"], "3 are too many to compare."),
        (["a", "b", "--set", "batch=8"], "--set changes no run that is there."),
        (["resnet50", "--frameworks", "torch"], "--frameworks torch compares nothing."),
        (["resnet50", "--frameworks", "torch,tensorflow"], "Unknown framework 'tensorflow'."),
        (["resnet18"], "keras.applications has no resnet18. Use mode=matched or framework=torch"),
    ],
)
def test_a_comparison_of_nothing_is_bad_input(arguments: list[str], said: str, tmp_path: Path) -> None:
    """One line that names the value, before any framework is started."""
    done = hwprof("differences", *arguments, "--runs", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hwprof: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def differences(*arguments: str) -> list[list[dict[str, Any]]]:
    """What `hwprof differences` finds, comparison by comparison."""
    done = hwprof("differences", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [comparison["differences"] for comparison in json.loads(done.stdout)]


def by_name(found: list[dict[str, Any]]) -> dict[str, list[tuple[Any, Any, int | None]]]:
    """Part and setting -> the two values and the number of layers, of each difference."""
    named: dict[str, list[tuple[Any, Any, int | None]]] = {}
    for each in found:
        named.setdefault(f"{each['part']}: {each['what']}", []).append((each["a"], each["b"], each["layers"]))
    return named


@pytest.mark.e2e
def test_resnet50_as_shipped_is_not_one_network() -> None:
    """Everything that is known to differ between torchvision's and Keras's is found; JAX runs Keras's."""
    tf, jax = map(
        by_name,
        differences("resnet50", "--frameworks", "torch,tf,jax", "--set", "image_size=224", "--set", "classes=1000"),
    )
    assert tf["network: parameters"] == [(25_557_032, 25_583_592, None)]
    assert tf["network: parameters with statistics"] == [(25_610_152, 25_636_712, None)]
    # as torch.utils.flop_counter counts torchvision's
    assert tf["network: FLOPs a sample"] == [(8_178_368_512, 7_715_946_496, None)]
    assert tf["network: layout"] == [("channels_first", "channels_last", None)]
    assert tf["loss: of"] == [("logits", "probabilities", None)]
    assert tf["optimizer: epsilon"] == [(1e-8, 1e-7, None)]
    assert tf["optimizer: epsilon in effect"] == [(1e-8, 3.2e-6, None)]
    assert tf["convolution: bias"] == [(False, True, 53)]
    assert tf["convolution: stride"] == [(1, 2, 3), (2, 1, 3)]
    assert tf["convolution: initial kernel"] == [
        ("normal, variance 2/fan-out (He)", "uniform, variance 2/(fan-in + fan-out) (Glorot)", 53)
    ]
    assert tf["batch norm: epsilon"] == [(1e-5, 1.001e-5, 53)]
    assert tf["batch norm: momentum"] == [(0.1, 0.01, 53)]
    assert tf["batch norm: remembered variance"] == [("unbiased", "biased", 53)]
    assert tf["numerics: TF32 allowed in matrix products"] == [(False, True, None)]
    assert tf["execution: compiled"] == [("eager", "graph", None)]
    assert jax["execution: compiled"] == [("eager", "xla", None)]
    own = ("workload", "execution", "input pipeline")
    kept = [{name: each for name, each in found.items() if not name.startswith(own)} for found in (tf, jax)]
    assert kept[0] == kept[1]


@pytest.mark.e2e
def test_what_keras_does_inside_the_network_is_found() -> None:
    """EfficientNet's rescaling and normalisation, padding on one side, and truncated initial values."""
    found = by_name(*differences("efficientnet_b4"))
    for what in ("rescaling", "normalisation"):
        assert found[f"preprocessing in the network: number of layers {what}"] == [(0, 1, None)]
    assert found["convolution: padding"] == [(1, "0 before, 1 after", 1)]
    assert found["depthwise convolution: padding"] == [(1, "0 before, 1 after", 2), (2, "1 before, 2 after", 2)]
    assert found["convolution: initial kernel"] == [
        ("normal, variance 2/fan-out (He)", "truncated normal, variance 2/fan-out (He)", 121)
    ]
    assert not [name for name in found if name.startswith(("stochastic depth", "dropout", "pool", "other layer"))]


@pytest.mark.e2e
@pytest.mark.parametrize(("model", "precision"), [("resnet18", "fp64"), ("mobilenet_v2", "bf16")])
def test_matched_models_differ_in_nothing_but_how_they_are_run(model: str, precision: str) -> None:
    """What the mode does not equalise is how a framework compiles and how it brings its batches."""
    settings = ("--set", "mode=matched", "--set", f"precision={precision}", "--set", "threads=1")
    for found in differences(model, "--frameworks", "torch,tf,jax", *settings):
        assert {each["part"] for each in found} <= {"execution", "input pipeline", "workload"}
        assert [each["what"] for each in found if each["part"] in ("execution", "workload")] in (
            ["compiled"], ["loop", "compiled"],
        )  # fmt: skip
