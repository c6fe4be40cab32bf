"""GPUs, their driver against the CUDA of each lock, what NVML tells, and what profiling them is allowed."""

from collections.abc import Iterator
from pathlib import Path

from toolkit.capture import cuda, images
from toolkit.capture.checks.machine import Finding, Machine, ok, problem, warning
from toolkit.capture.samplers import nvml

PCI = Path("/sys/bus/pci/devices")
NVIDIA = "0x10de"
DISPLAY_CLASS = "0x03"
PARAMETERS = Path("/proc/driver/nvidia/params")


def gpus(machine: Machine) -> Iterator[Finding]:
    """Each GPU that runs would see; without any, whether the machine holds one that its driver does not show."""
    presence, visible = machine.presence, machine.visible
    for gpu in visible.gpus:
        memory = "" if gpu.memory_bytes is None else f", {gpu.memory_bytes / 2**30:.0f} GiB"
        yield ok(
            f"gpu {gpu.number}", f"{gpu.name}{memory}, driver {presence.driver}, CUDA {cuda.dotted(presence.cuda)}"
        )
    if presence.gpus and not visible.gpus:
        remedy = "Unset CUDA_VISIBLE_DEVICES to use them."
        yield warning("gpu", f"{len(presence.gpus)} there, but {visible.reason}", remedy)
    elif not visible.gpus and (unseen := _on_the_bus()):
        remedy = "Install NVIDIA's driver with libnvidia-ml.so.1; restart after an update of it; see `nvidia-smi`."
        yield warning("gpu", f"{unseen} on the PCI bus, but not to be used: {visible.reason}", remedy)
    elif not visible.gpus:
        yield ok("gpu", f"none ({visible.reason}): runs use the processor")


def driver(machine: Machine) -> Iterator[Finding]:
    """The CUDA that the driver runs against that of each lock. Within a major version every driver runs every CUDA."""
    if not machine.visible.gpus:
        return
    for recipe in images.recipes(machine.root):
        needed = images.stated(recipe.lock).get("hwprof.cuda")
        if needed:
            yield _against(f"cuda {recipe.framework}", needed, machine.presence)


def _against(name: str, needed: str, presence: nvml.Presence) -> Finding:
    if presence.cuda is None:
        return warning(name, f"needs CUDA {needed}; the driver does not say what it runs", "Update NVIDIA's driver.")
    unfit = cuda.mismatch(needed, presence)
    if unfit:
        return problem(name, unfit.problem, unfit.remedy)
    return ok(name, f"needs CUDA {needed}; driver {presence.driver} runs CUDA up to {cuda.dotted(presence.cuda)}")


def telemetry(machine: Machine) -> Iterator[Finding]:
    """Which library NVML is, and what the GPUs here do not tell."""
    if not machine.presence.gpus:
        return
    refused = machine.unreadable
    found = f"{nvml.library()}: power, energy, memory, clocks are read"
    if not refused:
        yield ok("nvml", found)
        return
    lacking = ", ".join(f"{metric} ({reason})" for metric, reason in refused.items())
    remedy = "Reports leave it out as unavailable; where it says No Permission, ask who runs this machine."
    yield warning("nvml", f"{nvml.library()}: not told here: {lacking}", remedy)


def counters(machine: Machine) -> Iterator[Finding]:
    """Tracing by CUPTI needs no permission; hardware counters may be for administrators alone."""
    if not machine.presence.gpus:
        return
    try:
        lines = PARAMETERS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    restricted = "RmProfilingAdminOnly: 1" in lines
    whose = "administrators alone (NVreg_RestrictProfilingToAdminUsers=1)" if restricted else "everyone"
    yield ok("profiling", f"traces need no permission; hardware counters, which hwprof does not read, are for {whose}")


def _on_the_bus() -> str | None:
    """How many NVIDIA display controllers the PCI bus shows, in words."""
    found = [device for device in PCI.glob("*") if _identity(device) == (NVIDIA, DISPLAY_CLASS)]
    return f"{len(found)} NVIDIA GPU{'s' * (len(found) > 1)}" if found else None


def _identity(device: Path) -> tuple[str, str]:
    try:
        vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
    except OSError:
        return "", ""
    return vendor, kind[: len(DISPLAY_CLASS)]
