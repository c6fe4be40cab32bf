"""What people and strangers hand to `hwprof analyze`: every answer is an analysis or one clear line."""

import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.commands import HWPROF, REPO, Answer, hwprof
from tests.test_analyze import HOSTILE, analyze, trace_of, written

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of these tests' own."""
    return tmp_path_factory.mktemp("cache")


def one_line(answer: Answer) -> str:
    """The only line of an error, with exit code 2 and nothing else printed."""
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert line.startswith("hwprof: ")
    return line


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.json", b"", "is empty"),
        ("empty.pt.trace.json.gz", b"", "is empty"),
        ("picture.png", PNG, "is no trace that hwprof knows. Known formats:"),
        ("trace.pt.trace.json.gz", gzip.compress(gzip.compress(b"[]")), "is gzip inside of gzip. Unpack it once"),
        ("trace.xz", b"\xfd7zXZ\x00" + bytes(50), "is compressed by xz. Unpack it"),
    ],
)
def test_files_that_are_no_traces_are_named(cache: Path, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """What is wrong with the file, in one line."""
    path = tmp_path / name
    path.write_bytes(content)
    line = one_line(analyze(cache, path))
    assert name in line
    assert said in line


def test_a_zip_is_named_as_such(cache: Path, tmp_path: Path) -> None:
    """An archive under a trace's name says what it is and what to do."""
    path = tmp_path / "trace.pt.trace.json.gz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("trace.json", "[]")
    assert "is a zip archive. Unpack it" in one_line(analyze(cache, path))


def test_what_is_no_regular_file_is_not_opened(cache: Path, tmp_path: Path) -> None:
    """A pipe without a writer and an endless device are refused at once, as are they inside a folder."""
    pipe = tmp_path / "trace.pt.trace.json"
    os.mkfifo(pipe)
    assert "is no regular file" in one_line(analyze(cache, pipe))
    assert "is no regular file" in one_line(analyze(cache, "/dev/zero"))
    (tmp_path / "zero.pt.trace.json").symlink_to("/dev/zero")
    assert "holds no trace" in one_line(analyze(cache, tmp_path))


def test_links_in_a_circle_end(cache: Path, tmp_path: Path) -> None:
    """A folder that links to itself, and a link to itself, are no endless tree; its traces are found once."""
    folder = tmp_path / "log"
    folder.mkdir()
    written(folder, "one", trace_of(("gemm", 10, 10)))
    (folder / "again").symlink_to(folder)
    (folder / "self.pt.trace.json").symlink_to(folder / "self.pt.trace.json")
    assert len(json.loads(analyze(cache, folder, "--json").stdout)["traces"]) == 1
    line = one_line(analyze(cache, folder / "self.pt.trace.json"))
    assert "Too many levels of symbolic links" in line


@pytest.mark.parametrize(
    "name", ["a\nb\x1b[31m.pt.trace.json", "\udcff\u202e.pt.trace.json", "[bold]'; --.pt.trace.json"]
)
def test_hostile_file_names_are_data(cache: Path, tmp_path: Path, name: str) -> None:
    """Line ends, terminal escapes, bytes that are no UTF-8, markup and SQL in a path change nothing but the name."""
    path = tmp_path / f"{name}.pt.trace.json"
    path.write_text("nothing")
    line = one_line(analyze(cache, path))
    assert line.isprintable()
    path.write_text(json.dumps(trace_of((HOSTILE, 10, 10))))
    assert len(json.loads(analyze(cache, path, "--json").stdout)["traces"]) == 1
    report = analyze(cache, path)
    assert report.returncode == 0, report.stderr
    assert "\x1b" not in report.stdout
    assert "\u202e" not in report.stdout
    if "[bold]" in name:
        assert "[bold]'; --" in report.stdout


@pytest.mark.e2e
def test_a_file_that_may_not_be_read_says_so(cache: Path, tmp_path: Path) -> None:
    """Given by name or found in a folder, it is named with the system's reason, and the others are analysed."""
    if os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists():
        pytest.skip("no file is locked to root, and setpriv, which gives root's rights up, is not installed")
    locked = written(tmp_path, "locked", trace_of(("gemm", 10, 10)))
    written(tmp_path, "open", trace_of(("gemm", 10, 10)))
    locked.chmod(0)
    answers = [as_nobody(cache, locked), as_nobody(cache, tmp_path, "--json")]
    for answer in answers:
        assert answer.returncode == 2
        assert "locked.pt.trace.json.gz cannot be read: Permission denied." in answer.stderr
        assert len(answer.stderr.splitlines()) == 1
    assert len(json.loads(answers[1].stdout)["traces"]) == 1


def as_nobody(cache: Path, *arguments: str | Path) -> Answer:
    """The command, run without the right to read everything."""
    if os.geteuid() != 0:
        return analyze(cache, *arguments)
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    command = [*without, HWPROF, "analyze", *arguments]
    return subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)


