"""The house around the code: make, the locks, the layers, and what CI counts as a failure."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from containers import lock
from toolkit.capture.venvs import ROOT

LOCKS = sorted((ROOT / "containers" / "locks").glob("*.txt"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BACKEND = """
import zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    files = {
        "hwprof-0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: hwprof\\nVersion: 0\\n",
        "hwprof-0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "hwprof-0.data/scripts/hwprof": "#!python\\nimport json, sys\\nprint(json.dumps(sys.argv[1:]))\\n",
        "hwprof-0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(f"{wheel_directory}/hwprof-0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = 0o100755 << 16
            wheel.writestr(member, text)
    return "hwprof-0-py3-none-any.whl"
"""
# Tests under our conftest.py, to see what it makes of them.
SPREAD = """
import time, pytest

@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with (tmp_path_factory.getbasetemp().parent / "made").open("a+") as file:
        file.write("made it\\n")
        file.seek(0)
        return file.read().count("made it")

def test_skipped(): pytest.skip("no time")

@pytest.mark.e2e
@pytest.mark.gpu
def test_on_a_gpu(): pytest.skip("no GPU")
@pytest.mark.e2e
@pytest.mark.traces
def test_of_traces(): pytest.skip("no traces")

@pytest.mark.e2e
def test_end_to_end(): pytest.skip("no framework")

@pytest.mark.e2e
@pytest.mark.parametrize("number", range(4))
def test_shares(made, number): assert (made, number) < (1, 3)

def test_slow():
    end = time.process_time() + 1
    while time.process_time() < end: pass
"""

# Two of these end the process that runs them: one is a group by itself, one is amid its group.
DYING = """
import os, pytest, time

@pytest.mark.e2e
@pytest.mark.parametrize("number", range(6))
def test_end_to_end(number):
    time.sleep(0.1)
    if number == 2: os._exit(7)

@pytest.mark.parametrize("number", range(8))
def test_quick(number):
    time.sleep(0.1)
    if number == 3: os._exit(7)
"""


def make(*arguments: str, folder: Path = ROOT, exported: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:
    """Runs make as from a shell of its own: a make that runs the tests does not hand its variables on."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**inherited, **exported}, check=False, capture_output=True, text=True
    )


def handed_over(*arguments: str, exported: Mapping[str, str] = {}) -> list[str]:
    """The words that `make profile` would hand to the hwprof command, as the shell splits them."""
    shown = make("-n", "profile", *arguments, exported=exported).stdout
    (line,) = (line for line in shown.splitlines() if line.startswith(".venv/toolkit/bin/hwprof "))
    return shlex.split(line)[1:]


def test_make_alone_shows_every_target() -> None:
    """`make` without a target prints help, which names each target that people call."""
    targets = re.search(r"^\.PHONY: help (.*) setup setup-dev$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    shown = make().stdout
    assert all(f"make {target}" in shown for target in targets[1].split())


def test_make_tensorboard_hands_run_and_port_over() -> None:
    """As typed; without them all runs, on the usual port."""
    shown = make("-n", "tensorboard", "RUN=$x", "PORT=6007", "RUNS=my runs").stdout
    (line,) = (line for line in shown.splitlines() if line.startswith(".venv/toolkit/bin/hwprof "))
    assert shlex.split(line)[1:] == ["tensorboard", "--runs", "my runs", "--port", "6007", "--", "$x"]


def test_variables_become_settings() -> None:
    """Each variable on the command line becomes one setting, lower-cased; RUNS and PYTHON are make's own."""
    words = handed_over("FRAMEWORK=torch", "BACTH=8", "runtime=local", "PYTHON=python3", "RUNS=my runs")
    assert words == [
        "run", "--runs", "my runs", "--set", "bacth=8", "--set", "framework=torch", "--set", "runtime=local",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", ["two  words", "it's", 'say "x"', "$HOME `id` $(id) $$", "a\\b", "#;&|<>*?~", "", "ü"]
)
def test_values_reach_hwprof_as_typed(value: str) -> None:
    """No character of a value means anything to make or to the shell."""
    assert handed_over(f"DATA_DIR={value}") == ["run", "--set", f"data_dir={value}"]


def test_a_line_break_in_a_value_is_refused() -> None:
    """What make cannot hand over unchanged it refuses in one line."""
    done = make("-n", "profile", "DATA_DIR=a\nb")
    assert done.returncode == 2
    assert "holds a line break" in done.stderr


def test_the_environment_changes_no_run() -> None:
    """A variable that someone exported is no setting."""
    assert handed_over("MODEL=vgg16", exported={"BATCH": "9", "PYTHON": "/no/such"}) == ["run", "--set", "model=vgg16"]


def test_a_python_that_does_not_fit_is_one_line() -> None:
    """Where no Python of the range is found, make says which were tried and what to do."""
    done = make("setup", "PYTHON=/no/such python")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "hwprof: no Python 3.11, 3.12 or 3.13 among: /no/such python. "
        "Install one, or name one: make PYTHON=/path/to/python3."
    )


