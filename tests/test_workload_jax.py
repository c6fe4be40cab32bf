"""What is JAX's own: compilation by shape, its settings, its threads, its profiler's options."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.stores import read
from tests.workers import REPO, python, small, work
from toolkit.analyses import runner
from toolkit.capture.workloads import ZOO
from toolkit.errors import BAD_INPUT, FAILED

pytestmark = pytest.mark.e2e

REFERENCE = REPO.parent / "shared" / "studies" / "ref_framework_defaults.toml"
LOOPS = ["custom", "fit"]
COUNT = """
import json, os, sys
os.environ["KERAS_BACKEND"] = "jax"
import keras
from toolkit.capture.workloads import ZOO, keras_parts
from toolkit.spec import RunSpec
counts = {}
for name in sys.argv[1:]:
    spec = RunSpec(framework="jax", mode="as-shipped", model=name, image_size=224, classes=1000)
    with keras.StatelessScope():  # nothing is initialised: the shapes are enough
        facts = keras_parts.model_facts(spec, keras_parts.model(spec))
    counts[ZOO["jax"][name]] = [facts["parameters"], facts["non_trainable_parameters"]]
print(json.dumps(counts))
"""


def trace(folder: Path) -> bytes:
    """The profiler's one file; beside it lies what is alive, made by the workload's own functions."""
    memory, path = sorted(path for path in (folder / "trace").rglob("*") if path.is_file())
    assert path.match("trace/plugins/profile/*/*.xplane.pb")
    with read(memory) as connection:
        assert {row["device"] for row in runner.run(connection, "live_blocks") if "jax.py" in row["frame"]} == {"cpu"}
    return path.read_bytes()


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference figures lie beside the repository, not in it")
def test_models_are_the_zoo_s() -> None:
    """At 224 pixels and 1000 classes each has the parameters that keras.applications publishes."""
    models = sorted(set(ZOO["jax"]) - {"cifar_cnn"})
    printed = subprocess.run([python("jax"), "-c", COUNT, *models], cwd=REPO, capture_output=True, check=True).stdout
    published = tomllib.loads(REFERENCE.read_text())["param_counts"]["keras_applications"]
    assert json.loads(printed) == {ZOO["jax"][model]: published[ZOO["jax"][model]] for model in models}


@pytest.mark.parametrize("loop", LOOPS)
def test_settings_are_keras_s_and_jax_s_own(loop: str, tmp_path: Path) -> None:
    """As shipped: Keras's constants, compiled by XLA, JAX's own precision; nothing is kept for another process."""
    facts = work(tmp_path, small("jax", loop, mode="as-shipped", task="infer"), "time").facts
    assert facts["optimizer"] == {
        "name": "Adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.0,
    }  # fmt: skip
    assert (facts["compile"], facts["layout"]) == ("xla", "channels_last")
    assert (facts["default_matmul_precision"], facts["x64"]) == (None, False)
    # What a processor lacks is not in force, whatever is allowed.
    assert (facts["compute_dtype"], facts["tf32_matmul"], facts["tf32_conv"]) == ("float32", False, False)
    assert facts["compilation_cache"] is False
    assert (facts["platform"], facts["device"], facts["device_name"]) == ("cpu", "cpu", None)
    assert {name: facts["versions"][name] for name in ("jax", "jaxlib", "cuda")} == {
        "jax": "0.10.2", "jaxlib": "0.10.2", "cuda": None,
    }  # fmt: skip


def test_both_loops_compute_the_same(tmp_path: Path) -> None:
    """From one seed, by hand and in fit: the same losses and accuracies, epoch by epoch, warm-up and validation too."""
    figures = []
    for loop in LOOPS:
        folder = tmp_path / loop
        folder.mkdir()
        ran = work(folder, small("jax", loop, infer_repeats=0), "time")
        figures.append([ran.scalars(name) for name in ("train_loss", "validation_loss", "validation_accuracy")])
    by_hand, fitted = figures
    for mine, other in zip(by_hand, fitted, strict=True):
        assert mine == pytest.approx(other, rel=1e-4)
        assert len(mine) == 2


@pytest.mark.parametrize("other", ["torch", "tf"])
def test_a_matched_run_computes_what_other_frameworks_compute(other: str, tmp_path: Path) -> None:
    """Same weights, batches, loss and optimizer: the losses of JAX's first epoch are the other framework's."""
    losses = []
    for framework in ("jax", other):
        folder = tmp_path / framework
        folder.mkdir()
        spec = small(framework, "custom", epochs=1, warmup_steps=0, infer_repeats=0)
        ran = work(folder, spec, "time")
        losses.append(ran.scalars("train_loss") + ran.scalars("validation_loss"))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_asked_for(threads: int, tmp_path: Path) -> None:
    """XLA's pool has as many; with one, work is not even asked for ahead, which would be a second."""
    facts = work(tmp_path, small("jax", "custom", threads=threads, task="infer", infer_repeats=1), "time").facts
    assert facts["threads"] == threads
    assert facts["async_dispatch"] == (threads > 1)
    assert facts["environment"]["NPROC"] == str(threads)


