"""Pretrained weights: which files they are, how they are made ready, and what is refused."""

import dataclasses
import hashlib
import json
import pickle
import re
import subprocess
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands import hwprof
from tests.test_run import run
from tests.workers import Pass, small, work
from toolkit.capture import pretrained, venvs
from toolkit.capture.pretrained import Published, Start, prepare, published
from toolkit.capture.workloads.matched import start, torch_file
from toolkit.errors import BAD_INPUT, FAILED, HwprofError
from toolkit.spec import FRAMEWORKS, RunSpec

SPEC = RunSpec(model="resnet18", weights="pretrained")
KERAS_VGG: dict[str, Any] = {"mode": "as-shipped", "framework": "tf", "model": "vgg16"}
CONTENT = b"tensors"
WEIGHTS = "mobilenet_v2-7ebf99e0.pth"
# What stands for a tensor's making and its numbers, by the names that PyTorch's pickles have for them.
SAVE = """
import sys, torch
torch.manual_seed(0)
kernel = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
tensors = {"kernel": torch.nn.Parameter(kernel), "part": kernel[1:], "count": torch.tensor(3)}
for name, zipped in (("zip", True), ("stream", False)):
    torch.save(tensors, f"{sys.argv[1]}/{name}.pth", _use_new_zipfile_serialization=zipped)
    torch.save(torch.nn.Linear(1, 1), f"{sys.argv[1]}/{name}-code.pth", _use_new_zipfile_serialization=zipped)
kernel.contiguous().detach().numpy().tofile(f"{sys.argv[1]}/kernel")
"""


def silent(line: str) -> None:
    """Hears nothing."""


def source(folder: Path, content: bytes = CONTENT) -> Published:
    """A published file of these bytes, known by the first eight digits of CONTENT's hash."""
    folder.mkdir(exist_ok=True)
    digest = hashlib.sha256(CONTENT).hexdigest()[:8]
    path = folder / f"resnet18-{digest}.pth"
    path.write_bytes(content)
    return Published(path.as_uri(), "sha256", digest)


def refusal(spec: RunSpec, file: Published, code: int) -> str:
    """The one line that weights which cannot be had, or are others, are answered with."""
    with pytest.raises(HwprofError) as caught:
        prepare(spec, say=silent, files=lambda _: file)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for weights in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hwprof" / pretrained.FOLDER


def test_files_and_checksums_are_what_the_zoos_publish() -> None:
    """Every name and checksum stands in the sources of the locked versions; torchvision's are its DEFAULT."""
    packages = {name: venvs.ensure(name, "cpu", say=silent).python.parents[1] for name in ("torch", "tf")}
    zoo = _text(packages["torch"], "torchvision/models")
    for model, file in pretrained.OF_TORCHVISION.items():
        (group,) = re.findall(rf"(?is)class {model}_weights\(.*?DEFAULT = (?:\w+)", zoo)
        default = group.rpartition(" ")[2]
        (address,) = re.findall(rf'(?s){default} = Weights\(\s*(?:#[^\n]*\n\s*)*url="([^"]+)"', group)
        assert address == file.address
        assert file.checksum == re.findall(r"-([0-9a-f]{8})\.pth$", file.name)[0]
    keras = _text(packages["tf"], "keras/src/applications")
    for file in (*pretrained.OF_KERAS.values(), *pretrained.OF_KERAS_WITHOUT_TOP.values()):
        assert f'"{file.checksum}"' in keras
        base = file.address.removesuffix(file.name)
        assert base in keras or base.removesuffix("/").rpartition("/")[0] in keras


def _text(environment: Path, package: str) -> str:
    (folder,) = environment.glob(f"lib/python*/site-packages/{package}")
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.py")))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"framework": "jax"}, "resnet18-f37072fd.pth"),
        ({"mode": "as-shipped"}, "resnet18-f37072fd.pth"),
        (KERAS_VGG | {"image_size": 224}, "vgg16_weights_tf_dim_ordering_tf_kernels.h5"),
        (KERAS_VGG, "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    ],
)  # fmt: skip
def test_each_mode_has_its_own_file(settings: dict[str, Any], name: str) -> None:
    """Matched is torchvision's in every framework; Keras's VGG has its dense layers for one size of images."""
    assert published(dataclasses.replace(SPEC, **settings)).name == name


def test_what_is_published_without_a_checksum_is_refused() -> None:
    """Keras has none for MobileNetV2; the remedy names other ways, and auto starts at random and says why."""
    spec = dataclasses.replace(SPEC, mode="as-shipped", framework="tf", model="mobilenet_v2")
    with pytest.raises(
        HwprofError, match=r"keras\.applications publishes no checksum of them\. Use weights=random, mode="
    ):
        prepare(spec, say=silent)
    said: list[str] = []
    found = prepare(dataclasses.replace(spec, weights="auto"), say=said.append)
    assert (found.weights, found.folder, [found.why]) == ("random", "", said)


