"""How the terminal reports show one device."""

from collections.abc import Iterable

from rich.table import Table

from toolkit.analyses.device_time import DeviceFigures
from toolkit.reports.tables import bar, milliseconds, share, table


def device_tables(device: DeviceFigures) -> Iterable[Table]:
    """Where its span went, and what kept it busy."""
    spans = table(f"Device {device.device}: {device.kernels:,} kernels, ms", "part", "time", "share of span")
    parts = {
        "compute": device.compute_ns, "exposed communication": device.exposed_comm_ns,
        "exposed memory traffic": device.exposed_memory_ns, "idle": device.idle_ns,
    }  # fmt: skip
    for part, ns in parts.items():
        spans.add_row(part, milliseconds(ns), bar(share(ns, device.span_ns)))
    spans.add_section()
    spans.add_row("span", milliseconds(device.span_ns), "", style="bold")
    yield spans
    busy = table(f"Device {device.device}: busy by category, ms", "category", "time", "share of all")
    whole = sum(device.categories.values())
    for category, ns in device.categories.items():
        busy.add_row(category, milliseconds(ns), bar(share(ns, whole)))
    yield busy
