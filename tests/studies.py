"""A small study, and runs of it made by hand: what its claims come to, without a framework."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.made_runs import made_run
from toolkit.analyses.study.claims import InMode
from toolkit.analyses.study.results import StudyResult
from toolkit.capture.sweeps import BEGUN, COMPLETE, Entry, Log, Sweep
from toolkit.commands import studying
from toolkit.reports import study as report

# Of one process to the next, times that differ by some per mille.
SHIPPED = "as-shipped"
MATCHED = "matched"
NOISE = (1.0, 1.002, 0.998)
STUDY = """
title = "A beside B"
source = "Somebody, somewhere"
evidence = "primary: the text was read"
about = "Two frameworks."
unstated = ["the weather"]
flaws = ["a single run"]

[settings]
model = "cifar_cnn"
epochs = 10
steps = 100
[scales.smoke]
repeats = "3"
why = "little"
settings = { epochs = 2, steps = 15 }
[scales.short]
repeats = "3"
why = "some"
[scales.full]
repeats = "6"
why = "all"

[[choices]]
setting = "normalise"
value = "none"
other = "cifar10"
reason = "not stated"

[[experiments]]
id = "train"
title = "Training"
published_on = "a GPU"
modes = ["as-shipped", "matched"]
matrix = { framework = ["torch", "tf"] }

[[published]]
id = "step_torch"
what = "a step"
where = "table 1"
evidence = "primary"
framework = "torch"
value = 0.020
unit = "s"
experiment = "train"
metric = "step_time"
[[published]]
id = "step_tf"
what = "a step"
where = "table 1"
evidence = "secondary"
framework = "tf"
value = 0.010
unit = "s"
doubt = "of another machine"
experiment = "train"
metric = "step_time"
[[published]]
id = "curve"
what = "a curve"
where = "figure 1"
evidence = "unreadable"

[[claims]]
id = "faster"
text = "TensorFlow is faster"
where = "table 1"
says = "lower"
experiment = "train"
metric = "step_time"
a = { framework = "torch" }
b = { framework = "tf" }
figures = ["step_torch", "step_tf"]
mechanisms = ["ledger", "between_epochs", "percentages"]
"""
Times = Mapping[tuple[str, str], float]


def written(folder: Path, text: str = STUDY) -> Path:
    """The TOML of a study."""
    path = folder / "a_study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def begun(folder: Path, text: str = STUDY, overrides: Mapping[str, Sequence[str]] | None = None) -> Sweep:
    """A study at smoke, of which nothing ran yet."""
    given = {name: tuple(values) for name, values in (overrides or {}).items()}
    study = studying.ask(written(folder, text), "smoke", given, runs=folder)
    return studying.begin(study, runs=folder, seed=7)


def ran(
    folder: Path, times_ms: Times, *, text: str = STUDY, noise: Sequence[float] = NOISE,
    otherwise: Mapping[tuple[str, str], tuple[str, str]] | None = None,
) -> Sweep:  # fmt: skip
    """A study whose points, by mode and framework, have steps as long as told; or ended `otherwise`: how, and why."""
    sweep = begun(folder, text)
    with Log(sweep) as log:
        for point in sweep.points:
            assert point.spec
            key = (point.spec.mode, point.spec.framework)
            if otherwise and key in otherwise:
                status, reason = otherwise[key]
                log.append(Entry(point=point.number, repeat=1, status=BEGUN, run="gone"))
                log.append(Entry(point=point.number, repeat=1, status=status, run="gone", reason=reason))
                continue
            for number, factor in enumerate(noise if key in times_ms else (), 1):
                name = f"{point.number}-{number}"
                settings = {"framework": point.spec.framework, "mode": point.spec.mode}
                made_run(folder / name, times_ms[key] * factor, **settings)
                log.append(Entry(point=point.number, repeat=number, status=COMPLETE, run=name, seconds=1.0))
    return sweep


def result(folder: Path, times_ms: Times, *, force: bool = True, **how: Any) -> StudyResult:
    """What such a study came to."""
    return studying.read(ran(folder, times_ms, **how).folder, force=force)


def times(torch_ms: float, tf_ms: float, mode: str = SHIPPED) -> dict[tuple[str, str], float]:
    """How long steps take in each framework."""
    return {(mode, "torch"): torch_ms, (mode, "tf"): tf_ms}


def told(found: StudyResult, mode: str = SHIPPED, claim: int = 0) -> InMode:
    """A claim's verdict in a mode."""
    return next(each for each in found.claims[claim].modes if each.mode == mode)


def text_of(found: StudyResult) -> str:
    """The report as it is printed."""
    console = Console(width=200, record=True)
    console.print(report.report(found))
    return console.export_text()