def test_a_random_start_looks_for_nothing(cache: Path) -> None:
    """Nothing is made, fetched or said."""
    assert prepare(RunSpec(model="resnet18"), say=silent) == Start("random", "", None, None)
    assert not cache.exists()


@pytest.mark.parametrize("weights", ["pretrained", "auto"])
def test_the_cache_is_filled_once(weights: str, tmp_path: Path, cache: Path) -> None:
    """Fetched and checked, then taken as it lies there; a checksum that no longer fits is refused, in auto too."""
    file, spec, said = source(tmp_path / "published"), dataclasses.replace(SPEC, weights=weights), list[str]()
    for _ in range(2):
        found = prepare(spec, say=said.append, files=lambda _: file)
        assert found == Start("pretrained", str(cache), file, None)
        assert (cache / file.name).read_bytes() == CONTENT
    assert [line.split()[0] for line in said] == ["Downloading"]
    (cache / file.name).write_bytes(CONTENT[:-1])
    assert refusal(spec, file, BAD_INPUT).startswith(f"{cache / file.name} is not the published {file.name}: sha256 ")


@pytest.mark.parametrize("damage", ["gone", "truncated"])
def test_a_download_that_fails_is_told_and_auto_does_without(damage: str, tmp_path: Path, cache: Path) -> None:
    """One line with the address and a remedy; auto starts at random, with that line as the reason; nothing is left."""
    file = source(tmp_path / "published", CONTENT[:-1])
    if damage == "gone":
        (tmp_path / "published" / file.name).unlink()
    told = refusal(SPEC, file, FAILED)
    assert told.startswith(f"{file.name} could not be downloaded from {file.address}: ")
    found = prepare(dataclasses.replace(SPEC, weights="auto"), say=silent, files=lambda _: file)
    assert found.weights == "random"
    assert (found.why or "").startswith(f"A random start stands in for pretrained weights: {file.name} could not be")
    assert list(cache.iterdir()) == []


def test_a_given_folder_is_never_downloaded_into(tmp_path: Path) -> None:
    """The file has to be there, whole."""
    file = source(tmp_path / "published")
    there = dataclasses.replace(SPEC, weights_dir=str(tmp_path))
    assert refusal(there, file, BAD_INPUT).startswith(f"{tmp_path} does not hold {file.name}. Put it there, or")
    (tmp_path / file.name).write_bytes(b"others")
    assert "is not the published" in refusal(there, file, BAD_INPUT)
    (tmp_path / file.name).write_bytes(CONTENT)
    assert prepare(there, say=silent, files=lambda _: file) == Start("pretrained", str(tmp_path), file, None)


class _Names:
    """Pickles as a call of a name that no tensor needs."""

    def __reduce__(self) -> Any:
        return (print, ("code ran",))


@pytest.mark.parametrize("kind", ["zip", "stream"])
def test_a_pickle_s_code_is_not_run(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Any name but a tensor's is refused by itself, in both formats."""
    path, pickled = tmp_path / "weights.pth", pickle.dumps(OrderedDict(weight=_Names()), protocol=2)
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickled)
    else:
        path.write_bytes(pickled)
    with pytest.raises(HwprofError, match=r"cannot be read as tensors: it asks for .*\.print, which no tensor needs"):
        torch_file.read(path)
    assert capfd.readouterr().out == ""


@pytest.mark.e2e
def test_torch_files_are_read_without_torch(tmp_path: Path) -> None:
    """Both formats to the bit, whatever the strides and what is shared; cut short or with code they are refused."""
    python = venvs.ensure("torch", "cpu", say=silent).python
    subprocess.run([python, "-c", SAVE, tmp_path], check=True)
    kernel = np.fromfile(tmp_path / "kernel", np.float32).reshape(4, 3, 3, 3)
    for name in ("zip", "stream"):
        path = tmp_path / f"{name}.pth"
        found = torch_file.read(path)
        assert np.array_equal(found["kernel"], kernel)
        assert np.array_equal(found["part"], kernel[1:])
        assert found["count"] == 3
        path.write_bytes(path.read_bytes()[:-40])
        for bad in (path, tmp_path / f"{name}-code.pth"):
            with pytest.raises(HwprofError, match="cannot be read as tensors"):
                torch_file.read(bad)


