"""Matched models: the same in every framework, and a wrong constant is caught and named."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from rich.console import Console

from tests import commands
from tests.workers import REPO, small, work
from toolkit.analyses.verification import CHAOS, Verdict, keep, kept, last_that_shows, verdicts
from toolkit.capture import cgroups, probe, verify
from toolkit.capture import verdicts as cache
from toolkit.capture.verdicts import PROFILES, identity
from toolkit.capture.verify import Probed, Probes, Told, fitting, free_bytes
from toolkit.commands.verify import MODELS
from toolkit.reports.verification import overview, report
from toolkit.settings import model_names
from toolkit.spec import FRAMEWORKS, RunSpec

HWPROF = Path(sys.executable).with_name("hwprof")
OTHERS = [name for name in FRAMEWORKS if name != "torch"]


TAMPERED = RunSpec(model="resnet18")


@pytest.fixture(scope="module")
def torch_probes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told, Told]:
    """PyTorch's tensors in float64, which no constant of Keras's definition changes, and how far it is from itself."""
    place = tmp_path_factory.mktemp("probes")
    probes = Probes(TAMPERED, place, say=lambda _: None)
    return place, probes.reference(), probes.itself()


def failing(verdict: Verdict) -> list[tuple[str, str | None]]:
    """Quantity and worst tensor of each check in float64 that failed, in the order of the table."""
    return [(check.quantity, check.tensor) for check in verdict.checks if check.agrees is False]


def tampered(folder: Path, file: str, right: str, wrong: str) -> Path:
    """A copy of the sources in which one constant of a matched definition is another."""
    shutil.copytree(REPO / "toolkit", folder / "toolkit", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "toolkit" / "capture" / "workloads" / "matched" / file
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))
    return folder


@pytest.mark.e2e
@pytest.mark.parametrize("model", ["cifar_cnn", "resnet18", "mobilenet_v2"])
def test_matched_models_are_the_same_in_every_framework(model: str, tmp_path: Path) -> None:
    """`hwprof verify` finds parameters, FLOPs, batches, gradients and trained weights equal within rounding."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([HWPROF, "verify", model, "--json"], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert [verdict["framework"] for verdict in told] == OTHERS
    for verdict in told:
        assert verdict["agrees"]
        assert {check["precision"] for check in verdict["checks"]} == {"fp64", "fp32"}
        # In float32 a rounding that flips a unit may explain any gradient; in float64 it explains nothing.
        double = [check["agrees"] for check in verdict["checks"] if check["precision"] == "fp64"]
        assert double == [True] * len(double)
    assert len(list((tmp_path / "hwprof" / "verified").glob("*.json"))) == len(OTHERS)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("change", "first"),
    [
        (("keras_layers.py", "BATCH_NORM_EPSILON = 1e-5", "BATCH_NORM_EPSILON = 1e-3"), "inference"),
        (("keras_layers.py", "BATCH_NORM_MOMENTUM = 0.9", "BATCH_NORM_MOMENTUM = 0.99"), "statistics"),
        (("keras_layers.py", "ADAM_EPSILON = 1e-8", "ADAM_EPSILON = 1e-7"), "weights_1"),
        (("keras_models.py", "MaxPooling2D(3, 2)", "MaxPooling2D(3, 1)"), "inference"),
    ],
    ids=["epsilon", "momentum", "Adam's epsilon", "stride"],
)  # fmt: skip
def test_a_wrong_constant_is_caught_and_named(
    change: tuple[str, str, str], first: str, tmp_path: Path, torch_probes: tuple[Path, Told, Told]
) -> None:
    """The first quantity that it changes is the first that fails, with a tensor's name."""
    place, reference, itself = torch_probes
    probes = Probes(TAMPERED, place, say=lambda _: None, sources=tampered(tmp_path, *change))
    wrong_one = probes.of("tf", "fp64", until=first)
    shutil.rmtree(place / "tf-fp64")
    (verdict,) = verdicts("resnet18", Probed(reference, itself, (wrong_one,), 1))
    assert not verdict.agrees
    quantity, tensor = failing(verdict)[0]
    assert quantity == first
    assert tensor


