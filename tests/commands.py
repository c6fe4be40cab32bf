"""The command line as tests use it: as a rule in this process: most are of what a command says."""

import contextlib
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from toolkit.commands import cli

REPO = Path(__file__).parents[1]
HWPROF = Path(sys.executable).with_name("hwprof")
# What these start writes to the terminal too, and signals are theirs: each is a process of its own, as for people.
STARTING = {"doctor", "image", "overhead", "run", "study", "sweep", "tensorboard", "verify"}
# Whatever a shell does more than to split a line into words.
SHELL_SIGNS = frozenset("|&;<>()$`\\*?[]#~=%\n")

Answer = subprocess.CompletedProcess[str]


def hwprof(*arguments: str | Path, cwd: Path = REPO, variables: Mapping[str, str] = {}) -> Answer:
    """What the command answers, with these variables beside the test's own."""
    run = in_own_process if str(arguments[0]) in STARTING else in_process
    return run(*arguments, cwd=cwd, variables=variables)


def in_own_process(*arguments: str | Path, cwd: Path = REPO, variables: Mapping[str, str] = {}) -> Answer:
    """The installed command."""
    # os.environ, for the C library's environment has what pytest's readline put there: COLUMNS=80.
    return subprocess.run(
        [HWPROF, *arguments], cwd=cwd, env=os.environ | variables, capture_output=True, text=True, check=False
    )  # fmt: skip


def in_process(*arguments: str | Path, cwd: Path = REPO, variables: Mapping[str, str] = {}) -> Answer:
    """What the console script does, its streams being pipes: of nothing that starts processes which write to them."""
    words = ["hwprof", *map(os.fspath, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in "ab")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd):
        patch.setattr(sys, "argv", words)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        for name, value in variables.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return subprocess.CompletedProcess(words, int(ended.value.code or 0), _text(out), _text(err))


def in_shell(line: str, *, cwd: Path, variables: Mapping[str, str]) -> Answer:
    """What a line of a page says in a shell that finds the command; a shell of its own where it asks for more."""
    words = shlex.split(line) if SHELL_SIGNS.isdisjoint(line) else []
    if words[:1] == ["hwprof"]:
        return hwprof(*words[1:], cwd=cwd, variables=variables)
    path = os.pathsep.join([str(HWPROF.parent), os.environ["PATH"]])
    environment = os.environ | variables | {"PATH": path}
    return subprocess.run(["sh", "-c", line], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def _text(stream: io.TextIOWrapper) -> str:
    """What was written to it."""
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()
