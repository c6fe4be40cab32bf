"""Matched runs are compared where they were found the same, and nowhere else."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import hwprof
from tests.test_analyze import trace_of, written
from tests.test_analyze_input import analyze, one_line
from tests.test_house import make
from toolkit.analyses import matched
from toolkit.analyses.verification import Verdict, keep
from toolkit.capture import verdicts
from toolkit.capture.venvs import ROOT
from toolkit.errors import BAD_INPUT, HwprofError
from toolkit.settings import check
from toolkit.spec import RunSpec

REMEDY = "run `hwprof verify resnet18 --frameworks tf`."


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder without verdicts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def launched(folder: Path, framework: str, **settings: Any) -> Path:
    """A run folder as its launch leaves it, with one trace."""
    spec = check(RunSpec(framework=framework, **({"model": "resnet18"} | settings)))
    place = folder / f"{framework}-{spec.mode}"
    (place / "raw" / "profile" / "trace").mkdir(parents=True)
    (place / "spec.json").write_text(spec.as_json())
    lock = ROOT / "containers" / "locks" / f"{framework}-cpu.txt"
    facts = {"matched": verdicts.record(spec, lock), "runtime": {"lock": lock.name}}
    (place / "raw" / "launch.json").write_text(json.dumps(facts))
    written(place / "raw" / "profile" / "trace", "worker", trace_of(("gemm", 10, 5)))
    return place


def found(framework: str, *, agrees: bool = True, **settings: Any) -> None:
    """Keeps a verdict, as `hwprof verify` does."""
    spec = RunSpec(**({"model": "resnet18"} | settings))
    verdict = Verdict(framework, spec.model, agrees, verdicts.now(), 90 * 10**9, [], [])
    keep(verdicts.identity(spec, framework), verdict)


def refusal(*folders: Path) -> str:
    """Why these are not compared."""
    with pytest.raises(HwprofError) as caught:
        matched.check(folders, force=False)
    assert caught.value.exit_code == BAD_INPUT
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_runs_that_are_not_verified_are_not_compared(tmp_path: Path) -> None:
    """One line names the framework, the model and what verifies it; by force the report says so."""
    both = launched(tmp_path, "torch"), launched(tmp_path, "tf")
    said = refusal(*both)
    assert said.startswith("Matched runs of TensorFlow resnet18 are not verified to be the same as PyTorch's: ")
    assert REMEDY in said
    assert matched.check(both, force=True) == f"Compared by --force. {said.removesuffix(FORCE)}"


FORCE = " --force compares them all the same, and says so."


def test_verifying_later_is_enough(tmp_path: Path) -> None:
    """The verdict is looked up by the identity that the run recorded before there was one."""
    both = launched(tmp_path, "torch"), launched(tmp_path, "tf")
    found("tf")
    assert matched.check(both, force=False) is None
    claim = matched.read(both[1])
    assert claim is not None
    assert claim.agrees


def test_a_recorded_verdict_counts_where_none_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was verified when it was made may be read on another machine."""
    found("tf")
    both = launched(tmp_path, "torch"), launched(tmp_path, "tf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert matched.check(both, force=False) is None


def test_one_verdict_does_for_one_framework(tmp_path: Path) -> None:
    """Every framework beside PyTorch needs its own, also where PyTorch's run is not among them."""
    found("tf")
    three = [launched(tmp_path, framework) for framework in ("torch", "tf", "jax")]
    assert "Matched runs of JAX resnet18 are not verified" in refusal(*three)
    assert "JAX" in refusal(*three[1:])


def test_a_verdict_against_stands_against(tmp_path: Path) -> None:
    """A framework that was found to differ is refused, and the line says where to look."""
    both = launched(tmp_path, "torch"), launched(tmp_path, "tf")
    found("tf", agrees=False)
    assert "differ from PyTorch's: `hwprof verify resnet18 --frameworks tf` names the tensors" in refusal(*both)


def test_settings_are_part_of_what_is_verified(tmp_path: Path) -> None:
    """A verdict at another image size does not do; the remedy has the size."""
    found("tf")
    both = launched(tmp_path, "torch", image_size=64), launched(tmp_path, "tf", image_size=64)
    assert "run `hwprof verify resnet18 --frameworks tf --set image_size=64`." in refusal(*both)


def test_a_run_of_other_sources_cannot_be_verified_now(tmp_path: Path) -> None:
    """Its identity is no longer what `hwprof verify` would verify: it has to run again. Nor of none recorded."""
    both = launched(tmp_path, "torch"), launched(tmp_path, "tf")
    facts = both[1] / "raw" / "launch.json"
    told = json.loads(facts.read_text())
    told["matched"]["identity"] = "0" * 64
    for changed in (told, {}):
        facts.write_text(json.dumps(changed))
        assert "run tf-matched again: it was made by other sources or versions than are here" in refusal(*both)


def test_runs_of_one_framework_need_no_verdict(tmp_path: Path) -> None:
    """They are of one definition; nor do as-shipped runs, which claim nothing."""
    one, other = launched(tmp_path / "one", "tf"), launched(tmp_path / "other", "tf", batch=4)
    shipped = [launched(tmp_path, framework, mode="as-shipped", model="resnet50") for framework in ("torch", "tf")]
    assert matched.check([one, other], force=False) is None
    assert matched.check(shipped, force=False) is None


def test_modes_are_never_put_together(tmp_path: Path) -> None:
    """Not even by force."""
    both = launched(tmp_path, "torch"), launched(tmp_path, "torch", mode="as-shipped")
    for force in (True, False):
        with pytest.raises(HwprofError, match="Matched and as-shipped runs are never compared"):
            matched.check(both, force=force)


def test_a_damaged_verdict_is_none(tmp_path: Path) -> None:
    """What cannot be read in the cache verifies nothing."""
    both = launched(tmp_path, "torch"), launched(tmp_path, "tf")
    found("tf")
    for text in ("", "[]", '{"agrees": true}', '{"agrees": true, "verified": 3}'):
        next((tmp_path / "cache").rglob("*.json")).write_text(text)
        assert REMEDY in refusal(*both)


def test_analyze_refuses_and_says_what_it_was_forced_to(tmp_path: Path, cache: Path) -> None:
    """Runs by name, by their traces, and by the folder around them; forced, report and JSON begin with it."""
    runs = launched(tmp_path / "runs", "torch"), launched(tmp_path / "runs", "tf")
    traces = [run / "raw" / "profile" / "trace" for run in runs]
    for paths in (runs, traces):
        assert REMEDY in one_line(analyze(cache, *paths))
    forced = analyze(cache, *traces, "--force")
    assert forced.stdout.startswith("Compared by --force. Matched runs of TensorFlow resnet18 are not verified")
    told = json.loads(analyze(cache, *traces, "--force", "--json").stdout)
    assert (len(told["traces"]), "by --force" in told["forced"]) == (2, True)
    found("tf")
    told = json.loads(analyze(cache, *traces, "--json").stdout)
    assert (len(told["traces"]), told["forced"]) == (2, None)


def test_the_list_of_runs_has_a_table_for_each_mode(tmp_path: Path) -> None:
    """Every run is in it; below stands why figures are blank."""
    for framework in ("torch", "tf"):
        launched(tmp_path, framework)
    launched(tmp_path, "tf", mode="as-shipped", model="resnet50")
    shown = hwprof("list", "--runs", tmp_path)
    lines = [line.split()[0] for line in shown.stdout.splitlines() if line.strip()]
    assert lines.index("tf-matched") < lines.index("as-shipped") < lines.index("tf-as-shipped")
    assert "Figures left blank. Matched runs of TensorFlow resnet18 are not verified" in shown.stderr
    assert REMEDY in shown.stderr
    found("tf")
    assert hwprof("list", "--runs", tmp_path).stderr == ""
    same = {entry["run"]: entry["same"] for entry in json.loads(hwprof("list", "--runs", tmp_path, "--json").stdout)}
    assert same == {"torch-matched": True, "tf-matched": True, "tf-as-shipped": None}


def test_a_kept_verdict_is_not_made_again() -> None:
    """`hwprof verify` shows it at once and ends with its verdict; several models are one table."""
    found("tf")
    found("tf", model="vgg16", agrees=False)
    one = hwprof("verify", "resnet18", "--frameworks", "tf")
    assert one.returncode == 0
    assert "TensorFlow resnet18: agrees with PyTorch in float64" in one.stdout
    assert "Kept: resnet18 in tf" in one.stderr
    two = hwprof("verify", "vgg16", "resnet18", "--frameworks", "tf")
    assert two.returncode == 1
    assert "Not the same as in PyTorch: vgg16 in tf." in two.stderr.splitlines()[-1]
    assert [line.split()[:3] for line in two.stdout.splitlines() if "TensorFlow" in line] == [
        ["vgg16", "TensorFlow", "DIFFERS"], ["resnet18", "TensorFlow", "agrees"],
    ]  # fmt: skip


def test_make_verifies() -> None:
    """MODEL, FRAMEWORKS and FORCE become words of the command, other variables settings of the model."""
    shown = make("-n", "verify", "MODEL=vgg16", "FRAMEWORKS=tf", "FORCE=1", "OPTIMIZER=sgd").stdout
    assert "hwprof verify --frameworks 'tf' --force --set 'optimizer=sgd' -- 'vgg16'" in " ".join(shown.split())
    assert "hwprof verify -- all" in " ".join(make("-n", "verify-all", "FORCE=0").stdout.split())
    assert "Give MODEL on make's command line, as in: make verify MODEL=resnet50" in make("-n", "verify").stderr
