"""docs/reading-a-trace.md and the README on traces: their commands run, and print what the page shows of them."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commands import REPO, Answer, in_shell
from tests.stores import SHARED, needs_traces, traces_cache

PAGE = REPO / "docs" / "reading-a-trace.md"
README = REPO / "README.md"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Where importers and analyses name a warning.
CODE = re.compile(
    r'Finding\(\s*"([a-z_]+)"|"code": "([a-z_]+)"|CODE = "([a-z_]+)"|yield "([a-z_]+)",|^    "([a-z_]+)": "\{\}'
    r"|'([a-z_]+)' AS code|\(\"([a-z_]+)\", (?:1,|entry)",
    re.MULTILINE,
)
# In an excerpt, for lines that are left out.
OMITTED = "…"
# Ends with an error, as the page says: the others are analysed all the same.
FAILING = "hwprof analyze cut.pt.trace.json.gz"

pytestmark = needs_traces


class Example(NamedTuple):
    """A command of a page, and the parts of its output that the page shows, each of lines that follow each other."""

    command: str
    shown: list[str]


def examples(page: Path) -> Iterator[Example]:
    """Every `hwprof analyze` of a page's shell blocks, with the text blocks behind it."""
    found: list[Example] = []
    for language, block in FENCED.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            lines = (line.partition(" #")[0].strip() for line in block.splitlines())
            found += [Example(line, []) for line in lines if line.startswith("hwprof analyze")]
        elif language == "text":
            found[-1].shown.extend(part.strip("\n") for part in re.split(rf"^{OMITTED}\n", block, flags=re.MULTILINE))
    return iter(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the traces of the pages' commands."""
    folder = tmp_path_factory.mktemp("traces")
    (folder / "cache").symlink_to(traces_cache(tmp_path_factory))
    for path in SHARED.glob("*/*"):
        (folder / path.name).symlink_to(path)
    trace = SHARED / "kineto" / "mi300_bert_small.pt.trace.json.gz"
    (folder / "trace.pt.trace.json.gz").symlink_to(trace)
    (folder / "ranks").mkdir()
    for name in ("a100_nccl_rank0", "v100_nccl_memory_large"):
        (folder / "ranks" / f"{name}.pt.trace.json.gz").symlink_to(SHARED / "kineto" / f"{name}.pt.trace.json.gz")
    whole = gzip.decompress(trace.read_bytes())
    (folder / "cut.pt.trace.json.gz").write_bytes(gzip.compress(whole[: len(whole) // 2], mtime=0))
    return folder


def run(place: Path, command: str) -> Answer:
    """The command as a person gives it to a shell whose terminal is 80 columns wide."""
    return in_shell(command, cwd=place, variables={"COLUMNS": "80", "XDG_CACHE_HOME": str(place / "cache")})


def said(text: str) -> str:
    """Without the spaces that fill lines up."""
    return "\n".join(line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("example", [*examples(PAGE), *examples(README)], ids=lambda example: example.command)
def test_a_command_of_the_pages_runs_and_prints_what_they_show(place: Path, example: Example) -> None:
    """Each command succeeds, or fails where the page says so, and each excerpt is its output, to the character."""
    answer = run(place, example.command)
    assert (answer.returncode != 0) == (example.command == FAILING), answer.stderr
    printed = said(answer.stdout + answer.stderr)
    for part in example.shown:
        assert said(part) in printed


def test_the_page_shows_something() -> None:
    """The page has commands with excerpts, and the README leads to it."""
    assert sum(bool(example.shown) for example in examples(PAGE)) >= 5
    assert "docs/reading-a-trace.md" in README.read_text(encoding="utf-8")


def test_every_warning_is_explained() -> None:
    """The page has a word on each that an importer or an analysis of a trace can give."""
    sources = [*REPO.glob("toolkit/ingest/*.py"), *REPO.glob("toolkit/analyses/*.*")]
    texts = (source.read_text(encoding="utf-8") for source in sources if source.is_file())
    codes = {code for text in texts for found in CODE.findall(text) for code in found if code}
    explained = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert {"dropped_events", "unclosed_frames", "salvaged", "empty_window", "no_alignment", "no_history"} <= codes
    assert codes - explained == set()
