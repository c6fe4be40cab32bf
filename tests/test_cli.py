"""The command line before any worker starts: help, and one clear line for every bad input."""

import contextlib
import errno
import fcntl
import io
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from unittest.mock import Mock

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.commands import HWPROF, REPO, hwprof, in_own_process, in_process
from tests.made_runs import made_run
from toolkit.commands import progress
from toolkit.commands.cli import COMMANDS, cli
from toolkit.errors import BAD_INPUT, FAILED, INTERRUPTED
from toolkit.spec import FRAMEWORKS


def test_help_lists_every_command() -> None:
    """`hwprof --help` shows the commands with a line each, examples and exit codes."""
    shown = in_own_process("--help")
    assert shown.returncode == 0
    for word in (*COMMANDS, "Exit codes"):
        assert word in shown.stdout


def test_help_imports_no_analysis_library() -> None:
    """`hwprof --help` stays quick because commands are imported on use."""
    code = (
        "import sys\nfrom toolkit.commands import cli\ntry:\n cli.cli.main(['--help'])\nexcept SystemExit:\n pass\n"
        "assert not {'duckdb', 'pyarrow', 'rich', 'msgspec', 'numpy', 'tensorboard'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["q"], ["plain,query"]),
        (["export", "last", "--to", "pa"], ["plain,parquet"]),
        (["show", "2026"], ["plain,20260102-tf", "plain,20260101-torch"]),
        (["report", "--runs", "elsewhere", "20"], ["file,20"]),
        (["query", "trace.pt"], ["file,trace.pt"]),
    ],
)
def test_a_shell_completes_commands_choices_and_runs(words: list[str], offered: list[str], tmp_path: Path) -> None:
    """The newest run first, and files where no run begins so."""
    for name in ("20260101-torch", "20260102-tf"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "spec.json").touch()
    asked = {
        "_HWPROF_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["hwprof", *words]),
        "COMP_CWORD": str(len(words)),
    }
    answer = subprocess.run([HWPROF], cwd=tmp_path, env=os.environ | asked, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == offered


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    """Each command has help of its own."""
    shown = in_process(name, "--help")
    assert shown.returncode == 0
    assert "Usage: hwprof" in shown.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["model=resnet5O"], "Unknown model 'resnet5O'. Did you mean 'resnet50'?"),
        (["framework=troch"], "Unknown framework 'troch'. Did you mean 'torch'?"),
        (["bacth=8"], "Unknown setting 'bacth'. Did you mean 'batch'?"),
        (["device=gpu"], "Unknown device 'gpu'."),
        (["batch=0"], "batch=0 is out of range. batch is at least 1"),
        (["batch=many"], "batch='many' is not a whole number."),
        (["learning_rate=nan"], "learning_rate=nan is out of range."),
        (["batch"], "'batch' is no setting. Write name=value"),
        (
            ["compile=xla"],
            "PyTorch has no compile mode 'xla'. Use compile=auto or eager or inductor, or framework=tf or jax.",
        ),
        (["loop=fit"], "PyTorch has no loop 'fit'. Use loop=custom, or framework=tf or jax."),
        (["steps=0"], "Synthetic data has no end, so steps=0 never ends. Give steps=N."),
        (["dataset=cifar10", "image_size=64"], "CIFAR-10 has 10 classes of 32×32 images"),
        (["dataset=cifar10", "data_dir=/nowhere"], "There is no dataset folder '/nowhere'."),
        (
            ["framework=tf", "mode=as-shipped", "model=resnet18"],
            "keras.applications has no resnet18. Use mode=matched or framework=torch, or one of its own",
        ),
        (["passes=time,time"], "passes=time,time says one thing twice."),
        (["infer_batches=2,2"], "infer_batches=2,2 says one thing twice."),
        (["task=infer", "infer_repeats=0"], "task=infer without requests does nothing."),
        *(
            ([f"framework={framework}", "precision=tf32", "device=cpu"], "precision=tf32, but a CPU has no TF32. Use")
            for framework in FRAMEWORKS
        ),
        (["device=cuda"], "device=cuda, but there is no GPU"),
    ],
)
def test_bad_input_is_one_clear_line(
    settings: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """What is wrong, naming the value, then the remedy; exit code 2; and no run folder. GPUs are hidden."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    answer = in_process("run", "--runs", tmp_path / "runs", *(f"--set={setting}" for setting in settings))
    assert answer.returncode == 2
    assert said in answer.stderr.splitlines()[-1]
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("bacth = 8", "Unknown key in"),
        ("batch = '8'", "batch = '8' is no int."),
        ("batch = ", "Cannot read the profile"),
    ],
)
def test_a_bad_profile_is_one_clear_line(toml: str, said: str, tmp_path: Path) -> None:
    """A profile of one's own is checked like the settings."""
    profile = tmp_path / "mine.toml"
    profile.write_text(toml)
    answer = in_process("run", profile, "--runs", tmp_path / "runs")
    assert answer.returncode == 2
    assert said in answer.stderr


def test_a_run_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    """A file where the runs' folder should be is named, before anything long starts."""
    (tmp_path / "runs").write_text("")
    answer = in_process("run", "--runs", tmp_path / "runs", "--set=model=cifar_cnn")
    assert answer.returncode == 2
    assert f"{tmp_path / 'runs'}" in answer.stderr
    assert "Give another with --runs." in answer.stderr


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """An empty folder of runs says how to make one."""
    answer = hwprof("show", "last", "--runs", tmp_path)
    assert answer.returncode == 2
    assert "There are no runs" in answer.stderr
    assert "make profile" in answer.stderr


def test_a_name_too_long_is_one_clear_line(tmp_path: Path) -> None:
    """Older Pythons raise it where they are asked whether there is such a path."""
    answer = in_process("show", "x" * 300, "--runs", tmp_path)
    assert answer.returncode in {BAD_INPUT, FAILED}
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "there"), "there: Permission denied."),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device."),
        (OSError("odd"), "odd."),
    ],
    ids=["of a path", "of no path", "in words alone"],
)
def test_what_the_system_refuses_is_one_clear_line(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """With the path where there is one, and a remedy; a sound request that did not succeed."""
    monkeypatch.setattr(cli, "main", Mock(side_effect=error))
    answer = in_process("list")
    assert answer.returncode == FAILED
    assert answer.stderr == f"hwprof: {said} See that it is there, and that you may use it.\n"


ENDED = """
import signal, sys
from toolkit.commands import cli
signal.signal(signal.SIGHUP, getattr(signal, sys.argv[2]))
cli.cli.main = lambda **_: signal.raise_signal(int(sys.argv[1]))
cli.main()
"""


@pytest.mark.parametrize(
    ("number", "hangups", "code"),
    [
        (signal.SIGTERM, "SIG_DFL", INTERRUPTED),
        (signal.SIGHUP, "SIG_DFL", INTERRUPTED),
        (signal.SIGHUP, "SIG_IGN", 0),
    ],
    ids=["a kill", "a closed terminal", "under nohup"],
)
def test_a_signal_ends_any_command_as_ctrl_c_does(number: signal.Signals, hangups: str, code: int) -> None:
    """With its clean-up and its line; a hang-up under nohup does nothing."""
    command = [sys.executable, "-c", ENDED, str(int(number)), hangups]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "hwprof: interrupted.\n" if code else "")


