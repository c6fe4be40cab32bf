"""Has the report of an own run made: by another process, for its libraries are no part of a training loop's."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from toolkit.capture.venvs import ROOT
from toolkit.errors import complain

TOOLKIT = ROOT / ".venv" / "toolkit" / "bin" / "python"
# What a report takes that a worker does not. Some may be there for the script's own sake, beside an hwprof without.
LIBRARIES = ("click", "duckdb", "isal", "jinja2", "msgspec", "numpy", "pyarrow", "rich")


def show(folder: Path) -> None:
    """Prints the report of a run that is closed; where none can be made here, how to."""
    command = f"hwprof show {folder}"
    python = _python()
    if python is None:
        complain(f"recorded in {folder}. Its report is made where hwprof is installed whole: `{command}`")
        return
    sys.stdout.flush()
    asked: list[str | Path] = [python, "-P", "-c", "from toolkit.commands.cli import main; main()", "show", folder]
    # Where standard output is no terminal it may be anything that Python writes to, such as a notebook's cell.
    captured = None if sys.stdout.isatty() else subprocess.PIPE
    done = subprocess.run(asked, env=_environment(python), cwd=folder, stdout=captured, text=True, check=False)
    if captured is not None:
        sys.stdout.write(done.stdout)
    if done.returncode:
        complain(f"the report was not made; what was recorded is in {folder}, and `{command}` tries again")
        return
    sys.stdout.write(f"\nRun: {folder}\n")


def _python() -> Path | None:
    """The interpreter that has the analysis side's libraries: this one, else that of the checkout's own environment."""
    if all(importlib.util.find_spec(library) is not None for library in LIBRARIES):
        return Path(sys.executable)
    return TOOLKIT if TOOLKIT.exists() else None


def _environment(python: Path) -> dict[str, str]:
    """The caller's; what it adds to Python's path holds for its own Python alone."""
    before = os.environ.get("PYTHONPATH") if python == Path(sys.executable) else None
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), before)))}
