"""`hwprof query`: someone's own SELECT over many stores, which can change nothing and read nothing else."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from tests.made_runs import made_run
from tests.test_analyze import trace_of, written
from toolkit.analyses import query, runner
from toolkit.commands.query import command
from toolkit.errors import HwprofError
from toolkit.ingest.store import text_of

KERNELS = "SELECT run, name, sum(dur_ns) AS ns FROM slices WHERE kind = 'kernel' GROUP BY ALL ORDER BY ns DESC"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def traces(tmp_path: Path) -> list[Path]:
    """Two traces, the kernel of the second with a name that means something to a terminal, to SQL and to rich."""
    names = {"first": ("gemm", 1, 5), "it's [red]": ("x'; DROP VIEW slices; --\x1b[31m[bold]", 1, 7)}
    return [written(tmp_path, file, trace_of(kernel)) for file, kernel in names.items()]


def ask(*words: Any) -> Result:
    """What the command says and writes."""
    return CliRunner().invoke(command, [*map(str, words)], catch_exceptions=False)


def test_many_traces_answer_together(traces: list[Path]) -> None:
    """Each row tells which of them it is from, by the path that was given."""
    assert json.loads(ask(*traces, KERNELS, "--json").stdout) == [
        {"run": text_of(traces[1]), "name": "x'; DROP VIEW slices; --\x1b[31m[bold]", "ns": 7000},
        {"run": text_of(traces[0]), "name": "gemm", "ns": 5000},
    ]


def test_csv_and_parquet_hold_what_json_does(traces: list[Path], tmp_path: Path) -> None:
    """The same rows, whole numbers as such."""
    rows = json.loads(ask(*traces, KERNELS, "--json").stdout)
    read = csv.DictReader(io.StringIO(ask(*traces, KERNELS, "--csv").stdout))
    assert [{**row, "ns": int(row["ns"])} for row in read] == rows
    ask(*traces, KERNELS, "--parquet", tmp_path / "answer.parquet")
    assert pq.read_table(tmp_path / "answer.parquet").to_pylist() == rows


def test_names_in_a_table_do_nothing(traces: list[Path]) -> None:
    """Neither markup nor control characters."""
    shown = ask(*traces, KERNELS).stdout
    assert "\x1b" not in shown
    assert "[bold]" in shown
    assert "2 rows" in shown


def test_a_long_answer_says_how_much_is_shown(traces: list[Path]) -> None:
    """The table ends, and says how to have the rest; the other forms hold it."""
    many = "SELECT range AS number, NULL AS nothing FROM range(1000)"
    assert "1,000 rows, of which the first 200 are shown" in " ".join(ask(traces[0], many).stdout.split())
    assert ask(traces[0], many, "--csv").stdout.count("\n") >= 1001


@pytest.mark.e2e
def test_every_analysis_is_a_table(traces: list[Path]) -> None:
    """Under its own name, with the columns that docs/analyses.md tells, and the run before them."""
    for name in query.analyses():
        described = json.loads(ask(traces[0], f"DESCRIBE {name}", "--json").stdout)
        assert [row["column_name"] for row in described] == ["run", *runner.documented_columns(name)]


HARMFUL = [
    "COPY (SELECT 1) TO 'written.csv'",
    "SELECT 1; DROP VIEW slices",
    "CREATE TABLE t AS SELECT 1",
    "INSERT INTO runs SELECT * FROM runs",
    "DELETE FROM runs",
    "SET enable_external_access = true",
    "ATTACH 'written.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "EXPORT DATABASE 'written'",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM read_csv('https://localhost/x.csv')",
    "FROM query('COPY (SELECT 1) TO ''written.csv''')",
    "SELECT getenv('HOME')",
    "",
    "SELEC 1",
    "SELECT nothing FROM slices",
    "SELECT * FROM nothing",
    "SELECT 'abc'::INTEGER",
]


@pytest.mark.parametrize("question", HARMFUL)
def test_a_question_changes_and_reads_nothing_else(
    question: str, traces: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clear line, and no file is made or told of."""
    secret = tmp_path / "secret.csv"
    secret.write_text("password\n")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(HwprofError) as caught:
        ask(traces[0], question.format(secret=secret, folder=tmp_path))
    assert str(caught.value).startswith("The question ")
    assert str(caught.value).isprintable()
    assert "password" not in str(caught.value)
    assert {path.name for path in set(tmp_path.iterdir()) - set(before)} <= {"cache"}


def test_a_question_that_takes_too_much_is_ended(traces: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the limits on analyses, with the variable that sets them."""
    monkeypatch.setenv("HWPROF_MAX_ANALYSIS_MEMORY", str(20 << 20))
    monkeypatch.setenv("HWPROF_MAX_ANALYSIS_DISK", str(1 << 20))
    with pytest.raises(HwprofError, match="HWPROF_MAX_ANALYSIS_MEMORY"):
        ask(traces[0], "SELECT md5(range::VARCHAR) AS text FROM range(1_000_000) ORDER BY text")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing", "SELECT 1"], "There are no runs in"),
        (["all", "SELECT 1"], "There are no runs in"),
        (["TRACE", "SELECT 1", "--csv", "--parquet", "x"], "An answer has one form."),
        (["TRACE", "SELECT [1] AS list", "--csv"], "CSV cannot hold"),
        (["TRACE", "SELECT 1", "--parquet", "gone/x.parquet"], "cannot be written"),
    ],
)
def test_bad_words_are_one_clear_line(words: list[str], said: str, traces: list[Path], tmp_path: Path) -> None:
    """The value and the remedy."""
    given = [str(traces[0]) if word == "TRACE" else word for word in words]
    with pytest.raises(HwprofError, match=said):
        ask(*given, "--runs", tmp_path / "none")


def test_a_run_that_was_read_is_not_read_anew(tmp_path: Path) -> None:
    """Neither where it recorded no trace: this one's records are gone, and its tables answer."""
    folder = made_run(tmp_path / "bare")
    (row,) = json.loads(ask(folder, "SELECT count(*) AS marks FROM marks", "--json").stdout)
    assert row["marks"] > 0
