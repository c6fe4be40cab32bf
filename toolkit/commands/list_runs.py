"""`hwprof list`."""

import json
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from toolkit.capture import runs
from toolkit.commands.console import console
from toolkit.errors import HwprofError
from toolkit.reports import summary_json

UNKNOWN: dict[str, Any] = {"step_median_ns": None, "profiler_cost": None, "trusted": None}


@click.command
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(runs_folder: Path, *, as_json: bool) -> None:
    """List the runs, oldest first."""
    entries = [_entry(folder) for folder in runs.folders(runs_folder)]
    if as_json:
        click.echo(json.dumps(entries, indent=1))
    elif not entries:
        click.echo(f"There are no runs in {runs_folder}. Make one: make profile FRAMEWORK=torch MODEL=resnet50.")
    else:
        console().print(_table(entries))


def _entry(folder: Path) -> dict[str, Any]:
    try:
        spec, status = runs.spec_of(folder), runs.status_of(folder)["status"]
    except HwprofError as error:
        return {"run": folder.name, "status": "unreadable", "reason": str(error), **UNKNOWN}
    return {
        "run": folder.name,
        "status": status,
        "framework": spec.framework,
        "model": spec.model,
        "task": spec.task,
        "loop": spec.loop,
        "batch": spec.batch,
        **_figures(folder / "summary.json"),
    }


def _figures(path: Path) -> dict[str, Any]:
    """The figures worth a column; null where a run has none."""
    summary = summary_json.read(path)
    if summary is None:
        return UNKNOWN
    medians = [steps.median_ns for steps in summary.steps if steps.pass_name == "time" and steps.epoch is None]
    return {
        "step_median_ns": medians[0] if medians else None,
        "profiler_cost": summary.profiler_cost.ratio if summary.profiler_cost else None,
        "trusted": summary.trusted,
    }


def _table(entries: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("run", "status", "step, ms", "profiler", "trusted"):
        numeric = title in {"step, ms", "profiler"}
        table.add_column(title, no_wrap=title != "run", overflow="fold", justify="right" if numeric else "left")
    for entry in entries:
        step, cost = entry["step_median_ns"], entry["profiler_cost"]
        table.add_row(
            entry["run"], entry["status"], "–" if step is None else f"{step / 1e6:,.2f}",
            "–" if cost is None else f"×{cost:.2f}", {True: "yes", False: "NO", None: "–"}[entry["trusted"]],
        )  # fmt: skip
    return table
