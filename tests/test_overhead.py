"""What hwprof's own options cost: how a step is timed, what is held to what, what cannot be had, the whole command."""

import json
from pathlib import Path

import pytest

from tests.commands import in_own_process, in_process
from toolkit.analyses.overhead import costs, step_ns
from toolkit.analyses.statistics import HIGHER, NONE_SHOWN
from toolkit.capture.profiler_options import NOT_APART, OFF, OPTIONS, TAKEN, settings_of
from toolkit.commands.overhead import PROFILES, check_settings
from toolkit.errors import HwprofError
from toolkit.settings import resolve
from toolkit.spec import FRAMEWORKS

MS = 1_000_000
OVER = {"off": "off", "profiler": "off", "shapes": "profiler"}
# One value a process, ns.
NOISE = (0.99, 1.0, 1.005, 1.01, 0.995)


def recorded(folder: Path) -> Path:
    """A pass of four steps of 6 ms, 8, 9 and 10 ms apart, the first of which compiled; done 5 ms after the last."""
    spans = [(0, 6), (8, 14), (17, 23), (27, 33)]
    marks = [["mark", 2 + number, 1, "step", "train", 1, number + 1, *span] for number, span in enumerate(spans)]
    marks += [["mark", 9, 2, "phase", "compile", 1, 1, 0, 5], ["mark", 10, 1, "phase", "compute", 1, None, 33, 38]]
    marks += [["mark", 1, None, "epoch", "train", 1, None, 0, 40]]
    lines = [
        ["clock", 0, 0],
        *([*mark[:-2], *(at * MS for at in mark[-2:])] for mark in marks),
        ["clock", 40 * MS, 40 * MS],
    ]
    folder.mkdir()
    (folder / "worker.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_step_lasts_until_the_next_begins(tmp_path: Path) -> None:
    """What a profiler does between steps counts, a compiled step does not; a GPU's steps count to the device's end."""
    raw = recorded(tmp_path / "time")
    assert step_ns(raw, device="cpu") == 9 * MS
    assert step_ns(raw, device="cuda") == 38 * MS / 4


def test_each_option_is_held_to_off_and_to_what_it_is_on_top_of() -> None:
    """Shapes that double a profiler which doubles a step are four times off, and twice the profiler, with intervals."""
    measured = {
        name: [factor * MS * noise for noise in NOISE]
        for name, factor in {"off": 1, "profiler": 2, "shapes": 4}.items()
    }
    off, profiler, shapes = costs(OVER, measured, {}, off="off")
    assert (off.ratio, off.added) == (None, None)
    assert profiler.added is None
    for ratio, truth in ((profiler.ratio, 2), (shapes.ratio, 4), (shapes.added, 2)):
        assert ratio is not None
        assert ratio.low is not None
        assert ratio.high is not None
        assert ratio.low < truth < ratio.high
        assert ratio.estimate == pytest.approx(truth)
    assert shapes.verdict == HIGHER


def test_no_cost_is_claimed_where_none_is_shown() -> None:
    """Of an option whose steps are as long as those without it, the interval holds 1."""
    measured = {name: [MS * noise for noise in NOISE] for name in ("off", "profiler")}
    assert costs({"off": "off", "profiler": "off"}, measured, {}, off="off")[1].verdict == NONE_SHOWN


def test_what_cannot_be_had_is_a_result() -> None:
    """An option without figures keeps its reason, and so does one that what it is on top of has none of."""
    measured = {"off": [MS], "shapes": [MS]}
    _, profiler, shapes = costs(OVER, measured, {"profiler": "it failed"}, off="off")
    assert (profiler.reason, profiler.median, profiler.ratio) == ("it failed", None, None)
    assert shapes.ratio is not None
    assert shapes.added is None


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_settings_that_a_framework_has_or_refuses(framework: str, option: str) -> None:
    """Each resolves to a run of one epoch, all of it profiled or none; shapes are PyTorch's alone."""
    given = [f"framework={framework}", "model=cifar_cnn", *settings_of(OPTIONS[option], steps=7)]
    if option == "shapes" and framework != "torch":
        with pytest.raises(HwprofError, match="profile_shapes"):
            resolve(None, given, profiles=PROFILES)
        return
    spec = resolve(None, given, profiles=PROFILES)
    assert (spec.passes, spec.steps, spec.profile_steps) == ((OPTIONS[option].pass_name,), 7, 7)
    assert OPTIONS[option].over in OPTIONS


def test_off_has_neither_profiler_nor_samplers() -> None:
    """And what is said not to lie apart names options that there are."""
    spec = resolve(None, settings_of(OPTIONS[OFF], steps=3), profiles=PROFILES)
    assert (spec.passes, spec.samplers, spec.pyspy) == (("time",), (), False)
    assert {option for _, option in NOT_APART} <= set(OPTIONS)


def test_py_spy_without_the_host_s_sampler_is_refused() -> None:
    """The host's sampler starts it."""
    with pytest.raises(HwprofError, match="host's sampler"):
        resolve(None, ["pyspy=true", "samplers=gpu"], profiles=PROFILES)


@pytest.mark.parametrize("setting", sorted(TAKEN))
def test_settings_that_the_options_make_are_refused(setting: str) -> None:
    """Before anything runs, in one line that names the setting."""
    with pytest.raises(HwprofError, match=f"sets {setting} itself"):
        check_settings([f"{setting}=1"])


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    """Exit code 2 and one line."""
    done = in_process("overhead", "--options", "shape")
    assert done.returncode == 2
    assert done.stderr.startswith("hwprof: Unknown option 'shape'. Did you mean 'shapes'?")


@pytest.mark.e2e
def test_the_real_loop_is_measured_with_and_without() -> None:
    """Off and the plain profiler are timed in fresh processes; the GPU's sampler is, too, or a reason is given."""
    few = ("--model", "cifar_cnn", "--options", "profiler,gpu sampler", "--steps", "5", "--repeats", "1", "--json")
    workload = [text for name in ("device=cpu", "runtime=local", "batch=4", "threads=1") for text in ("--set", name)]
    done = in_own_process("overhead", *few, *workload)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    options = {option["option"]: option for option in found["options"]}
    assert set(options) == {"off", "profiler", "gpu sampler"}
    assert all(len(options[name]["step_ns"]) == 1 and options[name]["step_ns"][0] > 0 for name in ("off", "profiler"))
    assert options["profiler"]["ratio"]["estimate"] > 0
    assert options["profiler"]["ratio"]["low"] is None
    gpu = options["gpu sampler"]
    assert gpu["step_ns"] if gpu["reason"] is None else gpu["reason"].startswith("no GPU:")
