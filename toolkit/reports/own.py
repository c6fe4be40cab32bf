"""What reports say that a run is of: a workload by its settings, or a loop that hwprof did not write."""

from toolkit.errors import printable
from toolkit.own_spec import OwnSpec, Spec


def workload(spec: Spec) -> list[str]:
    """What stands beside framework and model in a headline. Of an own loop that is what its owner told."""
    if isinstance(spec, OwnSpec):
        batch = [] if spec.batch is None else [f"batch {spec.batch}"]
        settings = [printable(f"{name} {value}") for name, value in spec.settings.items()]
        return [spec.task, "own loop", *batch, *settings]
    size = f"{spec.image_size}×{spec.image_size}"
    return [spec.task, spec.mode, f"batch {spec.batch}", f"{spec.dataset} {size}"]


def sentence(spec: OwnSpec) -> str:
    """What figures of an own loop are of."""
    if not spec.profile_steps:
        return "own loop: one pass, unprofiled"
    return (
        f"own loop: one pass, under the profiler in {spec.profile_steps} steps at most, from the run's step"
        f" {spec.profile_from} on; step times are of the others, and such an epoch has no throughput"
    )
