"""The lines of a terminal report that say where a run's passes ran, and from what."""

from collections.abc import Iterable

from rich.text import Text

from toolkit.analyses.runtime import Limits, Runtime

SHORT = 12


def where_it_ran(runtime: Runtime) -> Iterable[Text]:
    """One line, and one for each fallback."""
    parts = [" ".join(filter(None, ("rootless" if runtime.rootless else "", runtime.name, runtime.engine_version)))]
    if runtime.image:
        parts.append(f"image {runtime.image} ({(runtime.image_id or '').removeprefix('sha256:')[:SHORT]})")
    if runtime.lock and runtime.lock_sha256:
        parts.append(f"lock {runtime.lock} {runtime.lock_sha256[:SHORT]}")
    if runtime.limits:
        parts.append(f"limits {_limits(runtime.limits)}")
    if runtime.driver:
        parts.append(f"driver {runtime.driver}, CUDA up to {runtime.driver_cuda or 'unknown'}")
    yield Text(" · ".join(parts), "dim")
    for fallback in runtime.fallbacks:
        yield Text(f"  fallback: {fallback}", "yellow")


def _limits(limits: Limits) -> str:
    told = [
        ("memory", _gibibytes(limits.memory_bytes)),
        ("shared memory", _gibibytes(limits.shm_bytes)),
        ("processors", str(len(limits.processors)) if limits.processors else None),
        ("processes", str(limits.processes) if limits.processes else None),
    ]
    given = [f"{value} {what}" for what, value in told if value]
    missing = [what for what, value in told if not value]
    return ", ".join(given) + (f", none of {', '.join(missing)}" if missing else "")


def _gibibytes(count: int | None) -> str | None:
    return None if count is None else f"{count / 2**30:.1f} GiB"
