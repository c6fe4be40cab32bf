"""What a finding is, and how those of one subject are ranked: one function and one entry in a tuple of rules each.

Times of a run's passes and of its profiled window, and bytes, have one measure in common: the share of the whole in
which they were found. By that they are ranked.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from msgspec import Struct

# From this share of the whole on, a part of it is a finding unless its rule says otherwise: no single remedy wins more
# than what is at stake, and less than this is within reach of a noisy machine.
NOTABLE = 0.1
# What is compiled after a run has begun comes back with each change, so less of it matters: every comparison's margin.
RECOMPILED = 0.03
# Allocators keep what was freed for the next step, so some of it is in use again at once.
UNUSED, UNUSED_BYTES = 0.5, 1 << 30
LONGEST_NAME = 80


class Finding(Struct, frozen=True, kw_only=True):
    """One cause of lost time, or memory: how much is at stake, of what, where to see it and what to do.

    Either `at_stake_ns` or `at_stake_bytes` is told. `share` is what that is of `share_of`.
    """

    code: str
    title: str
    at_stake_ns: int | None
    at_stake_bytes: int | None
    share: float
    share_of: str
    evidence: str
    remedy: str


class Stake(NamedTuple):
    """What a rule found: nanoseconds or bytes, of how many of the same, and where."""

    title: str
    evidence: str
    part: int
    whole: int
    of: str
    counts_bytes: bool = False


class Rule(NamedTuple):
    """One kind of finding: its function, from whose answers those under the threshold are already gone, and its words.

    `at_stake` and `threshold` are for docs/findings.md, which is written from the rules.
    """

    code: str
    find: Callable[[Any], Iterator[Stake]]
    at_stake: str
    threshold: str
    remedy: str


def findings(rules: Iterable[Rule], subject: Any) -> list[Finding]:
    """Everything that these rules find in a subject, the largest share first."""
    return ranked(_finding(rule, stake) for rule in rules for stake in rule.find(subject))


def ranked(found: Iterable[Finding]) -> list[Finding]:
    """The largest share first."""
    return sorted(found, key=lambda finding: (-finding.share, finding.code))


def _finding(rule: Rule, stake: Stake) -> Finding:
    return Finding(
        code=rule.code,
        title=stake.title,
        at_stake_ns=None if stake.counts_bytes else stake.part,
        at_stake_bytes=stake.part if stake.counts_bytes else None,
        share=min(stake.part / stake.whole, 1.0),
        share_of=stake.of,
        evidence=stake.evidence,
        remedy=rule.remedy,
    )


def unused(device: str | None, reserved: int, in_use: int, evidence: str) -> Iterator[Stake]:
    """What an allocator reserved, at its most, and did not have in use at its most; where that is much."""
    if reserved - in_use >= max(UNUSED_BYTES, UNUSED * reserved):
        yield Stake(
            title=f"Reserved but unused: {mib(reserved - in_use)} on device {device}",
            evidence=f"{mib(reserved)} reserved, at most {mib(in_use)} in use, {evidence}",
            part=reserved - in_use,
            whole=reserved,
            of="what was reserved",
            counts_bytes=True,
        )


def cropped(name: str) -> str:
    """A name of a trace's in a sentence: a kernel's can fill a page."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def counted(count: int, what: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def ms(ns: float) -> str:
    """Nanoseconds for a sentence."""
    return f"{ns / 1e6:,.2f} ms"


def mib(count: float) -> str:
    """Bytes for a sentence."""
    return f"{count / 2**20:,.1f} MiB"
