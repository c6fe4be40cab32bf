"""Runs a study as a sweep of its own kind, and reads what came of it: study.json and study.html in its folder."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from toolkit.analyses import matched
from toolkit.analyses.processes import Process
from toolkit.analyses.study import definition, points, results
from toolkit.analyses.study.claims import Circumstances, Measured
from toolkit.analyses.study.definition import Definition
from toolkit.analyses.study.points import CIFAR10, DATASET, SYNTHETIC, Asked
from toolkit.analyses.study.results import StudyResult
from toolkit.capture import datasets, launch, matrix, sweeps, verdicts
from toolkit.capture import runs as run_folders
from toolkit.capture.files import write_whole
from toolkit.capture.matrix import Point
from toolkit.capture.sweeps import Limits, Sweep
from toolkit.commands import sweep as sweep_command
from toolkit.commands import sweeping, verify
from toolkit.commands.sweeping import History
from toolkit.errors import BAD_INPUT, HwprofError, complain, printable
from toolkit.reports.html import page
from toolkit.reports.html import study as html
from toolkit.settings import known

PROFILES = launch.ROOT / "profiles"
STUDIES = PROFILES / "studies"
# Beside a sweep's own files, the definition as it was, and what was asked.
TOML, ASKED, RESULT, PAGE = "study.toml", sweeps.STUDY, "study.json", "study.html"
CPU, CUDA = "cpu", "cuda"
# A study's repeats end at their number: no interval has to be so narrow.
ANY_WIDTH = 1.0


def path_of(name: str) -> Path:
    """The TOML of a study's name, or of a path that is one. HwprofError naming the nearest."""
    if name.endswith(".toml"):
        return Path(name)
    return STUDIES / f"{known(name, definition.names(STUDIES), 'study')}.toml"


def find(runs: Path, name: str) -> Path | None:
    """The folder of a study that ran: its path, its name, or `last`; None where there is none."""
    found = [folder for folder in sweeps.folders(runs) if sweeps.is_study(folder)]
    if name == "last":
        return found[-1] if found else None
    folder = sweeps.folder_of(runs, name)
    return folder if folder and sweeps.is_study(folder) else None


class Study(NamedTuple):
    """A study that is to run: where its TOML lies, what that says, and what of it is asked for."""

    path: Path
    definition: Definition
    asked: Asked


def ask(
    path: Path, scale: definition.Scale, overrides: matrix.Matrix, *, runs: Path, experiments: Sequence[str] = ()
) -> Study:
    """What of a study is asked for, the dataset settled: nothing is downloaded at smoke."""
    found = definition.read(path)
    for name in experiments:
        known(name, [each.id for each in found.experiments], "experiment")
    wanted = points.wants_dataset(found, overrides, scale)
    why = _no_dataset(overrides.get("data_dir", ("",))[0], scale) if wanted else None
    run_folders.check_writable(runs)
    given = {name: list(values) for name, values in overrides.items()}
    asked = Asked(study=path.stem, scale=scale, overrides=given, no_dataset=why, experiments=list(experiments))
    return Study(path, found, asked)


def _no_dataset(data_dir: str, scale: definition.Scale) -> str | None:
    """Why CIFAR-10 cannot be had; None where it can. A folder that was named has to hold it."""
    if data_dir or datasets.present(""):
        datasets.prepare(CIFAR10, data_dir, say=sweep_command.say)
        return None
    if scale == "smoke":
        return "CIFAR-10 is not on this machine, and nothing is downloaded at smoke; DATA_DIR=FOLDER names it"
    try:
        datasets.prepare(CIFAR10, "", say=sweep_command.say)
    except HwprofError as error:
        if error.exit_code == BAD_INPUT:
            raise
        return f"{error.problem} DATA_DIR=FOLDER names it"
    return None


