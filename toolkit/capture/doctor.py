"""Says what of hwprof works on this machine, and what to do about the rest. Changes nothing, and ends by itself."""

from pathlib import Path

from toolkit.capture.checks import engine, gpu, host, versions
from toolkit.capture.checks.machine import Check, Finding, Machine, warning

# In the order in which a report shows them.
CHECKS: dict[str, Check] = {
    "python": host.python,
    "runs": host.runs,
    "engines": engine.engines_there,
    "gpus": gpu.gpus,
    "driver": gpu.driver,
    "nvml": gpu.telemetry,
    "profiling": gpu.counters,
    "environments": versions.environments,
    "images": versions.images_there,
    "shm": host.shared_memory,
    "py-spy": host.pyspy,
    "clock": host.clocks,
}


def examine(*, runs: Path, root: Path) -> list[Finding]:
    """Every check's findings, in order; one that breaks is a finding itself, for the others are wanted all the more."""
    machine = Machine(runs=runs, root=root)
    return [finding for name, check in CHECKS.items() for finding in _findings(name, check, machine)]


def _findings(name: str, check: Check, machine: Machine) -> list[Finding]:
    try:
        return list(check(machine))
    except Exception as error:  # noqa: BLE001 - the machine is odd in a way that nobody thought of: say so and go on
        said = f"could not be looked at: {type(error).__name__}: {error}"
        return [warning(name, said, "Please report this, with the output of `hwprof doctor --json`.")]
