"""How the terminal reports show devices: where their time went, and what they worked on."""

import re
from collections.abc import Iterable, Sequence

from rich.columns import Columns
from rich.console import RenderableType
from rich.table import Table

from toolkit.analyses.traces import Kernel, TraceDevice
from toolkit.reports.tables import Cropped, bar, milliseconds, percent, share, shown, table

SHOWN_KERNELS = 8
# What stands behind a kernel's name and its template: `(float*, int)`.
ARGUMENTS = re.compile(r"(?<=[\w>])\([^()]*\)$")


def device_sections(devices: Sequence[TraceDevice]) -> Iterable[RenderableType]:
    """Where the span went, and what the busiest worked on: side by side where there is room."""
    if devices:
        busiest = max(devices, key=lambda device: device.busy_ns)
        yield Columns([_span(busiest) if len(devices) == 1 else _rows(devices), _work(busiest)], padding=(0, 4))


def kernel_tables(device: str, kernels: Sequence[Kernel], uncategorised: Sequence[Kernel]) -> Iterable[Table]:
    """The longest kernels of one device by name, and those that no rule knows and that are not among them."""
    longest = [kernel for kernel in kernels if kernel.device == device][:SHOWN_KERNELS]
    further = [kernel for kernel in uncategorised if kernel.device == device and kernel not in longest]
    for what, own in {"longest kernels": longest, "further kernels of category other": further}.items():
        if own:
            found = table(f"Device {device}: {what}, ms", "kernel", "category", "kernels", "time")
            for kernel in own[:SHOWN_KERNELS]:
                name = Cropped(ARGUMENTS.sub("", kernel.name.removeprefix("void ")))
                found.add_row(name, kernel.category, f"{kernel.kernels:,}", milliseconds(kernel.ns))
            yield found


def _span(device: TraceDevice) -> Table:
    counts = f"kernels {device.kernels:,}, copies {device.memcpys:,}, sets {device.memsets:,}"
    found = table(f"Device {device.device}, ms ({counts})", "part", "time", "share of span")
    parts = {
        "compute": device.compute_ns, "exposed communication": device.exposed_comm_ns,
        "exposed copies and sets": device.exposed_memory_ns, "idle": device.idle_ns,
    }  # fmt: skip
    for part, ns in parts.items():
        found.add_row(part, milliseconds(ns), bar(share(ns, device.span_ns)))
    found.add_section()
    found.add_row("span", milliseconds(device.span_ns), "", style="bold")
    return found


def _work(device: TraceDevice) -> Table:
    found = table(f"Device {device.device}: its work by category, ms", "category", "time", "share of work")
    whole = sum(device.categories.values())
    for category, ns in device.categories.items():
        found.add_row(category, milliseconds(ns), bar(share(ns, whole)))
    return found


def _rows(devices: Sequence[TraceDevice]) -> Table:
    titles = ("device", "kernels", "span", "compute", "comm.", "copies", "idle", "share")
    found = table("Devices, ms (comm., copies: while nothing computes)", *titles)
    for device in devices:
        times = (device.span_ns, device.compute_ns, device.exposed_comm_ns, device.exposed_memory_ns, device.idle_ns)
        idle = percent(share(device.idle_ns, device.span_ns))
        found.add_row(shown(device.device), f"{device.kernels:,}", *map(milliseconds, times), idle)
    return found
