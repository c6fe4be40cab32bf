"""Findings: what is at stake, evidence, remedy, and where on the page each shows."""

from toolkit.analyses.summary import Summary
from toolkit.errors import printable
from toolkit.reports.html.content import Figure, Item, Items, Note, Section, Told

LEDGER = ("ledger", "Epoch ledger")
DEVICES = ("devices", "Devices and kernels")
TIMELINE = ("timeline", "Timeline")
MEMORY = ("memory", "Memory")
# Where each kind of finding shows; what is not here shows on the timeline.
SHOWS = {
    "input_bound": (LEDGER, DEVICES),
    "transfer": (LEDGER,),
    "validation": (LEDGER,),
    "callbacks": (LEDGER,),
    "checkpoint": (LEDGER,),
    "first_epoch_compile": (LEDGER, TIMELINE),
    "recompilation": (LEDGER, TIMELINE),
    "memory_growth": (MEMORY, TIMELINE),
    "reserved_unused": (MEMORY,),
    "throttling": (("energy", "Power and energy"), TIMELINE),
    "synchronising_calls": (DEVICES,),
    "launch_bound": (DEVICES,),
    "host_elsewhere": (DEVICES,),
    "small_kernels": (DEVICES,),
    "exposed_communication": (DEVICES,),
    "exposed_copies": (DEVICES,),
}


def section(summary: Summary, told: Told, present: set[str]) -> Section:
    """All findings by rank; links go to sections that are `present`."""
    if not summary.findings:
        return Section("findings", "Findings", [Note("No findings: nothing is over its threshold.", "good")])
    items = [
        Item(
            title=printable(finding.title),
            stakes=_stakes(place, told),
            share_of=printable(finding.share_of),
            evidence=printable(finding.evidence),
            remedy=printable(finding.remedy),
            shows=[each for each in SHOWS.get(finding.code, (TIMELINE,)) if each[0] in present],
        )
        for place, finding in enumerate(summary.findings)
    ]
    return Section("findings", "Findings", [Items(items)])


def _stakes(place: int, told: Told) -> list[tuple[str, Figure]]:
    found = [("at stake, ms", told("ms", "findings", place, "at_stake_ns"))]
    found += [("at stake, MiB", told("mib", "findings", place, "at_stake_bytes"))]
    return [
        *(each for each in found if each[1].value is not None),
        ("share", told("share", "findings", place, "share")),
    ]
