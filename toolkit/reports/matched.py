"""The sentence on whether a matched run is of the same workload as the others, for every report."""

from rich.text import Text

from toolkit.analyses.matched import Matched, current
from toolkit.capture import verdicts
from toolkit.spec import RunSpec

DATE = len("2026-01-01")


def sentence(spec: RunSpec, matched: Matched) -> Text:
    """By what is known now, which may be more than when the run was made."""
    matched = current(matched)
    command = verdicts.command(spec, spec.framework)
    if matched.reference:
        return Text("matched: PyTorch is the reference, which other frameworks are held to", "dim")
    if matched.agrees is None:
        return Text(f"matched, not verified: run `{command}`", "yellow")
    when = f"verified {(matched.verified or '')[:DATE]} for these versions"
    if matched.agrees:
        return Text(f"matched: agrees with PyTorch in float64 ({when})", "green")
    return Text(f"matched: DIFFERS from PyTorch ({when}): `{command}` names the tensors", "bold red")
