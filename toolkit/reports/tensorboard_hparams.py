"""A run as a session of TensorBoard's HParams plugin: the settings that runs are compared by, and what each came to."""

from collections.abc import Iterator
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped] # TensorBoard ships no types
from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # type: ignore[import-untyped] # likewise

from toolkit.analyses import processes
from toolkit.capture import runs
from toolkit.own_spec import OwnSpec, told
from toolkit.reports import summary_json

# What a sweep varies. Runs that are equal in these are one group, and repeats of each other.
AXES = ("framework", "model", "mode", "task", "batch", "image_size", "precision", "compile", "loop")
# Unit of a metric -> (unit in the tag, what one of it is in that).
UNITS = {"ns": ("ms", 1e-6), "B": ("mib", 2.0**-20), "samples/s": ("samples_per_s", 1), "images/J": ("images_per_j", 1)}


def session(run: Path, start_s: float) -> Summary:
    """The settings of a run, for its event file."""
    spec = runs.spec_of(run)
    found = told(spec)
    own = spec.settings if isinstance(spec, OwnSpec) else {}
    # what is not known of an own loop is no setting of it
    settings = {name: found[name] for name in (*AXES, *own) if found.get(name) is not None}
    return hparams_pb({**settings, "device": runs.device_of(run) or spec.device}, start_time_secs=start_s)


def results(run: Path) -> Iterator[tuple[str, float, str]]:
    """Tag, value and meaning of each metric of `hwprof compare` that the run tells; none before it has been read."""
    summary = summary_json.read(run / "summary.json")
    process = processes.read(run, summary) if summary else None
    for name, metric in processes.METRICS.items() if process else ():
        unit, factor = UNITS.get(metric.unit, (metric.unit.lower(), 1))
        value = metric.of(process) if process else None
        if value is not None:
            yield f"result/{name}_{unit}", value * factor, metric.meaning
