"""The diagnosis: what is at stake, where to see it, what to do; and its reference page."""

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.analyses import run_findings, trace_findings
from toolkit.analyses.findings import Finding, Rule
from toolkit.errors import printable
from toolkit.reports.tables import percent

PAGE = """\
A finding names one cause of lost time or memory: what is at stake, where to see it and what to do. Findings are ranked
by the share that is at stake of the whole in which it was found, which `share_of` names: the one measure that times of
the unprofiled pass, times of the profiled window and bytes have in common. Under its threshold nothing is a finding.
summary.json and `hwprof analyze --json` hold them as `findings`.

Adding one: a function that yields what it finds, and its entry in `RULES` of `toolkit/analyses/run_findings.py` or
`trace_findings.py`.

On a processor nothing waits for the host, so a `.item()` in the loop costs a CPU run nothing and is no finding there:
`synchronising_calls`, like everything below that speaks of a device, rests on a GPU's trace.
""".splitlines()


def finding_sections(found: Sequence[Finding]) -> Iterable[RenderableType]:
    """The findings, numbered by rank; that there is none is told too."""
    if not found:
        yield Text("No findings: nothing is over its threshold (docs/findings.md).", "green")
        return
    yield Text("Findings, by the share at stake", "bold")
    lines = Table.grid(padding=(0, 1))
    for number, finding in enumerate(found, start=1):
        lines.add_row(f" {number}.", _words(finding))
    yield lines


def _words(finding: Finding) -> Text:
    title = Text.assemble(
        (printable(finding.title), "bold"), f" · {percent(finding.share)} of {printable(finding.share_of)}"
    )
    return title.append(f"\n{printable(finding.evidence)}\n→ {finding.remedy}", "dim")


def findings_page() -> list[str]:
    """Every finding, as docs/findings.md has it."""
    return [*PAGE, *_section("Of a run", run_findings.RULES), *_section("Of any trace", trace_findings.RULES)]


def _section(title: str, rules: Sequence[Rule]) -> list[str]:
    rows = [f"| `{rule.code}` | {rule.at_stake} | {rule.threshold} | {rule.remedy} |" for rule in rules]
    return ["", f"## {title}", "", "| finding | at stake | from | remedy |", "|---|---|---|---|", *rows]
