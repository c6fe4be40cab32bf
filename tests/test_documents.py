"""The documents: every command in them is run by a test, every remedy of the doctor stands there, and links lead on."""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests import cifar, recorded, test_gate_page, test_questions, test_reading_a_trace
from tests.commands import HWPROF, REPO
from tests.doctor_remedies import remedies
from tests.made_runs import made_run
from tests.test_crossover import infers
from tests.test_house import make
from tests.test_reading_a_trace import FENCED, run
from toolkit.commands.cli import cli

DOCS = REPO / "docs"
README = REPO / "README.md"
PAGES = [README, REPO / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
FAILS_WITHOUT_ENGINES = {"make doctor", "hwprof doctor --json"}

# Run here as they stand, on runs that are there already.
CHEAP = {
    "hwprof list",
    "hwprof show last",
    "hwprof show last --json",
    "hwprof report last",
    "hwprof report last -o report.html",
    "hwprof report RUN,RUN,RUN RUN,RUN,RUN -o difference.html",
    "hwprof compare RUN,RUN,RUN RUN,RUN,RUN",
    "hwprof compare --memory RUN last",
    'hwprof query last "FROM epoch_ledger"',
    'hwprof query last "SELECT part, round(sum(ns) / 1e6, 1) AS ms FROM epoch_ledger'
    " WHERE pass_name = 'time' GROUP BY part ORDER BY ms DESC\"",
    "hwprof export last --to perfetto",
    "hwprof export last --to perfetto -o run.pftrace",
    'hwprof crossover "*-cpu-infer-*" "*-cuda-infer-*"',
    "hwprof analyze trace.pt.trace.json.gz",
    "make study",
    'eval "$(_HWPROF_COMPLETE=bash_source hwprof)"',
    *FAILS_WITHOUT_ENGINES,
}
# Run here for real, as the page has them but for this: what they do not say themselves is set to take little time.
REAL = {
    "make profile FRAMEWORK=torch MODEL=resnet50",
    "make profile FRAMEWORK=torch MODEL=resnet50 DEVICE=cpu RUNTIME=docker",
    "make profile FRAMEWORK=torch MODEL=cifar_cnn",
    "make profile FRAMEWORK=jax MODEL=cifar_cnn DEVICE=cpu",
    "make profile FRAMEWORK=tf MODEL=resnet50 LOOP=custom",
    "make profile FRAMEWORK=torch MODEL=cifar_cnn DATASET=cifar10 STEPS=0 EPOCHS=10",
    "make profile FRAMEWORK=tf MODEL=vgg16 BATCH=16 DEVICE=cpu TASK=infer INFER_BATCHES=1,4,16",
    "make sweep FRAMEWORK=torch MODEL=cifar_cnn BATCH=8,32 STEPS=5 REPEATS=3",
}
LITTLE = {
    "DEVICE": "cpu",
    "RUNTIME": "local",
    "THREADS": "1",
    "STEPS": "2",
    "EPOCHS": "1",
    "VALIDATION_STEPS": "1",
    "BATCH": "2",
    "PASSES": "time",
    "INFER_BATCHES": "1",
    "INFER_REPEATS": "1",
}
# Matrices that take hours: planned here, point by point.
DRY = {
    "make sweep FRAMEWORK=torch,tf,jax MODEL=cifar_cnn BATCH=8,32,128",
    "hwprof sweep --set task=infer --set model=resnet18 --set batch=1,8,64 --repeats 6..20 --width 2%",
    "hwprof sweep --set framework=torch,tf,jax --set model=cifar_cnn,resnet18 --set batch=8,32 --set steps=5"
    " --set epochs=3 --set validation_steps=1 --set threads=1 --set device=cpu --set runtime=local --repeats 4"
    " --order-seed 2026",
}
# Run by tests that say what must come of them.
ELSEWHERE = {
    "make test": "test_documents.py::test_make_runs_the_tests",
    "make check": "test_documents.py::test_make_runs_the_tests",
    "make verify MODEL=resnet50": "test_verify.py::test_matched_models_are_the_same_in_every_framework",
    "make verify MODEL=cifar_cnn FRAMEWORKS=jax": "test_verify.py::test_matched_models_are_the_same_in_every_framework",
    "make verify-all": "test_verify.py::test_every_model_is_verified_smallest_first",
    "hwprof verify cifar_cnn resnet18": "test_verify.py::test_matched_models_are_the_same_in_every_framework",
    "hwprof differences resnet50 --set image_size=224 --set classes=1000": (
        "test_differences.py::test_resnet50_as_shipped_is_not_one_network"
    ),
    "hwprof sweep --resume last": "test_sweep.py::test_a_sweep_that_was_killed_and_stopped_comes_to_the_same_end",
    "make overhead MODEL=resnet50": "test_overhead.py::test_the_real_loop_is_measured_with_and_without",
    "make tensorboard": "test_tensorboard_served.py::test_a_browser_shows_every_tab",
    "make study STUDY=devto_rakshath": "test_study_command.py::test_a_published_comparison_in_one_command",
    "make study RESUME=last": "test_study_command.py::test_a_published_comparison_in_one_command",
    "make studies": "test_study_definition.py::test_a_published_study_can_be_run",
    "make study STUDY=devto_rakshath SCALE=short DATA_DIR=cifar": (
        "test_study_definition.py::test_a_published_study_can_be_run"
    ),
    "make study STUDY=asu_patel_dl_frameworks SCALE=short EXPERIMENT=cpu_infer MAX_MINUTES=15": (
        "test_study_definition.py::test_a_published_study_can_be_run"
    ),
    "make study STUDY=devto_rakshath VERIFY=1 NORMALISE=cifar10": (
        "test_study_command.py::test_make_hands_over_the_study"
    ),
    "hwprof study runs/20261130-120000-study-devto_rakshath-1a2b": (
        "test_study_command.py::test_a_study_that_ran_is_reported_anew"
    ),
    "pip install path/to/hwprof": "test_own.py::test_installed_the_toolkit_makes_the_report_where_its_libraries_are",
    "pip install --no-deps path/to/hwprof": (
        "test_own.py::test_installed_the_toolkit_makes_the_report_where_its_libraries_are"
    ),
    "pip install psutil nvidia-ml-py py-spy": (
        "test_own.py::test_installed_the_toolkit_makes_the_report_where_its_libraries_are"
    ),
}
# Pages whose own tests run every command of theirs, and what those are.
OWN = {
    "questions.md": {question.command for question in test_questions.QUESTIONS},
    "gate.md": {command for command, _ in test_gate_page.commands()},
    "reading-a-trace.md": {example.command for example in test_reading_a_trace.examples(test_reading_a_trace.PAGE)},
    "README.md": {example.command for example in test_reading_a_trace.examples(README)},
}


def commands(page: Path) -> Iterator[str]:
    """Every command of a page without its comment: of its shell blocks, and what stands behind a prompt in others."""
    for language, block in FENCED.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            yield from _commands(block)
        else:
            yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))