def begin(study: Study, *, runs: Path, seed: int, repeats: tuple[int, int] | None = None) -> Sweep:
    """A new study's folder, with all that a resume and a report need; `repeats` are the scale's where not given."""
    made = points.of_study(study.definition, study.asked, profiles=PROFILES)
    if not made:
        whys = "; ".join(f"{each.id}: {points.skipped(each, study.asked)}" for each in study.definition.experiments)
        raise HwprofError(f"No experiment is run at scale {study.asked.scale}: {whys}.", remedy="Give another --scale.")
    if not any(point.spec for point in made):
        raise HwprofError(str(made[0].refused), remedy="No point of the study can run.")
    repeats = repeats or sweeps.repeats_of(study.definition.scales[study.asked.scale].repeats)
    limits = Limits(*repeats, ANY_WIDTH)
    sweep = sweeps.create(runs, points=made, seed=seed, limits=limits, kind=f"study-{study.asked.study}")
    _write(sweep.folder / TOML, study.path.read_text(encoding="utf-8"))
    _write(sweep.folder / ASKED, msgspec.json.format(msgspec.json.encode(study.asked), indent=1).decode())
    return sweep


def verify_models(made: Sequence[Point]) -> None:
    """Shows every matched model of the points to be the same in its frameworks; what fails is said, and left so."""
    specs = [point.spec for point in made if point.spec and point.spec.matched]
    wanted = {verdicts.identity(spec, spec.framework): spec for spec in specs if spec.framework != verdicts.REFERENCE}
    for spec in wanted.values():
        failures: verify.Failures = []
        try:
            verify.of_model(spec, [spec.framework], force=False, failures=failures)
        except HwprofError as error:
            failures.append((spec.model, error))
        for model, failure in failures:
            complain(f"{model}: {failure}")


def read(folder: Path, *, force: bool) -> StudyResult:
    """What a study came to so far. HwprofError where its folder is damaged."""
    sweep = sweeps.read(folder)
    found = definition.read(folder / TOML)
    try:
        asked = msgspec.json.decode((folder / ASKED).read_bytes(), type=Asked)
    except (OSError, msgspec.DecodeError) as error:
        raise HwprofError(f"{folder / ASKED} cannot be read: {error}.", remedy="Run the study again.") from error
    measured = _measured(sweep)
    return results.results(found, asked, sweep, measured, _circumstances(found, asked, measured, force=force))


def write(folder: Path, result: StudyResult) -> None:
    """study.json and study.html, anew. HwprofError where they cannot be written."""
    _write(folder / RESULT, msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
    _write(folder / PAGE, _page(result))


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise HwprofError(
            f"{path} cannot be written: {error.strerror or error}.", remedy="Make room there, or let it be written."
        ) from error


def page_of(folder: Path, *, force: bool) -> str | None:
    """The page of a study as far as it has come; None where the folder is that of another sweep."""
    return _page(read(folder, force=force)) if sweeps.is_study(folder) else None


def _page(result: StudyResult) -> str:
    return page.render(printable(result.title), html.subtitle(result), html.sections(result))


def _measured(sweep: Sweep) -> list[Measured]:
    """Each point with its complete runs whose records are still there."""
    process_of = functools.cache(sweeping.process_of)
    history = History(sweep, read=process_of)

    def processes_of(point: Point) -> list[Process]:
        told = (process_of(sweep.folder.parent / ran.run) for ran in history.ran(point))
        return [process for process in told if process]

    return [Measured(point, *history.status(point), processes_of(point)) for point in sweep.points]


def _circumstances(found: Definition, asked: Asked, measured: Sequence[Measured], *, force: bool) -> Circumstances:
    synthetic = asked.overrides.get(DATASET) == [SYNTHETIC]
    return Circumstances(
        no_gpu=_no_gpu(asked, measured),
        no_dataset=asked.no_dataset or ("synthetic images were asked for" if synthetic else None),
        scaled=results.changes(found, asked, profiles=PROFILES),
        unlike=lambda mine: None if force else _unlike(mine),
    )


def _unlike(mine: Sequence[Process]) -> str | None:
    """Also of one framework alone, for its figures stand beside published ones of another, and ours of PyTorch."""
    unshown = [each for each in matched.compared(process.folder for process in mine) if each.doubtful]
    return matched.not_the_same(unshown) if unshown else None


def _no_gpu(asked: Asked, measured: Sequence[Measured]) -> str | None:
    every = [process for each in measured for process in each.processes]
    if any(process.device == CUDA for process in every):
        return None
    if asked.overrides.get("device") == [CPU]:
        return "device=cpu was asked for"
    reasons = (entry.reason for process in every for entry in process.summary.unavailable if entry.source == "nvml")
    return next(reasons, "no run was on one")
