"""Environment and pins: what was asked, where it ran, on what, from which versions; and what could not be had."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.analyses.summary import Summary
from toolkit.capture import runs
from toolkit.errors import printable
from toolkit.own_spec import Spec
from toolkit.reports.html.content import Block, Cell, Facts, Section, Table, words
from toolkit.reports.tables import UNKNOWN
from toolkit.reports.where import where_it_ran


def section(folder: Path, spec: Spec, summary: Summary) -> Section:
    """Of one run."""
    return Section("environment", "Environment and pins", [*_blocks(folder, spec, summary)])


def _blocks(folder: Path, spec: Spec, summary: Summary) -> Iterator[Block]:
    facts = runs.facts_of(folder)
    if summary.runtime:
        where: list[tuple[str, Cell]] = [("ran in", line.plain.strip()) for line in where_it_ran(summary.runtime)]
        where.append(("why", printable(summary.runtime.why)))
        yield Facts(where)
    versions = facts.pop("versions", None)
    if isinstance(versions, dict):
        yield Table("Pinned versions that ran", ["package", "version"], [*_rows(versions)])
    if facts:
        yield Table("Facts of the machine and the framework", ["fact", "value"], [*_rows(facts)])
    yield Table("What was asked: settings", ["setting", "value"], [*_rows(asdict(spec))])
    if summary.unavailable:
        rows: list[list[Cell]] = [
            [
                f"{printable(one.source)} {words(one.metric)}",
                one.pass_name or UNKNOWN,
                printable(one.device or UNKNOWN),
                printable(one.reason) + ("" if one.since_ns is None else ", from a moment of the run on"),
            ]
            for one in summary.unavailable
        ]
        yield Table("What could not be had, and why", ["what", "pass", "device", "reason"], rows)


def _rows(facts: dict[str, Any], before: str = "") -> Iterator[list[Cell]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{before}{words(str(name))}: ")
        else:
            shown = UNKNOWN if value in (None, "") else value if isinstance(value, str) else json.dumps(value)
            yield [f"{before}{words(str(name))}", printable(str(shown))]