def test_steps_that_do_not_wait_are_waited_for_at_the_epoch_s_end(tmp_path: Path) -> None:
    """With work asked for ahead, an epoch's phases are the same and its losses too."""
    spec = small("jax", "custom", threads=2, epochs=1, infer_repeats=0)
    ran = work(tmp_path, spec, "time")
    step = ["data_wait", "host_to_device", "compute"]
    assert ran.phases(1) == ["data_wait", *step * 3, "compute", "data_wait", "validation", "callbacks"]
    assert len(ran.scalars("train_loss")) == 1


def test_double_precision_is_double_all_the_way(tmp_path: Path) -> None:
    """precision=fp64 turns JAX's 64 bits on, without a second compilation of the step."""
    ran = work(tmp_path, small("jax", "custom", precision="fp64", warmup_steps=0, infer_repeats=0), "time")
    assert (ran.facts["x64"], ran.facts["precision"]) == (True, "float64")
    assert [(mark.epoch, mark.step) for mark in ran.marks("phase") if mark.name == "compile"] == [(1, 1)]


def test_eager_is_eager(tmp_path: Path) -> None:
    """compile=eager runs operation by operation, each compiled when it is first met, and never the step."""
    spec = small("jax", "custom", compile="eager", warmup_steps=0, epochs=2, steps=1, infer_repeats=0)
    ran = work(tmp_path, spec, "time")
    assert ran.facts["compile"] == "eager"
    compiles = [(mark.epoch, mark.step) for mark in ran.marks("phase") if mark.name == "compile"]
    assert compiles == [(1, 1)]


@pytest.mark.parametrize("stacks", [False, True])
def test_python_calls_are_in_the_trace_where_asked_for(tmp_path: Path, *, stacks: bool) -> None:
    """JAX's own default records them; ours does on request."""
    work(tmp_path, small("jax", "custom", profile_stacks=stacks), "profile")
    assert (b" to_device" in trace(tmp_path)) == stacks


def test_xprof_sees_the_steps(tmp_path: Path) -> None:
    """Each training step of the window is an event that carries its number."""
    work(tmp_path, small("jax", "fit", profile_steps=3), "profile")
    assert b"step_num" in trace(tmp_path)


def test_an_image_too_small_for_the_model_is_bad_input(tmp_path: Path) -> None:
    """Keras's own words, in one line, with what to use instead."""
    spec = small("jax", "custom", mode="as-shipped", model="resnet50", image_size=16)
    outcome = work(tmp_path, spec, "time").outcome
    assert outcome["exit_code"] == BAD_INPUT
    assert outcome["reason"].startswith("Keras cannot build resnet50 for image_size=16: Input size must be at least")


def test_a_gpu_that_jax_cannot_use_is_no_silent_fallback(tmp_path: Path) -> None:
    """The CPU build asked to run on a GPU fails and says what to do."""
    outcome = work(tmp_path, small("jax", "custom"), "time", device="cuda").outcome
    assert (outcome["status"], outcome["exit_code"]) == ("failed", FAILED)
    assert "cannot use the GPU that the driver shows" in outcome["reason"]
