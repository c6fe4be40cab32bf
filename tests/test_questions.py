"""docs/questions.md: every question is asked again, and has the answer that the page shows."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import recorded
from tests.commands import REPO, in_shell
from tests.stores import TRACES_ABSENT, traces_cache

SHARED = REPO.parent / "shared" / "traces" / "kineto"
PAGE = REPO / "docs" / "questions.md"
QUESTION = re.compile(r"^## (.+?)\n\n```sh\n(.+?)\n```\n\n```text\n(.+?)\n```", re.MULTILINE | re.DOTALL)


class Question(NamedTuple):
    """What the page asks, how, and the answer that it shows."""

    asked: str
    command: str
    shown: str


QUESTIONS = [Question(*found) for found in QUESTION.findall(PAGE.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recorded runs in runs/, and the shared traces beside."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "runs").mkdir()
    (folder / "cache").symlink_to(traces_cache(tmp_path_factory))
    recorded.unpack(folder / "runs")
    for path in SHARED.glob("*.gz"):
        (folder / path.name).symlink_to(path)
    return folder


@pytest.mark.e2e
@pytest.mark.traces
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.asked)
def test_a_question_of_the_page_has_the_answer_that_it_shows(place: Path, question: Question) -> None:
    """To the character, in a terminal of 100 columns."""
    if not SHARED.exists() and ".pt.trace.json" in question.command:
        pytest.skip(TRACES_ABSENT)
    variables = {"COLUMNS": "100", "XDG_CACHE_HOME": str(place / "cache")}
    answer = in_shell(question.command, cwd=place, variables=variables)
    assert answer.returncode == 0, answer.stderr
    assert "\n".join(line.rstrip() for line in answer.stdout.splitlines()).strip("\n") == question.shown


def test_the_page_has_a_dozen_questions() -> None:
    """And no heading without one; the README leads to it."""
    assert len(QUESTIONS) == len(re.findall(r"^## ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) >= 12
    assert "docs/questions.md" in (REPO / "README.md").read_text(encoding="utf-8")
