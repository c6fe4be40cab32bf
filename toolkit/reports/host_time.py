"""How the terminal reports show in which modules and steps operators spent the host's time."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.table import Table

from toolkit.analyses.host_time import HostPart, HostTime
from toolkit.reports.tables import bar, milliseconds, shown, table

SHOWN_PARTS = 8
# PyTorch numbers the modules of one class; the report sums them up by class.
MODULE = re.compile(r"(?:nn\.Module: )?(.*?)_\d+")


def host_time_tables(time: HostTime, *, by_class: bool) -> Iterable[Table]:
    """Of a trace; what is told of none of the time is left out."""
    modules = _by_class(time.modules) if by_class else time.modules
    several = {"class of module" if by_class else "compiled module": modules, "step": time.steps}
    for what, parts in several.items():
        if any(part.name is not None for part in parts) and len(parts) > 1:
            yield _table(what, parts, time.ns)


def _table(what: str, parts: Sequence[HostPart], whole_ns: int) -> Table:
    found = table(f"Host time of operators by {what}, all threads, ms", what, "time", "share of all")
    for part in parts[:SHOWN_PARTS]:
        name = "not told" if part.name is None else shown(part.name)
        found.add_row(name, milliseconds(part.ns), bar(part.share))
    if rest := parts[SHOWN_PARTS:]:
        ns = sum(part.ns for part in rest)
        found.add_row(f"{len(rest)} more", milliseconds(ns), bar(ns / whole_ns))
    found.add_section()
    found.add_row("all", milliseconds(whole_ns), "", style="bold")
    return found


def class_of(module: str | None) -> str | None:
    """The class of a module that PyTorch numbered; of what has no number, the name itself."""
    match = MODULE.fullmatch(module) if module else None
    return match[1] if match else module


def _by_class(modules: Sequence[HostPart]) -> list[HostPart]:
    """Modules of one class as one part, under its name and their number."""
    sums, counts = Counter[str | None](), Counter[str | None]()
    for part in modules:
        name = class_of(part.name)
        sums[name] += part.ns
        counts[name] += 1
    whole = sums.total()
    return [
        HostPart(name=None if name is None else f"{name} ×{counts[name]}", ns=ns, share=ns / whole)
        for name, ns in sums.most_common()
    ]