@pytest.mark.e2e
@pytest.mark.parametrize(("precision", "tolerance"), [("fp64", 1e-6), ("fp32", 1e-2)])
def test_matched_training_follows_the_same_losses(precision: str, tolerance: float, tmp_path: Path) -> None:
    """A hundred steps on the same data: every ten steps' mean loss agrees, in float32 as far as rounding lets it."""
    losses = {}
    for framework in FRAMEWORKS:
        folder = tmp_path / framework
        folder.mkdir()
        spec = small(framework, "custom", batch=32, steps=10, epochs=10, infer_repeats=0, precision=precision)
        ran = work(folder, spec, "time")
        assert {ran.facts[name] for name in ("compute_dtype", "weights_dtype")} == {f"float{precision[2:]}"}
        losses[framework] = ran.scalars("train_loss")
    assert len(losses["torch"]) == 10
    assert losses["torch"][-1] < losses["torch"][0] / 2
    for framework in OTHERS:
        assert losses[framework] == pytest.approx(losses["torch"], abs=tolerance)


@pytest.mark.e2e
def test_validation_sees_the_same_statistics(tmp_path: Path) -> None:
    """With batch norm, in steps too small for chaos, the losses of training and of validation after it are the same."""
    losses = {}
    for framework in FRAMEWORKS:
        folder = tmp_path / framework
        folder.mkdir()
        few = {"model": "resnet18", "batch": 4, "steps": 5, "epochs": 1, "infer_repeats": 0, "warmup_steps": 0}
        ran = work(folder, small(framework, "custom", precision="fp64", learning_rate=1e-5, **few), "time")
        losses[framework] = ran.scalars("train_loss") + ran.scalars("validation_loss")
    assert len(losses["torch"]) == 2
    for framework in OTHERS:
        # Sums of losses are kept in float32.
        assert losses[framework] == pytest.approx(losses["torch"], rel=1e-6)


def test_a_verdict_holds_for_what_it_was_made_of() -> None:
    """Another model, size, optimizer or framework is another identity; batch size and seed are not."""
    base = RunSpec(model="resnet18")
    names = [RunSpec(model="resnet50"), RunSpec(model="resnet18", image_size=64), RunSpec(optimizer="sgd")]
    assert len({identity(spec, "tf") for spec in (base, *names)} | {identity(base, "torch")}) == 5
    assert identity(base, "tf") == identity(RunSpec(model="resnet18", batch=1, seed=3, momentum=0.5), "tf")


