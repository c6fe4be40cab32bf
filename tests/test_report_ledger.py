"""The ledger's tables: which epochs a mean is of, what a step's share of `other` is, and why a step time is missing."""

from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.test_analyses import mark, store
from toolkit.analyses.summary import Summary, summarise
from toolkit.reports.html import ledger
from toolkit.reports.html.content import Told
from toolkit.reports.ledger import ledger_tables


def epoch(number: int, *, other_ms: int = 2, cut: bool = False) -> list[dict[str, Any]]:
    """Two steps of 10 ms, each with `other_ms` outside its phase, then 4 ms; the first step compiles."""
    start, first = number * 100, number * 10
    rows = [mark(first, None, "epoch", "train", start, start + 24, epoch=number, complete=not cut)]
    for step in (1, 2):
        at, id_ = start + 10 * (step - 1), first + 2 * step
        own = {"epoch": number, "step": step}
        rows.append(mark(id_, first, "step", "train", at, at + 10, **own))
        name = "compile" if step == 1 else "compute"
        rows.append(mark(id_ + 1, id_, "phase", name, at, at + 10 - other_ms, **own))
    return rows


def of(folder: Path, rows: list[dict[str, Any]]) -> Summary:
    """The summary of these marks."""
    with store(folder, marks=rows) as connection:
        return summarise(connection)


def shown(summary: Summary, pass_name: str) -> str:
    """The ledger of a pass in a terminal, on as few lines as there are words for."""
    console = Console(width=200, file=StringIO(), color_system=None)
    epochs = [each for each in summary.epochs if each.pass_name == pass_name]
    console.print(*ledger_tables(summary, pass_name, epochs))
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined] # the StringIO of above


def test_an_epoch_that_was_cut_off_is_in_no_mean_of_whole_ones(tmp_path: Path) -> None:
    """The title says which are; where no other is left after the first, it stands for itself."""
    two = [row | {"pass_name": "profile"} for row in (*epoch(1), *epoch(2, other_ms=9, cut=True))]
    summary = of(tmp_path, [*epoch(1), *epoch(2), *epoch(3), *epoch(4, other_ms=9, cut=True), *two])
    text = shown(summary, "time")
    assert "mean of 2 to 3" in text
    assert "compute 8.00 8.00 " in text
    assert "compute 8.00 1.00 " in shown(summary, "profile")


def test_a_step_s_share_of_other_is_that_of_all_steps_of_the_epochs_shown(tmp_path: Path) -> None:
    """Those that compiled or were profiled have their part in it, too; the first epoch stands apart."""
    text = shown(of(tmp_path, [*epoch(1, other_ms=9), *epoch(2), *epoch(3)]), "time")
    assert "other: 2,000.0 µs a step inside it" in text
    assert "and 2,000.0 µs a step between steps" in text


def test_a_step_time_that_is_missing_says_why(tmp_path: Path) -> None:
    """All steps of an own loop's short epoch may lie in the profiler's window, of which none needs to have compiled."""
    rows = [row | {"pass_name": "loop"} for row in epoch(1)]
    rows = [row | {"name": "compute"} if row["kind"] == "phase" else row for row in rows]
    window = {"pass_name": "loop", "epoch": None}
    rows += [mark(90 + at, None, "phase", "profiler", at, at + 1, **window) for at in (98, 140)]
    summary = of(tmp_path, rows)
    section = ledger.section(summary, Told(summary))
    assert section is not None
    assert {(row.steps, row.compiled_steps, row.profiled_steps) for row in summary.steps} == {(0, 0, 2)}
    assert "every step compiled or was profiled" in str(section.blocks)
