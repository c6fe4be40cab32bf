"""What is TensorFlow's own: Keras's zoo and defaults, its settings, its profiler's options."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.workers import REPO, python, small, work
from toolkit.capture.workloads import ZOO
from toolkit.errors import BAD_INPUT, FAILED

pytestmark = pytest.mark.e2e

REFERENCE = REPO.parent / "shared" / "studies" / "ref_framework_defaults.toml"
COUNT = """
import json, sys
from toolkit.capture.workloads import ZOO, keras_parts
from toolkit.spec import RunSpec
size = lambda weights: sum(weight.numpy().size for weight in weights)
counts = {}
for name in sys.argv[1:]:
    model = keras_parts.model(RunSpec(framework="tf", mode="as-shipped", model=name, image_size=224, classes=1000))
    counts[ZOO["tf"][name]] = [size(model.trainable_weights), size(model.non_trainable_weights)]
print(json.dumps(counts))
"""


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference figures lie beside the repository, not in it")
def test_models_are_the_zoo_s() -> None:
    """At 224 pixels and 1000 classes each has the parameters that keras.applications publishes."""
    models = sorted(set(ZOO["tf"]) - {"cifar_cnn"})
    printed = subprocess.run([python("tf"), "-c", COUNT, *models], cwd=REPO, capture_output=True, check=True).stdout
    published = tomllib.loads(REFERENCE.read_text())["param_counts"]["keras_applications"]
    assert json.loads(printed) == {ZOO["tf"][model]: published[ZOO["tf"][model]] for model in models}


@pytest.mark.parametrize("loop", ["fit", "custom"])
def test_settings_are_keras_s_own(loop: str, tmp_path: Path) -> None:
    """Adam's epsilon is Keras's; without a GPU, jit_compile="auto" comes to a graph without XLA."""
    facts = work(tmp_path, small("tf", loop, mode="as-shipped", task="infer"), "time").facts
    assert facts["optimizer"] == {
        "name": "Adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.0,
    }  # fmt: skip
    assert (facts["compile"], facts["layout"]) == ("graph", "channels_last")
    assert facts["loss"] == "cross-entropy of probabilities"
    # What a processor lacks is not in force, whatever is allowed.
    assert (facts["compute_dtype"], facts["tf32_matmul"], facts["tf32_conv"]) == ("float32", False, False)
    assert (facts["versions"]["cuda"], facts["device"], facts["device_name"]) == (None, "cpu", None)


def test_a_network_that_normalises_inside_says_so(tmp_path: Path) -> None:
    """EfficientNet rescales its input in the graph."""
    spec = small("tf", "custom", mode="as-shipped", model="efficientnet_b4", task="infer", infer_repeats=1)
    assert work(tmp_path, spec, "time").facts["normalises_inside"] is True


@pytest.mark.parametrize("stacks", [False, True])
def test_python_calls_are_in_the_trace_where_asked_for(tmp_path: Path, *, stacks: bool) -> None:
    """TensorFlow 2.21 ignores plain integers among its profiler's options; ours reach it, and without a complaint."""
    work(tmp_path, small("tf", "fit", profile_stacks=stacks), "profile")
    (path,) = (tmp_path / "trace").glob("plugins/profile/*/*.xplane.pb")
    assert (b"on_train_batch_begin" in path.read_bytes()) == stacks
    assert "expects an" not in (tmp_path / "worker.log").read_text()


def test_xprof_sees_the_steps(tmp_path: Path) -> None:
    """Each training step of the window is an event that carries its number as TensorFlow's own loops write it."""
    work(tmp_path, small("tf", "custom", profile_steps=3), "profile")
    (path,) = (tmp_path / "trace").glob("plugins/profile/*/*.xplane.pb")
    assert b"step_num" in path.read_bytes()


def test_an_image_too_small_for_the_model_is_bad_input(tmp_path: Path) -> None:
    """Keras's own words, in one line, with what to use instead."""
    outcome = work(tmp_path, small("tf", "fit", mode="as-shipped", model="resnet50", image_size=16), "time").outcome
    assert outcome["exit_code"] == BAD_INPUT
    assert outcome["reason"].startswith(
        "Keras cannot build resnet50 for image_size=16: Input size must be at least 32x32"
    )
    assert outcome["reason"].endswith("Use image_size=32 or more.")


def test_a_gpu_that_tensorflow_cannot_use_is_no_silent_fallback(tmp_path: Path) -> None:
    """The CPU build asked to run on a GPU fails and says what to do."""
    outcome = work(tmp_path, small("tf", "fit"), "time", device="cuda").outcome
    assert (outcome["status"], outcome["exit_code"]) == ("failed", FAILED)
    assert "cannot use the GPU that the driver shows" in outcome["reason"]