def examples_of(text: str) -> list[str]:
    """The commands in the examples of a help text, each a line."""
    section = text.partition("\n  Examples:\n")[2].partition("\n\n")[0]
    return [line.strip() for line in section.splitlines()]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_help_has_examples_that_the_command_takes(name: str) -> None:
    """At every level; each example stands on a line of its own, and its options and choices are there."""
    examples = examples_of(CliRunner().invoke(cli, [*filter(None, [name]), "--help"]).output)
    assert len(examples) >= 2
    for example in examples:
        called, *words = shlex.split(example)[1:]
        assert example.startswith(f"hwprof {name or called}")
        found = cli.get_command(click.Context(cli), called)
        assert found
        found.make_context(called, words)


# What these print is a path, or the address of a server.
WITHOUT_FIGURES = {"report", "export", "tensorboard", "image"}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in WITHOUT_FIGURES])
def test_whatever_prints_figures_prints_json(name: str) -> None:
    """Each command that prints figures has --json."""
    found = cli.get_command(click.Context(cli), name)
    assert found
    assert "--json" in [option for parameter in found.params for option in parameter.opts]


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one."""
    return made_run(tmp_path_factory.mktemp("shown") / "runs" / "a-run", 10.0, kernels={"gemm": 1_000_000}).parent


COMMANDS_ON_RUNS = (
    ["list"],
    ["show", "last"],
    ["query", "last", "FROM epoch_ledger"],
    ["analyze", "runs/a-run"],
    ["compare", "a-run", "b-run"],
)


@pytest.mark.parametrize("words", COMMANDS_ON_RUNS, ids=lambda words: str(words[0]))
@pytest.mark.e2e
def test_reports_are_as_wide_as_the_terminal_and_coloured_as_it_wants(words: list[str], last: Path) -> None:
    """Within 60 columns; with NO_COLOR set no colour, which is there without; none in a pipe."""
    if not (last / "b-run").exists():
        made_run(last / "b-run", 12.0, kernels={"gemm": 1_000_000})
    narrow, plain = (on_a_terminal(words, last.parent, columns=60, more=more) for more in ({}, {"NO_COLOR": "1"}))
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", narrow).splitlines())) <= 60
    assert not re.search(r"\x1b\[[0-9;]*(3|4|9)[0-7]", plain)
    piped = subprocess.run([HWPROF, *words], cwd=last.parent, capture_output=True, text=True, check=True)
    assert "\x1b" not in piped.stdout
    assert max(map(len, piped.stdout.splitlines())) <= 120


def on_a_terminal(words: list[str], folder: Path, *, columns: int, more: dict[str, str]) -> str:
    """What the command shows on a terminal so wide."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    hidden = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"TERM": "xterm-256color", **more}
    with subprocess.Popen(
        [HWPROF, *words], cwd=folder, env=environment, stdout=follower, stderr=subprocess.PIPE
    ) as done:
        os.close(follower)
        shown = b""
        # The end of what a terminal shows is an error of input on Linux.
        with contextlib.suppress(OSError):
            while part := os.read(leader, 65536):
                shown += part
    os.close(leader)
    assert done.returncode == 0
    return shown.decode()


