"""Settles where the passes run: docker, podman or the local environment, and says which and why.

`auto` takes what works; where an engine is there and cannot be used for this run, the local environment is a fallback
that every report names. What was asked for by name and cannot be had is an error.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.capture import allocators, containers, cuda, engines, images, preflight, venvs
from toolkit.capture.containers import Container
from toolkit.capture.images import Image
from toolkit.capture.samplers.nvml import Gpu, Presence
from toolkit.errors import HwprofError
from toolkit.spec import FIELDS, RunSpec

LOCAL = "local"
AUTO = "auto"
LIMITS = tuple(name for name in FIELDS if name.startswith("limit_"))

Say = Callable[[str], None]


class Runtime(NamedTuple):
    """Where the passes run: in `container`, or where that is None in the local environment of `worker`.

    `why` says it in one sentence, `fallbacks` what it is not although it was to be, `inside` what a container is like.
    """

    why: str
    worker: venvs.Worker | None
    container: Container | None
    inside: dict[str, Any] | None
    fallbacks: tuple[str, ...]

    @property
    def made_from(self) -> Image | venvs.Worker:
        """The image or environment."""
        made = self.container.image if self.container else self.worker
        if made is None:
            raise AssertionError("a runtime is a worker's environment or a container")
        return made

    @property
    def lock(self) -> Path:
        """What image or environment was made from."""
        return self.made_from.lock


class Wish(NamedTuple):
    """What a runtime is settled for: a spec, its device, and of the GPUs there are those that the caller may use."""

    spec: RunSpec
    device: str
    presence: Presence
    gpus: Sequence[Gpu]
    runs: Path

    @property
    def recipe(self) -> images.Recipe:
        """What image or environment it takes."""
        return images.Recipe(self.spec.framework, self.device)


def settle(wish: Wish, *, say: Say) -> Runtime:
    """Makes image or environment ready. HwprofError where what was asked for cannot be had."""
    asked = wish.spec.runtime
    containers.check_limits(wish.spec)
    _check_driver(wish)
    if asked == LOCAL:
        return _local(wish, "Runtime local, as asked.", (), say=say)
    try:
        engine = engines.find(asked)
    except engines.NoEngineError as error:
        if asked != AUTO:
            raise
        return _local(wish, f"Runtime local (auto: {error.problem.rstrip('.')}).", (), say=say)
    try:
        return _contained(wish, engine, say=say)
    except HwprofError as error:
        if asked != AUTO:
            raise
        reason = f"The local environment stands in for {engine}: {error.problem}"
        return _local(wish, f"Runtime local (auto: {engine} answers, but cannot be used).", (reason,), say=say)


def variables(spec: RunSpec, device: str) -> dict[str, str]:
    """What a worker's environment must say, wherever it runs: threads and allocator as asked, and the device.

    GPUs are numbered as NVML numbers them; on device=cpu they are hidden, for Keras compiles by XLA where it sees one.
    """
    gpus = {"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    threads = {"OMP_NUM_THREADS": str(spec.threads), "MKL_NUM_THREADS": str(spec.threads)} if spec.threads else {}
    return gpus | threads | allocators.variables(spec)


def record(runtime: Runtime, wish: Wish) -> dict[str, Any]:
    """What run.json, summary.json and every report say of it; None for what does not apply."""
    container, made_from = runtime.container, runtime.made_from
    return {
        "name": container.engine.name if container else LOCAL,
        "asked": wish.spec.runtime,
        "why": runtime.why,
        "fallbacks": list(runtime.fallbacks),
        "engine_version": container.engine.version if container else None,
        "rootless": container.engine.rootless if container else None,
        "image": container.image.reference if container else None,
        "image_id": container.image.id if container else None,
        "image_labels": container.image.labels if container else {},
        "user": container.user if container else None,
        "limits": container.limits._asdict() if container else None,
        "variant": made_from.variant,
        "lock": made_from.lock.name,
        "lock_sha256": made_from.lock_sha256,
        "driver": wish.presence.driver,
        "driver_cuda": cuda.dotted(wish.presence.cuda) if wish.presence.cuda else None,
    }


def _check_driver(wish: Wish) -> None:
    """HwprofError where the lock, and with it the image, brings a CUDA that the driver does not run."""
    if wish.device != "cuda":
        return
    needed = images.stated(wish.recipe.lock).get("hwprof.cuda")
    if needed and (unfit := cuda.mismatch(needed, wish.presence)):
        raise HwprofError(f"{wish.recipe} {unfit.problem}.", remedy=unfit.remedy)


def _contained(wish: Wish, engine: engines.Engine, *, say: Say) -> Runtime:
    spec = wish.spec
    image = images.ensure(engine, wish.recipe, say=say)
    gpus = wish.gpus if wish.device == "cuda" else ()
    container = containers.settle(engine, image, spec, gpus=gpus, variables=variables(spec, wish.device))
    inside = preflight.check(container, wish.runs)
    auto = f"auto: {engine.name} answers" if spec.runtime == AUTO else "as asked"
    why = f"Runtime {engine} ({auto}), image {image.reference}."
    say(why)
    unlimited = containers.unlimited(container)
    if unlimited:
        say(unlimited)
    return Runtime(why, None, container, inside, tuple(filter(None, (image.fallback, unlimited))))


def _local(wish: Wish, why: str, fallbacks: tuple[str, ...], *, say: Say) -> Runtime:
    ignored = [name for name in LIMITS if getattr(wish.spec, name) != FIELDS[name].default]
    if ignored:
        fallbacks += (f"{', '.join(ignored)} do not hold in the local environment.",)
    for line in (why, *fallbacks):
        say(line)
    worker = venvs.ensure(wish.spec.framework, wish.device, say=say)
    return Runtime(why, worker, None, None, (*fallbacks, *([worker.fallback] if worker.fallback else [])))
