"""What is known of a matched workload's sameness: an identity, and the verdict kept under it.

The identity is a hash of all that decides whether a framework computes the spec's matched model right: the pinned
versions of what computes, the sources of definition, probes, their settings and tolerances, and the model's own
settings. A launch looks it up without starting a framework, and a verdict made later is found by the identity that a
run recorded. The standard library only.
"""

import hashlib
import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.capture import images
from toolkit.capture.downloads import cache_folder
from toolkit.capture.files import write_whole
from toolkit.errors import FAILED, HwprofError
from toolkit.settings import resolve, shown
from toolkit.spec import RunSpec

ROOT = images.ROOT
PROFILES = ROOT / "profiles"
REFERENCE = "torch"
CPU = "cpu"
# What computes in each framework's environment; TensorFlow's CPU build has the same version under another name.
PACKAGES = {
    "torch": ("torch", "torchvision", "numpy"),
    "tf": ("tensorflow", "keras", "numpy"),
    "jax": ("jax", "jaxlib", "keras", "numpy"),
}
# Of these the verdict is; of batch, seed, learning rate, precision, loop, compile mode, the values of the weights and
# replicas it is not: that replicas come to the same step is asserted of each framework by itself. Of inference alone it
# is by the model's usual optimizer and layers that train.
SHAPE = ("model", "image_size", "classes", "normalise", "optimizer", "trainable")


class Known(NamedTuple):
    """A verdict in short: whether the framework agrees with the reference, and when that was shown (ISO 8601)."""

    agrees: bool
    verified: str


def subject(spec: RunSpec) -> RunSpec:
    """What a verdict on the spec's model is of: where it infers alone, the model's usual training."""
    if spec.task != "infer":
        return spec
    usual = _usual(spec.model)
    return replace(spec, task="train", optimizer=usual.optimizer, momentum=usual.momentum, trainable=usual.trainable)


def identity(spec: RunSpec, framework: str, lock: Path | None = None) -> str:
    """The identity of the spec's matched model in `framework`, installed from `lock`; by default its CPU lock."""
    versions = [_versions(REFERENCE, _lock(REFERENCE)), _versions(framework, lock or _lock(framework))]
    parts = [*versions, _shape(subject(spec))]
    total = hashlib.sha256(json.dumps([framework, *parts], sort_keys=True).encode())
    for path in _sources():
        total.update(path.read_bytes())
    return total.hexdigest()


def keep(identity: str, text: str) -> None:
    """Remembers a verdict's JSON, an object with at least Known's fields. Raises HwprofError where it cannot."""
    path = _path(identity)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        problem = f"No verdict can be kept in {path.parent}: {error.strerror or error}."
        raise HwprofError(
            problem, remedy="Make room, or set XDG_CACHE_HOME to another folder.", exit_code=FAILED
        ) from error


def kept(identity: str) -> str | None:
    """The JSON remembered under `identity`, or None."""
    try:
        return _path(identity).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def known(identity: str) -> Known | None:
    """The verdict remembered under `identity` in short; None where there is none, or what is there is damaged."""
    try:
        told = json.loads(kept(identity) or "{}")
        return Known(bool(told["agrees"]), str(datetime.fromisoformat(told["verified"])))
    except (ValueError, TypeError, KeyError):
        return None


def record(spec: RunSpec, lock: Path) -> dict[str, Any] | None:
    """What a run that is installed from `lock` records of its sameness; None as shipped, which claims none."""
    if not spec.matched:
        return None
    name = identity(spec, spec.framework, lock)
    found = known(name) if spec.framework != REFERENCE else None
    return {
        "identity": name,
        "reference": spec.framework == REFERENCE,
        "agrees": found.agrees if found else None,
        "verified": found.verified if found else None,
    }


def command(spec: RunSpec, framework: str) -> str:
    """What a person types to verify the spec's model in `framework`."""
    words = ["hwprof", "verify", spec.model, "--frameworks", framework]
    usual, spec = _usual(spec.model), subject(spec)
    for name in (*SHAPE[1:], "momentum"):
        value = getattr(spec, name)
        if value != getattr(usual, name):
            words += ["--set", f"{name}={shown(value)}"]
    return shlex.join(words)


def now() -> str:
    """The time of a verdict made now."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions(framework: str, lock: Path) -> list[tuple[str, str]]:
    """Of what computes; a build's own label, as in 2.13.0+cpu, is left out."""
    pinned = {(name.removesuffix("-cpu"), version.partition("+")[0]) for name, version in images.pins(lock)}
    return sorted(pin for pin in pinned if pin[0] in PACKAGES[framework])


def _lock(framework: str) -> Path:
    return images.Recipe(framework, CPU).lock


def _usual(model: str) -> RunSpec:
    """What `hwprof verify MODEL` is of."""
    try:
        return resolve(None, [f"model={model}"], profiles=PROFILES)
    except HwprofError:
        # a model of an older version
        return RunSpec()


def _shape(spec: RunSpec) -> list[Any]:
    # momentum is of sgd alone
    return [*(getattr(spec, name) for name in SHAPE), spec.momentum if spec.optimizer == "sgd" else None]


def _sources() -> list[Path]:
    toolkit = ROOT / "toolkit"
    capture = toolkit / "capture"
    probes = [capture / "probe.py", capture / "verify.py"]
    return [*probes, toolkit / "analyses" / "verification.py", *sorted((capture / "workloads").rglob("*.py"))]


def _path(identity: str) -> Path:
    return cache_folder() / "verified" / f"{identity}.json"