def _commands(block: str) -> Iterator[str]:
    """A command may go over several lines, by a backslash or within quotes."""
    held = ""
    for line in block.splitlines():
        held += line + "\n"
        try:
            words = shlex.split(held, comments=True)
        except ValueError:
            continue
        if line.endswith("\\"):
            held = held[:-2]
        else:
            if words:
                yield _without_comment(held)
            held = ""
    assert not held, held


def _without_comment(command: str) -> str:
    """Up to the first number sign that follows a space and stands in no quotes; single spaces before options."""
    for found in re.finditer(r"\s+#", command):
        with contextlib.suppress(ValueError):
            shlex.split(command[: found.start()])
            command = command[: found.start()]
            break
    return re.sub(r"\s+(?=--)", " ", command.strip())


def plain(command: str) -> str:
    """Without variables before it, as which it stands in the tables."""
    return re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command)


EVERY = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), EVERY, ids=lambda value: getattr(value, "name", str(value)[:60]))
def test_every_command_is_run_by_a_test(page: Path, command: str) -> None:
    """By this module, by the page's own tests, or by the one that the table names, which is there."""
    known = plain(command)
    if known in ELSEWHERE:
        file, test = ELSEWHERE[known].split("::")
        assert f"def {test}(" in (REPO / "tests" / file).read_text(encoding="utf-8")
    else:
        assert known in CHEAP | REAL | DRY | OWN.get(page.name, set())


def test_the_tables_hold_nothing_that_no_page_has() -> None:
    """So that a command which leaves the documents leaves the tests."""
    assert {*CHEAP, *REAL, *DRY, *ELSEWHERE} - {plain(command) for _, command in EVERY} == set()


def called(command: str) -> list[list[str]]:
    """The words of each `hwprof` that a command comes to, make's targets as make shows them."""
    words = shlex.split(plain(command), comments=True)
    if words[0] == "make":
        shown = make("-n", *words[1:])
        assert shown.returncode == 0, shown.stderr
        lines = [
            shlex.split(line) for line in shown.stdout.splitlines() if line.startswith(".venv/toolkit/bin/hwprof ")
        ]
        return [line[1:] for line in lines]
    return [words[1:]] if words[0] == "hwprof" else []


@pytest.mark.parametrize("command", sorted({command for _, command in EVERY}), ids=lambda value: value[:60])
def test_every_command_is_one_that_hwprof_takes(command: str) -> None:
    """Its command, options and choices are there, whether or not it can be run here."""
    for name, *words in called(command):
        parse(name, words)


