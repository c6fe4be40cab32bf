"""Verdicts on matched workloads as tables for the terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.analyses.verification import Check, Verdict
from toolkit.clock import NS_PER_S
from toolkit.reports.tables import UNKNOWN, table
from toolkit.spec import FRAMEWORKS_SPELT

OVERVIEW = ("model", "framework", "verdict", "worst gradient error", "minutes")
QUANTITIES = {
    "inference": "inference: logits",
    "forward": "training: logits, loss",
    "gradients": "gradients",
    "statistics": "batch-norm statistics after a step",
    "weights_1": "weights after one step",
    "weights_10": "weights after ten steps",
    "inference_10": "inference after ten steps",
}


def report(verdicts: list[Verdict]) -> RenderableType:
    """All verdicts, and what they mean."""
    return Group(*(part for verdict in verdicts for part in _sections(verdict)), _legend())


def overview(verdicts: Sequence[Verdict]) -> RenderableType:
    """A line each: what was found, the worst gradient's error, and how long it took."""
    made = table("Matched models beside PyTorch in float64", *OVERVIEW)
    for each in verdicts:
        gradients = [check for check in each.checks if (check.quantity, check.precision) == ("gradients", "fp64")]
        worst = max(gradients, key=lambda check: (not check.finite, check.error or 0.0), default=None)
        said = Text("agrees", "green") if each.agrees else Text("DIFFERS", "bold red")
        made.add_row(each.model, FRAMEWORKS_SPELT[each.framework], said, _error(worst), _minutes(each.took_ns))
    made.note = "minutes: of all frameworks that were probed together with it"
    return made


def _sections(verdict: Verdict) -> tuple[RenderableType, ...]:
    name = FRAMEWORKS_SPELT[verdict.framework]
    said, style = ("agrees", "green") if verdict.agrees else ("DIFFERS", "bold red")
    took = f" (verified {verdict.verified}, in {_minutes(verdict.took_ns)} minutes)"
    head = Text.assemble(
        (f"{name} {verdict.model}: ", "bold"), (said, style), " with PyTorch in float64", (took, "dim")
    )
    return head, _equal(verdict), _checks(verdict)


def _equal(verdict: Verdict) -> Table:
    made = table("", "the same in both", "PyTorch", FRAMEWORKS_SPELT[verdict.framework], "")
    for each in verdict.equal:
        made.add_row(each.what, each.reference, each.here, _mark(each.agrees))
    return made


def _checks(verdict: Verdict) -> Table:
    made = table("", "within rounding", "precision", "error", "tolerated", "", "worst tensor")
    for check in verdict.checks:
        made.add_row(
            QUANTITIES[check.quantity],
            check.precision,
            _error(check),
            f"{check.tolerance:.1e}",
            _mark(check.agrees),
            Text(check.tensor or UNKNOWN),
        )
    return made


def _error(check: Check | None) -> str:
    if check is None or (check.finite and check.error is None):
        return UNKNOWN
    return "not finite" if check.error is None else f"{check.error:.1e}"


def _minutes(ns: int) -> str:
    return f"{ns / NS_PER_S / 60:.1f}"


def _mark(agrees: bool | None) -> Text:  # noqa: FBT001 - a verdict is what it draws
    return {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("?", "yellow")}[agrees]


def _legend() -> Text:
    return Text(
        "error: root mean square of the difference by that of the tensor, of weights by that of their change; the "
        "worst tensor's. tolerated: 30 times what PyTorch differs from itself in another memory layout (fp64) or in "
        "float32 (fp32), at least 1e-8 and 1e-5, and at most 0.5. ?: rounding alone may explain any difference here; "
        "–: not computed for that reason; not finite: NaN or infinity, in either framework.",
        "dim",
    )