def test_exit_codes_are_documented_where_people_look() -> None:
    """In the help and in the documents, as the code has them."""
    for text in (
        hwprof("--help").stdout,
        *((REPO / page).read_text() for page in ("README.md", "docs/troubleshooting.md")),
    ):
        told = re.search(
            r"Exit codes.{0,40}?: 0 success, (\d+) a run failed, (\d+) bad input, (\d+) interrupted", text, re.S
        )
        assert told
        assert [int(code) for code in told.groups()] == [FAILED, BAD_INPUT, INTERRUPTED]


class Screen(io.StringIO):
    """A terminal that says when a text has been shown on it."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self.awaited, self.seen = awaited, threading.Event()

    def isatty(self) -> bool:
        """It is one."""
        return True

    def write(self, text: str) -> int:
        """Shows it."""
        if self.awaited in text:
            self.seen.set()
        return super().write(text)


def test_what_takes_long_says_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it has taken a while; what is done within it is a part of it, and the terminal is left as it was."""
    monkeypatch.setattr(progress, "PATIENCE_S", 0)
    screen = Screen("Reading [a] run")
    terminal = Console(file=screen, force_terminal=True, width=80)
    with progress.waiting("Reading [a] run", terminal):
        assert screen.seen.wait(30)
        with progress.waiting("within", terminal):
            pass
    assert "within" not in screen.getvalue()
    assert screen.getvalue().endswith(("\x1b[2K", "\x1b[?25h", "\x1b[1A\x1b[2K"))


def test_what_is_short_says_nothing() -> None:
    """Nor does anything in a pipe."""
    screen = Screen("")
    with progress.waiting("Reading", Console(file=screen, force_terminal=True)):
        pass
    with progress.waiting("Reading", Console(file=screen, force_terminal=False)):
        pass
    assert "Reading" not in screen.getvalue()