def test_a_python_without_venv_is_one_line(tmp_path: Path) -> None:
    """Where the Python that fits cannot make environments, make names the package that it lacks."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {shlex.quote(sys.executable)} "$@"\n')
    bare.chmod(0o755)
    done = make("setup", f"PYTHON={bare}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"hwprof: {bare} lacks venv and ensurepip. Install its venv package")


@pytest.mark.e2e
def test_make_installs_once_and_hands_over(tmp_path: Path) -> None:
    """From a bare checkout `make profile` makes the environment, says so once, and runs hwprof with the settings."""
    for name in ("Makefile", "containers", "toolkit"):
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path)
    (tmp_path / "containers" / "locks" / "toolkit.txt").write_text("# size: nothing\n")
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (tmp_path / "backend.py").write_text(BACKEND)
    first, second = (make("profile", f"PYTHON={sys.executable}", "BATCH=8 ", folder=tmp_path) for _ in range(2))
    assert first.stderr == "Installing toolkit from containers/locks/toolkit.txt; nothing, once …\n"
    assert (second.returncode, second.stderr) == (0, "")
    assert json.loads(first.stdout) == json.loads(second.stdout) == ["run", "--set", "batch=8 "]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_pins_and_hashes_only(path: Path) -> None:
    """Every requirement is exact and hashed; no index, address or path stands in a lock."""
    text = path.read_text()
    allowed = re.compile(r"[a-z0-9-]+==\S+( ; [^\\/]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|# size: about .*")
    assert [line for line in text.splitlines() if not allowed.fullmatch(line)] == []
    assert all(lock.recorded(text).values())


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_fits_its_source(path: Path) -> None:
    """What an .in pins stands so in its lock, with each hash that published.toml has for it."""
    hashes = lock.recorded(path.read_text())
    wanted = re.findall(r"^([a-z0-9-]+)(?:\[\S+\])?(==\S+)", path.with_suffix(".in").read_text(), re.MULTILINE)
    assert {name + version for name, version in wanted} <= hashes.keys()
    for pin, added in lock.published(path.stem).items():
        assert added <= hashes[pin]


def test_runtime_pins_are_exact_and_complete() -> None:
    """toolkit.in pins every runtime dependency of the package exactly, and dev.txt holds all of toolkit.txt."""
    lines = (ROOT / "containers" / "locks" / "toolkit.in").read_text().splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins)
    assert set(PYPROJECT["project"]["dependencies"]) <= {name for name, _ in pins}
    toolkit, dev = (
        lock.recorded((ROOT / "containers" / "locks" / f"{name}.txt").read_text()) for name in ("toolkit", "dev")
    )
    assert toolkit.items() <= dev.items()


def test_a_hash_stays_as_long_as_its_pin() -> None:
    """Compiling again where fewer wheels are seen drops no hash; a moved pin drops the old ones; markers stay."""
    fresh = f"a==1 ; sys_platform == 'linux' \\\n    --hash=sha256:{'1' * 64}\nb==2 \\\n    --hash=sha256:{'2' * 64}\n"
    before = {"a==1": {"0" * 64}, "b==1": {"3" * 64}}
    assert lock.merged(fresh, before, {"b==2": {"4" * 64}}) == (
        f"a==1 ; sys_platform == 'linux' \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}\n"
        f"b==2 \\\n    --hash=sha256:{'2' * 64} \\\n    --hash=sha256:{'4' * 64}\n"
    )


def lint_imports(folder: Path) -> str:
    """What the checker of layers says about the package in `folder`."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    return done.stdout