def test_inference_has_no_optimizer() -> None:
    """What infers alone is verified by the model's usual training, whatever its settings say of one."""
    infers = RunSpec(model="resnet18", task="infer", optimizer="sgd", trainable="head")
    assert identity(infers, "tf") == identity(RunSpec(model="resnet18"), "tf")
    assert cache.subject(infers).optimizer == "adam"
    assert cache.command(infers, "tf") == "hwprof verify resnet18 --frameworks tf"
    assert "optimizer=sgd" in cache.command(RunSpec(model="resnet18", optimizer="sgd"), "tf")


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("keras_layers.py", "BATCH_NORM_EPSILON = 1e-5", "BATCH_NORM_EPSILON = 1e-3"),
        ("../../verify.py", "LEARNING_RATE = 1e-5", "LEARNING_RATE = 1e-3"),
        ("../../probe.py", "STEPS = 10", "STEPS = 1"),
        ("../../../analyses/verification.py", "FP64_TOLERANCE = 1e-8", "FP64_TOLERANCE = 1e-2"),
    ],
    ids=["definition", "settings of probes", "probe", "tolerances"],
)  # fmt: skip
def test_a_verdict_holds_for_the_sources_that_made_it(
    file: str, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another definition, probe, setting of probes or tolerance is another identity."""
    before = identity(TAMPERED, "tf")
    monkeypatch.setattr(cache, "ROOT", tampered(tmp_path, file, right, wrong))
    assert identity(TAMPERED, "tf") != before


def test_a_verdict_holds_for_the_versions_of_a_lock(tmp_path: Path) -> None:
    """The same versions for a GPU are the same identity; another version of Keras is another."""
    spec, locks = RunSpec(model="resnet18"), REPO / "containers" / "locks"
    assert identity(spec, "tf", locks / "tf-cuda.txt") == identity(spec, "tf")
    moved = tmp_path / "tf-cpu.txt"
    moved.write_text((locks / "tf-cpu.txt").read_text().replace("keras==3.", "keras==2."))
    assert identity(spec, "tf", moved) != identity(spec, "tf")


@pytest.mark.parametrize(
    ("took_gb", "free_gb", "at_a_time", "said"),
    [
        (6.4, 24, 2, []),
        (6.4, 22, 1, ["One probe at a time: each takes up to 11.7 GB of memory, 22.0 are free"]),
        (6.4, 9, 1, ["One probe at a time: each takes up to 11.7 GB of memory, 9.0 are free: it may run out"]),
        (0.5, 400, 2, []),
    ],
)
def test_as_many_probes_run_at_a_time_as_fit(took_gb: float, free_gb: int, at_a_time: int, said: list[str]) -> None:
    """By what the reference's took and what is free; memory that decides it, or may not do, is named."""
    lines: list[str] = []
    assert fitting(round(took_gb * 1e9), free_gb * 10**9, say=lines.append) == at_a_time
    assert lines == said


def test_memory_is_what_the_group_leaves_of_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control group's limit less its use but for cold page cache, where the machine has as much."""
    machine = psutil.virtual_memory().total
    for limit, cold, least, most in (
        (3 << 20, None, 2 << 20, 2 << 20), (3 << 20, 1 << 19, 5 << 19, 5 << 19), (1 << 19, 1 << 18, 0, 0),
        (None, 0, 1, machine), (1 << 60, 0, 1, machine),
    ):  # fmt: skip
        limits = cgroups.Limits(memory_bytes=limit, processors=None, processes=None)
        monkeypatch.setattr(cgroups.Group, "limits", lambda _, found=limits: found)
        monkeypatch.setattr(cgroups.Group, "use", lambda _: cgroups.Use(1 << 20, None, None))
        monkeypatch.setattr(cgroups.Group, "reclaimable_bytes", lambda _, found=cold: found)
        assert least <= free_bytes() <= most


def test_a_probe_that_was_killed_says_what_kills(tmp_path: Path) -> None:
    """Where memory ran out there is no last word; another end is told by it."""
    probes = Probes(TAMPERED, tmp_path, say=lambda _: None)
    killed = [sys.executable, "-c", "import os; print('so far', flush=True); os.kill(os.getpid(), 9)"]
    assert probes._ran(killed) == (-9, "it was killed, as the kernel does where memory runs out")
    assert probes._ran([sys.executable, "-c", "print('so far'); raise SystemExit('no')"]) == (1, "no")


def test_a_probe_that_begins_after_the_end_is_ended(tmp_path: Path) -> None:
    """A thread of the pool takes the next probe at once where its own fails: nobody waits for it."""
    probes = Probes(TAMPERED, tmp_path, say=lambda _: None)
    probes.end()
    assert probes._ran([sys.executable, "-c", "import select; select.select([], [], [], 30)"])[0] == -signal.SIGKILL


def test_every_model_is_verified_smallest_first() -> None:
    """`hwprof verify all` has a turn for each model that there is a profile for."""
    assert sorted(MODELS) == model_names(PROFILES)


@pytest.mark.parametrize("shape", [(), (3,), (40, 3), (7, 2, 5)])
@pytest.mark.parametrize("block", [1, 4, 1 << 20])
def test_a_distance_in_blocks_is_that_of_the_whole(
    shape: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the tensor lies in memory; NaN anywhere in it is told."""
    monkeypatch.setattr(probe, "BLOCK", block)
    here, there, start = (np.asarray(np.random.default_rng(n).random(shape)) for n in range(3))
    row = probe._distance("weights_1", "w", here.T.copy().T, there, start)
    assert row["rms_difference"] == pytest.approx(np.sqrt(np.mean((here - there) ** 2)), rel=1e-12)
    assert row["rms"] == pytest.approx(np.sqrt(np.mean((there - start) ** 2)), rel=1e-12)
    assert probe._distance("gradients", "w", here, there, None)["rms"] == pytest.approx(np.sqrt(np.mean(there**2)))
    here[...] = np.where(np.arange(here.size).reshape(shape) == here.size - 1, np.nan, here)
    assert probe._distance("weights_1", "w", here, there, start)["rms_difference"] is None


def told(framework: str, precision: str, difference: float | None) -> Told:
    """A probe with one tensor in one quantity."""
    row = {"quantity": "gradients", "name": "w", "rms_difference": difference, "rms": 1.0}
    facts = {"facts": {"parameters": 1}, "flops": 1, "tensors": {}, "initial_sha256": "0", "batches_sha256": []}
    return Told(framework, precision, facts | {"rows": [row]})


@pytest.mark.parametrize(
    ("rounding", "difference", "agrees"),
    [(1e-15, 1e-9, True), (1e-15, 1e-7, False), (1e-8, 1e-7, True), (0.1, 5.0, None), (1e-15, None, False)],
)
def test_tolerance_is_what_rounding_makes(rounding: float, difference: float | None, agrees: bool | None) -> None:  # noqa: FBT001 - a table's column
    """A tensor may differ by 30 times the reference's own rounding; NaN agrees with nothing; chaos shows nothing."""
    others = (told("torch", "fp32", 1e-7), told("tf", "fp64", difference), told("tf", "fp32", 1e-7))
    (verdict,) = verdicts("m", Probed(told("torch", "fp64", 0.0), told("torch", "fp64", rounding), others, 1))
    assert verdict.checks[0].agrees is agrees


def test_a_tensor_that_is_not_finite_is_told_so_whether_kept_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN in a framework is no error that was not computed; in the reference's own float32 it leaves the rest."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    others = (told("torch", "fp32", None), told("tf", "fp64", None), told("tf", "fp32", 1e-7))
    (verdict,) = verdicts("m", Probed(told("torch", "fp64", 0.0), told("torch", "fp64", 1e-15), others, 1))
    keep("nan", verdict)
    assert kept("nan") == verdict
    double, single = verdict.checks
    assert (double.error, double.agrees, double.finite, double.tensor) == (None, False, False, "w")
    assert (single.error, single.agrees, single.finite, single.tolerance) == (1e-7, None, True, CHAOS)
    console = Console(width=200, record=True)
    for made in (report([verdict]), overview([verdict])):
        console.print(made)
        (line,) = (line for line in console.export_text().splitlines() if "not finite " in line)
        assert "–" not in line


def test_verdicts_that_cannot_be_kept_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took minutes is said, of every model, then that no folder holds it; who is named twice is asked once."""
    asked: list[list[str]] = []

    def probed(_: RunSpec, frameworks: list[str], **__: object) -> Probed:
        asked.append(frameworks)
        others = (told("torch", "fp32", 1e-7), told("tf", "fp64", 1e-15), told("tf", "fp32", 1e-7))
        return Probed(told("torch", "fp64", 0.0), told("torch", "fp64", 1e-15), others, 1)

    monkeypatch.setattr(verify, "probe_all", probed)
    (tmp_path / "file").touch()
    variables = {"XDG_CACHE_HOME": str(tmp_path / "file")}
    words = ("verify", "cifar_cnn", "resnet18", "--frameworks", "tf, tf", "--json")
    done = commands.in_process(*words, variables=variables)
    assert [(each["model"], each["agrees"]) for each in json.loads(done.stdout)] == [
        ("cifar_cnn", True), ("resnet18", True),
    ]  # fmt: skip
    problem = (
        f"No verdict can be kept in {tmp_path}/file/hwprof/verified: Not a directory. Make room, or set "
        "XDG_CACHE_HOME to another folder."
    )
    assert (done.returncode, done.stderr) == (1, f"hwprof: cifar_cnn: {problem}\nhwprof: {problem}\n")
    assert asked == [["tf"], ["tf"]]


def test_a_weight_without_gradient_is_no_evidence() -> None:
    """What batch norm takes out has a gradient of rounding, of which Adam makes any step; its neighbours are judged."""
    rows = [
        {"quantity": quantity, "name": name, "rms_difference": off, "rms": size}
        for quantity, name, off, size in (
            ("gradients", "w", 1e-14, 1.0), ("gradients", "bias", 1e-14, 1e-14),
            ("weights_1", "w", 1e-14, 1e-5), ("weights_1", "bias", 1e-11, 1e-11),
        )
    ]  # fmt: skip
    itself, tf = told("torch", "fp64", None), told("tf", "fp64", None)
    itself.probe["rows"] = tf.probe["rows"] = rows
    (verdict,) = verdicts("m", Probed(itself, itself, (tf,), 1))
    assert [(check.tensor, check.agrees) for check in verdict.checks if check.quantity == "weights_1"] == [("w", True)]
    assert verdict.agrees


def test_float32_is_probed_as_far_as_it_shows_anything() -> None:
    """Where rounding explains all, a quantity is not computed, and stands in the table without a verdict on it."""
    rows = [
        {"quantity": name, "name": "w", "rms_difference": off, "rms": 1.0}
        for name, off in (("inference", 1e-7), ("gradients", 1e-3), ("weights_1", 0.1), ("weights_10", 0.9))
    ]
    single, tf = told("torch", "fp32", None), told("tf", "fp32", None)
    single.probe["rows"], tf.probe["rows"] = rows, rows[:2]
    assert last_that_shows(single) == "gradients"
    others = (told("torch", "fp64", 0.0), told("tf", "fp64", 0.0), single, tf)
    (verdict,) = verdicts("m", Probed(others[0], others[0], others[1:], 1))
    assert [(check.quantity, check.agrees, check.error is None) for check in verdict.checks[1:]] == [
        ("inference", True, False), ("gradients", True, False), ("weights_1", None, True), ("weights_10", None, True),
    ]  # fmt: skip
    assert verdict.agrees
