"""What `hwprof doctor` prints: a line a finding, its remedy under it; and the same as JSON."""

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.capture.checks.machine import Finding, State

STYLES: dict[State, str] = {"ok": "green", "warning": "yellow", "problem": "bold red"}


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """`hwprof doctor --json`: whether `make profile` can run here, and every finding in order."""

    hwprof: str
    ready: bool
    findings: list[Finding]


def diagnosis(findings: list[Finding], *, version: str) -> Diagnosis:
    """The findings, and what follows from them: one problem is enough to stop `make profile`."""
    return Diagnosis(hwprof=version, ready=all(one.state != "problem" for one in findings), findings=findings)


def encode(found: Diagnosis) -> str:
    """JSON by the schema in docs/doctor.schema.json."""
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def report(found: Diagnosis) -> RenderableType:
    """The findings for people."""
    lines = Table.grid(padding=(0, 2, 0, 0))
    for width in (len("problem"), max(len(one.name) for one in found.findings)):
        lines.add_column(no_wrap=True, min_width=width)
    lines.add_column(overflow="fold")
    for one in found.findings:
        lines.add_row(Text(one.state, STYLES[one.state]), _printable(one.name), _printable(one.found))
        if one.remedy:
            lines.add_row("", "", Text(f"-> {_printable(one.remedy)}", STYLES[one.state]))
    return Group(lines, Text(""), _conclusion(found))


def _conclusion(found: Diagnosis) -> Text:
    counts = {state: sum(one.state == state for one in found.findings) for state in STYLES}
    if not found.ready:
        return Text(f"make profile cannot run here: {_counted(counts['problem'], 'problem')}.", STYLES["problem"])
    warnings = f", with {_counted(counts['warning'], 'warning')}" if counts["warning"] else ""
    return Text(f"make profile can run here{warnings}.", STYLES["ok"])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _printable(text: str) -> Text:
    """What others named (GPUs, folders, engines) may hold a terminal's commands."""
    return Text("".join(character if character.isprintable() else "?" for character in text))