def parse(name: str, words: list[str]) -> None:
    """As the command line does, without doing anything."""
    found = cli.get_command(click.Context(cli), name)
    assert found, name
    found.make_context(name, list(words))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/: repeats of two sides, inference on both devices, and the recorded ones; and a trace."""
    folder = tmp_path_factory.mktemp("documents")
    for side, ms in (("a", 20.0), ("b", 21.6)):
        for repeat in range(3):
            made_run(folder / "runs" / f"{side}-{repeat}", ms + repeat * 0.06)
    for number in range(3):
        infers(folder / "runs" / f"{number}-cpu-infer-x", {1: 2, 8: 9}, gpu=False)
        infers(folder / "runs" / f"{number}-cuda-infer-x", {1: 4, 8: 5}, gpu=True)
    # What `last` is, is told by when runs began: these long before the recorded ones.
    for launch in (folder / "runs").glob("*/raw/launch.json"):
        launch.write_text(json.dumps(json.loads(launch.read_text()) | {"created": "2026-01-01T00:00:00+00:00"}))
    torch = next(found for found in recorded.unpack(folder / "others") if "-torch-" in found.name)
    for name in ("z-0", "z-1"):
        shutil.copytree(torch, folder / "runs" / name)
    (trace,) = torch.glob("raw/profile/trace/**/*.pt.trace.json*")
    (folder / ("trace.pt.trace.json.gz")).symlink_to(trace)
    return folder


@pytest.mark.parametrize("command", sorted(CHEAP))
def test_a_cheap_command_does_what_it_says(place: Path, command: str) -> None:
    """It succeeds in a folder with runs; the doctor may find that none can be made here, and says so."""
    sides = ",".join(f"a-{number}" for number in range(3)), ",".join(f"b-{number}" for number in range(3))
    ready = command.replace("RUN,RUN,RUN", sides[0], 1).replace("RUN,RUN,RUN", sides[1]).replace("RUN last", "z-0 last")
    if command.startswith("make "):
        # What make would call: make itself may make the environment anew in which this runs.
        (words,) = called(command)
        ready = shlex.join(["hwprof", *words])
    elif command.startswith("eval "):
        ready = f"bash -c {shlex.quote(f'{command} && complete -p hwprof')}"
    done = run(place, ready)
    assert done.returncode in ({0, 1, 2} if command in FAILS_WITHOUT_ENGINES else {0}), done.stderr
    assert done.stdout or "Written: " in done.stderr


@pytest.mark.parametrize("command", sorted(DRY))
def test_a_matrix_is_planned(place: Path, command: str) -> None:
    """Each of its points could be run."""
    (words,) = called(command)
    done = run(place, shlex.join(["hwprof", *words, "--dry-run"]))
    assert done.returncode == 0, done.stderr
    assert " run" in done.stdout
    assert "unsupported" not in done.stdout


def test_make_runs_the_tests() -> None:
    """All of them, and those that take seconds, once style, types and layers are right."""
    assert "-m pytest -n auto\n" in make("-n", "test").stdout
    shown = make("-n", "check").stdout
    assert shown.index("ruff check") < shown.index("-m pytest -n auto -m 'not e2e'")


@pytest.mark.e2e
@pytest.mark.parametrize("command", sorted(REAL))
def test_a_command_runs_for_real(command: str, tmp_path: Path) -> None:
    """As make would have it, in the little time that its own settings leave; its report is printed."""
    given = {word.partition("=")[0] for word in command.split() if "=" in word}
    more = LITTLE | {"RUNS": str(tmp_path / "runs")} | ({"REPEATS": "1"} if "sweep" in command else {})
    if "DATASET=cifar10" in command:
        more["DATA_DIR"] = str(cifar.folder(tmp_path))
    if command.split()[1] == "sweep":
        more = {name: value for name, value in more.items() if name != "PASSES"}
    added = [f"{name}={value}" for name, value in more.items() if name not in given - {"RUNTIME"}]
    (words,) = called(shlex.join([*shlex.split(command), *added]))
    done = subprocess.run([HWPROF, *words], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout


def test_every_remedy_of_the_doctor_stands_in_the_page() -> None:
    """Word for word, as the sources of its checks have it; what depends on the machine is left open."""
    page = " ".join((DOCS / "troubleshooting.md").read_text(encoding="utf-8").split())
    found = remedies()
    assert all(found.values()), found
    pieces = [piece.strip() for texts in found.values() for text in texts for piece in text.split("…")]
    assert len(pieces) > 20
    assert [piece for piece in pieces if piece and piece not in page] == []


def test_the_readme_leads_to_every_page() -> None:
    """And each page is no copy of another's: definitions stand in one."""
    readme = README.read_text(encoding="utf-8")
    assert [page.name for page in DOCS.glob("*.md") if f"docs/{page.name}" not in readme] == []
    defined = [page.name for page in PAGES if "- **Epoch ledger**" in page.read_text(encoding="utf-8")]
    assert defined == ["definitions.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file that is there, and to a heading of it."""
    for path, _, anchor in re.findall(r"\]\(((?!https?:)[^)#\s]*)(#([\w-]+))?\)", page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, anchor