MAKE = """
import sys, torch
from toolkit.capture.workloads import torch_parts
torch.manual_seed(7)
made = torch_parts.import_torchvision().models.mobilenet_v2(weights=None).state_dict()
torch.save(made, f"{sys.argv[1]}/mobilenet_v2-7ebf99e0.pth")
other = dict(made)
del other["features.0.0.weight"]
torch.save(other, f"{sys.argv[2]}/mobilenet_v2-7ebf99e0.pth")
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of the published name: weights of MobileNetV2 by another seed, and the same without the first kernel."""
    whole, lacking = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("lacking")
    python = venvs.ensure("torch", "cpu", say=silent).python
    subprocess.run([python, "-c", MAKE, whole, lacking], check=True, cwd=venvs.ROOT)
    return whole, lacking


def started(folder: Path, framework: str, weights_dir: Path, **settings: Any) -> Pass:
    """A pass of one step from the weights in `weights_dir`, which trains the last layer alone."""
    spec = small(
        framework, "custom", model="mobilenet_v2", weights="pretrained", weights_dir=str(weights_dir),
        trainable="head", epochs=1, steps=1, warmup_steps=0, infer_repeats=0, **settings,
    )  # fmt: skip
    folder.mkdir()
    return work(folder, spec, "time")


def tensors(ran: Pass, kind: str) -> dict[str, Any]:
    """Statistics of the initial tensors of the first layer of a kind."""
    layers = json.loads((ran.folder / "description.json").read_text())["layers"]
    return dict(next(layer["tensors"] for layer in layers if layer["kind"] == kind))


@pytest.mark.e2e
def test_matched_runs_start_from_one_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Kernels are the file's in every framework and the head the seed's; the head alone is trained."""
    ran = [started(tmp_path / framework, framework, folders[0]) for framework in FRAMEWORKS]
    for each in ran:
        assert each.outcome["status"] == "complete", each.outcome
        assert each.facts["weights"] == "pretrained"
        assert each.facts["initial_weights"] == f"{WEIGHTS}, pretrained on ImageNet, the head drawn from the seed"
        assert each.facts["parameters_trained"] == 1280 * 10 + 10 < each.facts["parameters"]
        assert each.facts["frozen_batch_norm"] == start.REMEMBERED
        for kind in ("convolution", "dense"):
            for name, figures in tensors(each, kind).items():
                assert figures == pytest.approx(tensors(ran[0], kind)[name], rel=1e-6)
    drawn = started(tmp_path / "seed", "torch", folders[0], seed=1)
    assert tensors(drawn, "convolution") == tensors(ran[0], "convolution")
    assert tensors(drawn, "dense") != tensors(ran[0], "dense")


@pytest.mark.e2e
@pytest.mark.parametrize(("framework", "mode"), [("torch", "as-shipped"), ("jax", "matched")])
def test_a_file_of_another_model_is_refused(
    framework: str, mode: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """A tensor that it lacks ends the pass with its name."""
    ran = started(tmp_path / "run", framework, folders[1], mode=mode)
    assert ran.outcome["status"] == "failed"
    assert f"{WEIGHTS} does not fit the model: it has no features.0.0.weight." in ran.outcome["reason"]


def test_a_tensor_of_another_shape_is_refused(tmp_path: Path) -> None:
    """Both shapes are named; a head that is drawn anew is not looked at."""
    wanted = {"conv.weight": (2, 3, 1, 1), "fc.weight": (10, 2)}
    found = {"conv.weight": (2, 4, 1, 1), "fc.weight": (1000, 2)}
    with pytest.raises(HwprofError, match=r"its conv.weight is \(2, 4, 1, 1\), not \(2, 3, 1, 1\)"):
        start.fitting(tmp_path, found, wanted, {"fc.weight"})
    assert start.fitting(tmp_path, found | {"conv.weight": (2, 3, 1, 1)}, wanted, {"fc.weight"}) == ["conv.weight"]


@pytest.mark.e2e
def test_a_random_start_in_their_place_is_said(tmp_path: Path) -> None:
    """By the launch's record, the worker's facts and the report."""
    folder = run(
        tmp_path / "runs", "model=resnet18", "weights=auto", f"weights_dir={tmp_path}",
        "task=infer", "passes=time", "infer_batches=1", "infer_repeats=1",
    )  # fmt: skip
    why = f"A random start stands in for pretrained weights: {tmp_path} does not hold resnet18-f37072fd.pth."
    launched = json.loads((folder / "raw" / "launch.json").read_text())
    assert launched["weights"] == {"asked": "auto", "used": "random", "file": None, "why": why}
    assert why in launched["runtime"]["fallbacks"]
    assert json.loads((folder / "raw" / "time" / "facts.json").read_text())["weights"] == "random"
    shown = hwprof("show", folder.name, "--runs", folder.parent).stdout
    assert "fallback: A random start stands in for pretrained weights:" in shown
