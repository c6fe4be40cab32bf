"""The sections of one run, verdict and trust first."""

from pathlib import Path
from typing import Any

from toolkit.analyses.allocator_memory import first_gpus
from toolkit.analyses.summary import Summary
from toolkit.analyses.timeline import timelines
from toolkit.ingest.store import connect
from toolkit.own_spec import Spec
from toolkit.reports.html import diagnosis, energy, environment, kernels, ledger, memory, stacks, timeline, verdict
from toolkit.reports.html.content import Section, Told


def sections(folder: Path, spec: Spec, status: dict[str, Any], summary: Summary) -> list[Section]:
    """Of a run folder with a store; those of which nothing is known are left out."""
    with connect(folder) as connection:
        over_time = timelines(connection, spec.passes)
        gpus = first_gpus(connection)
    told = Told(summary)
    found = [
        ledger.section(summary, told),
        timeline.section(over_time),
        kernels.section(summary, told),
        memory.section(summary, told, over_time, gpus),
        energy.section(summary, told),
        stacks.section(summary, told),
        environment.section(folder, spec, summary),
    ]
    present = [section for section in found if section]
    shown = {section.id for section in present}
    return [verdict.section(spec, status, summary, told), diagnosis.section(summary, told, shown), *present]