@pytest.mark.e2e
def test_a_planted_violation_breaks_its_contract(tmp_path: Path) -> None:
    """Each contract on imports holds for the code as it is, and breaks where an import against it is planted."""
    shutil.copytree(ROOT / "toolkit", tmp_path / "toolkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    contracts = [contract["name"] for contract in PYPROJECT["tool"]["importlinter"]["contracts"]]
    clean = lint_imports(tmp_path)
    assert [name for name in contracts if f"{name} KEPT" not in clean] == []
    planted = {"errors.py": "toolkit.spec", "capture/planted.py": "duckdb", "spec.py": "torch", "clock.py": "pynvml"}
    for path, module in planted.items():
        with (tmp_path / "toolkit" / path).open("a") as file:
            file.write(f"\nimport {module}\n")
    broken = lint_imports(tmp_path)
    assert [name for name in contracts if f"{name} BROKEN" not in broken] == []


def said_by_pytest(folder: Path, tests: str) -> str:
    """What pytest says, in CI and with several processes, of tests under our conftest.py."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\nquick_s = 0.9\nmarkers =\n e2e\n gpu\n traces\n")
    command = [sys.executable, "-m", "pytest", "-ra", "-n", "2"]
    environment = os.environ | {"CI": "true"}
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of SPREAD."""
    return said_by_pytest(tmp_path_factory.mktemp("spread"), SPREAD)


@pytest.mark.e2e
def test_a_skipped_end_to_end_test_fails_in_ci(spread: str) -> None:
    """With CI=true a skip of an end-to-end test is a failure, unless it lacks a GPU or traces; others stay."""
    assert "FAILED test_it.py::test_end_to_end - " in spread
    assert "no framework" in spread
    assert set(re.findall(r"SKIPPED \[1\] test_it.py:\d+: (.*)", spread)) == {"no time", "no GPU", "no traces"}


@pytest.mark.e2e
def test_what_a_fixture_makes_for_a_file_is_made_once(spread: str) -> None:
    """However many processes there are: its tests run in one; one that fails is named as pytest is called again."""
    assert re.findall(r"FAILED (test_it.py::test_shares\S*)", spread) == ["test_it.py::test_shares[3]"]


@pytest.mark.e2e
def test_a_quick_test_that_is_slow_is_named(spread: str) -> None:
    """By what it takes of the processor; pytest's own line comes last."""
    named = spread.partition("and not marked e2e")[2].splitlines()[1]
    assert named.endswith(" s test_it.py::test_slow")
    assert re.fullmatch("=+ 2 failed, 4 passed, 3 skipped in .* =+", spread.splitlines()[-1])


@pytest.mark.e2e
def test_a_process_that_dies_fails_one_test(tmp_path: Path) -> None:
    """The one that it died of, once; what it had left is run by others, and pytest comes to its end."""
    said = said_by_pytest(tmp_path, DYING)
    failed = re.findall(r"^FAILED (test_it.py::\S+)", said, re.MULTILINE)
    assert sorted(failed) == ["test_it.py::test_end_to_end[2]", "test_it.py::test_quick[3]"]
    assert re.fullmatch("=+ 2 failed, 12 passed in .* =+", said.splitlines()[-1])


def test_commit_hooks_need_no_other_repository() -> None:
    """Each commit hook is a tool of the project's own environment."""
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"^ *- repo: (.*)$", text, re.MULTILINE) == ["local"]
    assert all((ROOT / tool).exists() for tool in re.findall(r"entry: (\S+)", text))
