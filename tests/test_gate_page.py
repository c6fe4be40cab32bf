"""docs/gate.md: its commands run and print what it shows, its workflow is one, and its figures are the gate's."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.gate_power import CASES, shares
from tests.commands import REPO
from tests.made_runs import made_run
from tests.test_house import make
from tests.test_reading_a_trace import FENCED, run, said
from toolkit.analyses.gate import fails, parse
from toolkit.analyses.processes import METRICS
from toolkit.analyses.statistics import ratio_interval

pytestmark = pytest.mark.e2e

PAGE = REPO / "docs" / "gate.md"
COMPARE = "hwprof compare"
# So many that a share of one in two is three per cent off by chance in one of ten thousand.
EXPERIMENTS = 4_000


def blocks(language: str) -> list[str]:
    """The page's blocks in this language."""
    return [block for named, block in FENCED.findall(PAGE.read_text(encoding="utf-8")) if named == language]


def commands() -> Iterator[tuple[str, bool]]:
    """Every comparison of the page, and whether the page says that it fails."""
    for block in blocks("sh"):
        for line in block.splitlines():
            yield line.partition(" #")[0], "exits with 1" in line


def workflow() -> dict[str, Any]:
    """The page's GitHub Actions workflow."""
    (text,) = blocks("yaml")
    return dict(yaml.safe_load(text))


def scripts() -> list[str]:
    """What its steps run."""
    return [step["run"] for step in workflow()["jobs"]["gate"]["steps"] if "run" in step]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of the page's commands: head takes 8 % longer."""
    folder = tmp_path_factory.mktemp("gate")
    for side, ms in (("base", 20.0), ("head", 21.6)):
        for repeat in range(1, 4):
            made = made_run(folder / "runs" / f"{side}-{repeat}", ms + repeat * 0.06, seed=repeat)
            (folder / "runs" / side).mkdir(exist_ok=True)
            (folder / "runs" / side / made.name).symlink_to(made)
    return folder


@pytest.mark.parametrize(("command", "fails"), list(commands()), ids=lambda value: str(value)[-40:])
def test_a_command_of_the_page_runs(place: Path, command: str, fails: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """Each ends with 0, or with 1 where the page says so; the one that does prints what the page shows."""
    assert command.startswith(COMPARE)
    answer = run(place, command)
    assert answer.returncode == fails, answer.stderr
    if fails:
        (shown,) = blocks("text")
        assert said(shown.strip("\n")) in said(answer.stdout)


def test_the_workflow_s_gate_fails_for_a_slower_head(place: Path) -> None:
    """Its script as it stands, with the runs that its other step would have made."""
    gate = scripts()[1].replace("$PWD/head/.venv/toolkit/bin:", "")
    answer = run(place, f'export GITHUB_STEP_SUMMARY="$PWD/summary.md"\n{gate}')
    assert answer.returncode == 1, answer.stderr
    assert "**Gate: FAILED**" in (place / "summary.md").read_text(encoding="utf-8")


def test_the_workflow_measures_by_settings_that_there_are() -> None:
    """Its call of make is one that make understands, of a profile that is here."""
    (line,) = [line.strip() for line in scripts()[0].splitlines() if "make " in line]
    words = [word for word in shlex.split(line)[1:] if word not in {"-C", "$side"}]
    shown = make("-n", *words)
    assert shown.returncode == 0, shown.stderr
    assert "hwprof run --runs" in shown.stdout
    assert (REPO / "profiles" / "resnet18.toml").exists()
    assert workflow()["permissions"] == {"contents": "read"}


def test_every_metric_is_explained() -> None:
    """The page has a word on each, and on no other."""
    rows = re.findall(r"^\| (`\w+`.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(METRICS)


def stated() -> list[tuple[int, list[float]]]:
    """The page's table of power: processes a side, and how often the gate fails in each case."""
    rows = re.findall(r"^\| (\d+) \| ([\d.% |]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [(int(row), [float(cell.strip(" %")) / 100 for cell in cells.split("|")]) for row, cells in rows]


@pytest.mark.parametrize(("processes", "figures"), stated())
def test_the_gate_fails_as_often_as_the_page_says(processes: int, figures: list[float]) -> None:
    """Under a shared machine's noise, with other numbers than the table is of; a false alarm in under one of twenty."""
    found = list(shares(processes, EXPERIMENTS, seed=7))
    assert len(figures) == len(CASES)
    assert found == pytest.approx(figures, abs=0.04)
    assert max(share for share, (_, change) in zip(found, CASES, strict=True) if change in {0.0}) < 0.05
    assert found[1] < 0.05


def test_on_a_quiet_machine_five_processes_find_it() -> None:
    """As the page says, of a real slowdown of 5 % where processes scatter by 1 %."""
    draw = np.random.default_rng(3)
    sides = (np.exp(0.01 * draw.standard_normal((EXPERIMENTS, 5))) for _ in "ab")
    (condition,) = parse("step_time>2%")
    found = [fails(condition, ratio_interval(a.tolist(), (1.05 * b).tolist())) for a, b in zip(*sides, strict=True)]
    (stated,) = re.findall(r"five\s+find it in (\d+) % of gates", PAGE.read_text(encoding="utf-8"))
    assert sum(found) / EXPERIMENTS == pytest.approx(int(stated) / 100, abs=0.02)
