"""What is PyTorch's own: torchvision's zoo and PyTorch's defaults."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.workers import REPO, python, small, work
from toolkit.capture.workloads import ZOO
from toolkit.errors import FAILED

pytestmark = pytest.mark.e2e

REFERENCE = REPO.parent / "shared" / "studies" / "ref_framework_defaults.toml"
PUBLISHED_AS = {
    "resnet18": "ResNet18", "resnet50": "ResNet50", "resnet152": "ResNet152", "vgg16": "VGG16", "vgg19": "VGG19",
    "mobilenet_v2": "MobileNetV2", "efficientnet_b4": "EfficientNetB4",
}  # fmt: skip
COUNT = """
import json, sys
from toolkit.capture.workloads.pytorch import build
from toolkit.spec import RunSpec
counts = {}
for name in sys.argv[1:]:
    facts = build(RunSpec(model=name, classes=1000, batch=1, steps=1), "cpu").facts()
    counts[name] = [facts["parameters"], facts["non_trainable_parameters"]]
print(json.dumps(counts))
"""


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference figures lie beside the repository, not in it")
def test_models_are_the_zoo_s() -> None:
    """At 1000 classes each has the parameters and buffers that torchvision publishes."""
    assert set(PUBLISHED_AS) == set(ZOO["torch"]) - {"cifar_cnn"}
    command = [python("torch"), "-c", COUNT, *PUBLISHED_AS]
    printed = subprocess.run(command, cwd=REPO, capture_output=True, check=True).stdout
    published = tomllib.loads(REFERENCE.read_text())["param_counts"]["torchvision"]
    assert json.loads(printed) == {model: published[name] for model, name in PUBLISHED_AS.items()}


def test_settings_are_pytorch_s_own(tmp_path: Path) -> None:
    """Adam's epsilon is PyTorch's; nothing is compiled."""
    facts = work(tmp_path, small("torch", "custom", mode="as-shipped", task="infer"), "time").facts
    assert facts["optimizer"] == {
        "name": "Adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0,
    }  # fmt: skip
    assert (facts["compile"], facts["layout"], facts["normalises_inside"]) == ("eager", "channels_first", False)
    # What a processor lacks is not in force, whatever is allowed.
    assert (facts["compute_dtype"], facts["tf32_matmul"], facts["tf32_conv"]) == ("float32", False, False)


def test_a_gpu_that_pytorch_cannot_use_is_no_silent_fallback(tmp_path: Path) -> None:
    """Asked to run on a GPU where torch sees none, it fails and says what to do."""
    outcome = work(tmp_path, small("torch", "custom"), "time", device="cuda").outcome
    if outcome["status"] == "complete":
        pytest.skip("this build of torch has a GPU to use")
    assert outcome["exit_code"] == FAILED
    assert "cannot use the GPU that the driver shows" in outcome["reason"]


def test_warm_up_goes_round_a_short_set(tmp_path: Path) -> None:
    """Five warm-up steps on a set of one batch are all done: its loss in epoch 1 is lower than after one of them."""
    losses = []
    for steps in (1, 5):
        folder = tmp_path / str(steps)
        folder.mkdir()
        spec = small("torch", "custom", steps=1, epochs=1, warmup_steps=steps, infer_repeats=0)
        losses += work(folder, spec, "time").scalars("train_loss")
    assert losses[1] < losses[0]