def test_one_bad_path_does_not_cost_the_others(cache: Path, tmp_path: Path) -> None:
    """The good trace's analysis, a line for each bad one, and an exit code that says so."""
    good = written(tmp_path, "good", trace_of(("gemm", 10, 10)))
    bad = tmp_path / "bad.pt.trace.json"
    bad.write_text("{")
    answer = analyze(cache, bad, good, tmp_path / "gone.json", "--json")
    assert answer.returncode == 2
    assert [trace["path"] for trace in json.loads(answer.stdout)["traces"]] == [str(good)]
    lines = answer.stderr.splitlines()
    assert len(lines) == 2
    assert any("bad.pt.trace.json cannot be read as JSON" in line for line in lines)
    assert any("There is no" in line for line in lines)


def test_a_path_that_is_given_twice_is_one_trace(cache: Path, tmp_path: Path) -> None:
    """By whatever name: the file, its folder, a way around."""
    path = written(tmp_path, "one", trace_of(("gemm", 10, 10)))
    answer = analyze(cache, path, path, tmp_path, tmp_path / ".." / tmp_path.name / path.name, "--json")
    assert [trace["path"] for trace in json.loads(answer.stdout)["traces"]] == [str(path)]


def test_salvage_is_said_in_both_forms(cache: Path, tmp_path: Path) -> None:
    """The part of a damaged trace is analysed on request only, and called untrusted with what was lost."""
    path = tmp_path / "cut.pt.trace.json"
    path.write_text(json.dumps(trace_of(("gemm", 10, 10), ("late", 30, 10)))[:-200])
    assert "--salvage keeps what came before." in one_line(analyze(cache, path))
    (trace,) = json.loads(analyze(cache, path, "--salvage", "--json").stdout)["traces"]
    assert not trace["trusted"]
    assert [warning for warning in trace["warnings"] if warning.startswith("salvaged")]
    report = " ".join(analyze(cache, path, "--salvage").stdout.split())
    assert "NOT TRUSTED" in report
    assert "events are kept up to byte" in report
    assert "--salvage keeps what came before." in one_line(analyze(cache, path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "hwprof: There is no command 'lst'. Did you mean 'list'? See: hwprof --help."),
        (["xyzzy"], "hwprof: There is no command 'xyzzy'. See: hwprof --help."),
        (["analyze"], "hwprof: Missing argument 'PATHS...'. See: hwprof analyze --help."),
        (["list", "--jsno"], "See: hwprof list --help."),
        (["run", "--set", "bacth=8"], "Did you mean 'batch'? `hwprof run --help` lists them all."),
    ],
)
def test_a_mistyped_command_line_is_one_line(words: list[str], said: str) -> None:
    """The nearest name and where all of them are listed, no page of usage."""
    assert said in one_line(hwprof(*words))


def large(folder: Path, kernels: int) -> Path:
    """A trace that takes some time to read."""
    pair = json.dumps(trace_of(("gemm", 111, 5))["traceEvents"])[1:-1].replace("111", "%d1").replace("110", "%d0")
    pair = pair.replace('"correlation": 0', '"correlation": %d')
    path = folder / "large.pt.trace.json.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write('{"traceEvents": [')
        file.writelines(pair.replace("%d", str(number)) + ", " for number in range(1, kernels))
        file.write('{"ph": "M"}]}')
    return path


@pytest.mark.e2e
def test_an_interrupt_leaves_nothing_and_says_so_in_one_line(tmp_path: Path) -> None:
    """Ctrl-C while a trace is read: exit code 130, one line, and no part of a store."""
    path, cache = large(tmp_path, 200_000), tmp_path / "cache"
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    command = [HWPROF, "analyze", path]
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as process:
        while process.poll() is None and not list(cache.rglob("*.partial")):
            pass
        process.send_signal(signal.SIGINT)
        out, said = process.communicate()
    # The line end is for the ^C that a terminal shows.
    assert (process.returncode, out, said) == (130, "", "\nhwprof: interrupted.\n")
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert list((cache / "hwprof" / "stores").iterdir()) == []


def on_terminal(command: list[Any], environment: dict[str, str], *, out: int | None) -> str:
    """What the command writes to the terminal that its stderr, and without `out` its stdout, is."""
    master, slave = pty.openpty()
    with subprocess.Popen(command, env=environment, stdout=out or slave, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                block = os.read(master, 1 << 16)
            except OSError:  # how Linux tells that nobody holds the other end any more
                break
            shown += block
        process.wait()
    os.close(master)
    return shown.decode()


IMPATIENT = "from toolkit.commands import cli, progress; progress.PATIENCE_S = 0; cli.main()"


@pytest.mark.e2e
@pytest.mark.parametrize("files", [1, 2])
def test_long_work_shows_its_progress_on_a_terminal_only(files: int, tmp_path: Path) -> None:
    """Bytes read of all and the time left, of each file and of all, on stderr; nothing of it beside piped --json."""
    paths = [written(tmp_path, name, trace_of((name, 10, 10))) for name in ("first", "second")[:files]]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", IMPATIENT, "analyze", *paths]
    with (tmp_path / "out.txt").open("w") as out:
        shown = on_terminal(command, environment, out=out.fileno())
        assert on_terminal([*command, "--json"], environment, out=out.fileno()) == ""
    assert "reading first.pt.trace.json.gz" in shown
    assert re.search(r"\d+/\d+ bytes", shown)
    assert "left" in shown
    assert ("all files" in shown) == (files > 1)
