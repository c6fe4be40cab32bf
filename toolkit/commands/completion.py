"""What the shell is offered for a run; `eval "$(_HWPROF_COMPLETE=bash_source hwprof)"` has bash ask."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from toolkit.capture.runs import SPEC


def runs(context: click.Context, _parameter: click.Parameter, beginning: str) -> list[CompletionItem]:
    """The runs of --runs that begin so, the newest first, then what stands for some of them; else files."""
    folder = Path(context.params.get("runs_folder") or "runs")
    names = sorted((path.parent.name for path in folder.glob(f"*/{SPEC}")), reverse=True)
    found = [CompletionItem(name) for name in (*names, "last") if name.startswith(beginning)]
    return found or [CompletionItem(beginning, type="file")]
