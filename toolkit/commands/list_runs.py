"""`hwprof list`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from toolkit.analyses import matched, processes
from toolkit.capture import runs, sweeps
from toolkit.commands.console import console
from toolkit.commands.sweeping import History
from toolkit.errors import HwprofError, complain, printable
from toolkit.own_spec import OWN, OwnSpec
from toolkit.reports import summary_json
from toolkit.spec import MODES

UNKNOWN: dict[str, Any] = {"step_ns": None, "profiler_cost": None, "trusted": None}


@click.command
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option("--force", is_flag=True, help="Show figures of matched runs that are not verified to be the same too.")
def command(runs_folder: Path, *, as_json: bool, force: bool) -> None:
    """List the runs, oldest first, those of each mode in a table of their own; then the sweeps.

    Where matched runs are of several frameworks, figures stand beside those that `hwprof verify` found the same.

    \b
    Examples:
      hwprof list
      hwprof list --runs elsewhere --json
    """
    folders = runs.folders(runs_folder)
    unshown = matched.doubtful(matched.compared(folders))
    withheld = set() if force else {each.folder for each in unshown}
    entries = [_entry(folder, withheld=folder in withheld) for folder in folders]
    if as_json:
        click.echo(json.dumps(entries, indent=1))
    elif not entries:
        click.echo(f"There are no runs in {runs_folder}. Make one: make profile FRAMEWORK=torch MODEL=resnet50.")
    else:
        for mode in dict.fromkeys((*MODES, OWN, None)):
            if mine := [entry for entry in entries if entry.get("mode") == mode]:
                console().print(_table(mode, mine))
        if found := sweeps.folders(runs_folder):
            console().print(_sweeps(found))
    if unshown:
        complain(("Shown by --force. " if force else "Figures left blank. ") + matched.not_the_same(unshown))


def _entry(folder: Path, *, withheld: bool) -> dict[str, Any]:
    try:
        spec, status = runs.spec_of(folder), runs.status_of(folder)["status"]
    except HwprofError as error:
        return {"run": folder.name, "status": "unreadable", "reason": str(error), **UNKNOWN}
    claim = matched.read(folder)
    return {
        "run": folder.name,
        "status": status,
        "framework": spec.framework,
        "model": spec.model,
        "mode": spec.mode,
        "same": claim and (claim.reference or claim.agrees),
        "task": spec.task,
        "loop": None if isinstance(spec, OwnSpec) else spec.loop,
        "batch": spec.batch,
        **_figures(folder / "summary.json", withheld=withheld),
    }


def _figures(path: Path, *, withheld: bool) -> dict[str, Any]:
    """The figures worth a column; null where a run has none, or where they are `withheld`."""
    summary = summary_json.read(path)
    if summary is None:
        return UNKNOWN
    # Not as long as the host takes for it, which does not wait for the device in every framework.
    step_ns = processes.step_ns(processes.unprofiled(summary))
    return {
        "step_ns": None if withheld else step_ns,
        "profiler_cost": summary.profiler_cost.ratio if summary.profiler_cost and not withheld else None,
        "trusted": summary.trusted,
    }


def _table(mode: str | None, entries: list[dict[str, Any]]) -> Table:
    table = Table(title=mode, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("run", "status", "step, ms", "profiler", "same", "trusted"):
        numeric = title in {"step, ms", "profiler"}
        table.add_column(title, no_wrap=title != "run", overflow="fold", justify="right" if numeric else "left")
    for entry in entries:
        step, cost = entry["step_ns"], entry["profiler_cost"]
        table.add_row(
            entry["run"], entry["status"], "–" if step is None else f"{step / 1e6:,.2f}",
            "–" if cost is None else f"×{cost:.2f}", _answer(entry.get("same")), _answer(entry["trusted"]),
        )  # fmt: skip
    return table


def _sweeps(folders: Sequence[Path]) -> Table:
    """Each sweep and how far it has come; `hwprof show` tells what it found."""
    table = Table(title="sweeps", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("sweep", "points done", "axes"):
        table.add_column(title, overflow="fold")
    for folder in folders:
        try:
            sweep = sweeps.read(folder)
            history = History(sweep)
        except HwprofError:
            table.add_row(folder.name, "unreadable", "–")
            continue
        done = len(sweep.points) - len(history.open())
        axes = " · ".join(f"{name}={','.join(values)}" for name, values in sweep.axes.items())
        table.add_row(folder.name, f"{done} of {len(sweep.points)}", escape(printable(axes)))
    return table


def _answer(value: bool | None) -> str:  # noqa: FBT001 - what it is a word for
    return {True: "yes", False: "NO", None: "–"}[value]
