"""The command line before any worker starts: help, and one clear line for every bad input."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import HWPROF, REPO, hwprof, in_own_process, in_process
from toolkit.commands.cli import COMMANDS
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
def test_bad_input_is_one_clear_line(settings: list[str], said: str, tmp_path: Path) -> None:
    """What is wrong, naming the value, then the remedy; exit code 2; and no run folder."""
    if settings == ["device=cuda"] and Path("/dev/nvidiactl").exists():
        pytest.skip("device=cuda is no bad input here: this machine has a GPU")
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
