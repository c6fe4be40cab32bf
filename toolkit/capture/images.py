"""Images of worker environments: what one is called, what its labels say, finding one and having one made.

A name says what its image was made from: `hwprof-<framework>-<variant>:<lock>-<sources>`, twelve hex digits of the
lock's hash and of the hash of the Dockerfile, the base image's name and the files copied in. So an image that is there
under its name is the right one, whoever made it. The standard library only.
"""

import contextlib
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from toolkit import __version__
from toolkit.capture import image_build, pip_settings, venvs
from toolkit.capture.engines import Engine
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import FRAMEWORKS

ROOT = venvs.ROOT
VARIANTS = ("cpu", "cuda")
# The worker's side of the toolkit and what it imports; .dockerignore lets the same through.
SOURCES = ("__init__.py", "clock.py", "errors.py", "own_spec.py", "settings.py", "spec.py", "capture")
DIGITS = 12
BASE_VARIABLE = "HWPROF_BASE_IMAGE"
BASE = re.compile(r"^ARG BASE_IMAGE=(\S+)$", re.MULTILINE)
PIN = re.compile(r"^([a-z0-9-]+)==([^\s;\\]+)", re.MULTILINE)
BASE_PYTHON = re.compile(r"(?:^|/)python:(\d+\.\d+\.\d+)")
ABSENT = re.compile(r"no such image|not known|failed to find image", re.IGNORECASE)
# Label -> the package of the lock whose version it states, and how many numbers of that version.
STATED = {
    "hwprof.framework_version": (r"torch|tensorflow(-cpu)?|jax", None),
    "hwprof.cuda": (r"nvidia-cuda-runtime(-cu\d+)?", 2),
    "hwprof.cudnn": (r"nvidia-cudnn-cu\d+", None),
    "hwprof.nccl": (r"nvidia-nccl-cu\d+", None),
    "hwprof.cupti": (r"nvidia-cuda-cupti(-cu\d+)?", None),
}

Say = Callable[[str], None]


class Recipe(NamedTuple):
    """What an image is made from: a framework in one variant, as the repository at `root` has it."""

    framework: str
    variant: str
    root: Path = ROOT

    @property
    def lock(self) -> Path:
        """The lock; HwprofError with the known ones where there is none."""
        return venvs.find_lock(str(self), self.root)

    @property
    def repository(self) -> str:
        """The part of the image's name that stays when lock and sources move."""
        return f"hwprof-{self}"

    def __str__(self) -> str:
        return f"{self.framework}-{self.variant}"


class Image(NamedTuple):
    """An image that an engine holds; `built`: it was made just now, `fallback`: why it is of another variant."""

    reference: str
    id: str
    labels: dict[str, str]
    framework: str
    variant: str
    lock: Path
    lock_sha256: str
    built: bool
    fallback: str | None


def recipes(root: Path = ROOT) -> list[Recipe]:
    """One for every framework and variant that has a lock."""
    every = (Recipe(framework, variant, root) for framework in FRAMEWORKS for variant in VARIANTS)
    return [recipe for recipe in every if (root / "containers" / "locks" / f"{recipe}.txt").is_file()]


def name(recipe: Recipe) -> str:
    """What the image is called."""
    return f"{tag_of_lock(recipe)}-{sources_hash(recipe.root)}"


def tag_of_lock(recipe: Recipe) -> str:
    """The part of the image's name that follows from its lock."""
    return f"{recipe.repository}:{venvs.sha256_of(recipe.lock)[:DIGITS]}"


def sources_hash(root: Path = ROOT) -> str:
    """Twelve hex digits of the Dockerfile, the base image's name and the files that are copied in."""
    total = hashlib.sha256(base_image(root).encode())
    for path in (image_build.dockerfile(root), *sources(root)):
        total.update(f"\0{path.relative_to(root)}\0{venvs.sha256_of(path)}".encode())
    return total.hexdigest()[:DIGITS]


def sources(root: Path = ROOT) -> list[Path]:
    """The files of the toolkit that an image holds, sorted."""
    return sorted(path for entry in SOURCES for path in _files(root / "toolkit" / entry))


def base_image(root: Path = ROOT) -> str:
    """What HWPROF_BASE_IMAGE names, else the Dockerfile's own, which is pinned by digest."""
    (own,) = BASE.findall(image_build.dockerfile(root).read_text(encoding="utf-8"))
    return os.environ.get(BASE_VARIABLE) or own


def python_named(base: str) -> str | None:
    """The version of Python that an official image's name, or that of a mirror's copy of it, says."""
    found = BASE_PYTHON.search(base)
    return found[1] if found else None


def pins(lock: Path) -> list[tuple[str, str]]:
    """Package and version of every pin of a lock, in its order; a package may have one for each of several Pythons."""
    return [(found[1], found[2]) for found in PIN.finditer(lock.read_text(encoding="utf-8"))]


def labels(recipe: Recipe, *, python: str | None) -> dict[str, str]:
    """What an image says of itself, read from its lock and its base image, whose version of Python is `python`.

    What it does not hold, as a GPU's libraries, or what is not known, as the revision outside git, has no label.
    """
    base, _, digest = base_image(recipe.root).partition("@")
    said = {
        "org.opencontainers.image.title": recipe.repository,
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.revision": revision(recipe.root),
        "org.opencontainers.image.base.name": base,
        "org.opencontainers.image.base.digest": digest,
        "hwprof.framework": recipe.framework,
        "hwprof.variant": recipe.variant,
        "hwprof.python": python,
        "hwprof.lock_sha256": venvs.sha256_of(recipe.lock),
        "hwprof.sources": sources_hash(recipe.root),
        **stated(recipe.lock),
    }
    return {key: value for key, value in said.items() if value}


def stated(lock: Path) -> dict[str, str]:
    """The labels that state the version of a package of the lock: framework, CUDA, cuDNN, NCCL, CUPTI."""
    return {
        label: ".".join(version.split(".")[:numbers])
        for label, (pattern, numbers) in STATED.items()
        for package, version in pins(lock)
        if re.fullmatch(pattern, package)
    }


def revision(root: Path = ROOT) -> str | None:
    """The commit that the sources are of, `-dirty` where they differ from it; None outside a repository."""
    command = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def find(engine: Engine, recipe: Recipe) -> Image | None:
    """The image of lock and sources as they are now, if the engine holds it."""
    reference = name(recipe)
    command = [engine.program, "image", "inspect", reference]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        if ABSENT.search(done.stderr):
            return None
        problem = f"{engine.name} cannot say whether it has the image {reference}: {' '.join(done.stderr.split())}."
        raise HwprofError(problem, remedy=f"See what `{engine.name} info` says.", exit_code=FAILED)
    (found,) = json.loads(done.stdout)
    return Image(
        reference=reference,
        id=found["Id"],
        labels=found["Config"].get("Labels") or {},
        framework=recipe.framework,
        variant=recipe.variant,
        lock=recipe.lock,
        lock_sha256=venvs.sha256_of(recipe.lock),
        built=False,
        fallback=None,
    )


def ensure(engine: Engine, recipe: Recipe, *, say: Say, show: Say | None = None) -> Image:
    """The image of `recipe`, built where the engine does not hold it yet.

    `say` is told in one line what takes long, `show` every line of the build. Where no wheel fits and the variant has a
    fallback, that one is built and named. Raises HwprofError for an unknown lock and for a build that fails.
    """
    if found := find(engine, recipe):
        return found
    other = venvs.FALLBACKS.get(str(recipe))
    refused = image_build.kept(recipe.root) / f"{recipe.repository}.refused"
    circumstances = f"{name(recipe)} {pip_settings.read().hash()}\n"
    if not other:
        return build(engine, recipe, say=say, show=show)
    if not refused.exists() or refused.read_text(encoding="utf-8") != circumstances:
        try:
            return build(engine, recipe, say=say, show=show)
        except venvs.NoWheelError:
            with contextlib.suppress(OSError):
                refused.write_text(circumstances, encoding="utf-8")
    reason = _stands_in(recipe, other)
    say(reason)
    return ensure(engine, recipe._replace(variant=other), say=say, show=show)._replace(fallback=reason)


def build(engine: Engine, recipe: Recipe, *, say: Say, show: Say | None = None, cache: bool = True) -> Image:
    """Builds the image; unless `cache` is false, out of what the engine kept of earlier builds.

    Raises HwprofError where it fails, NoWheelError where the indexes in reach lack a wheel.
    """
    reference, lock = name(recipe), recipe.lock
    say(f"Building the image {reference} with {engine.name} from {lock.name}{venvs.size(lock)}, once …")
    base = base_image(recipe.root)
    python = python_named(base) or image_build.python_of(engine, base)
    order = image_build.Order(
        reference=reference,
        arguments={"FRAMEWORK": recipe.framework, "VARIANT": recipe.variant, "BASE_IMAGE": base},
        labels=labels(recipe, python=python),
        cache=cache,
    )
    image_build.build(engine, order, show=show, root=recipe.root)
    found = find(engine, recipe)
    if found is None:
        problem = f"The image {reference} was built, and {engine.name} has none of the sources as they are now."
        raise HwprofError(problem, remedy="They were changed meanwhile: try again.", exit_code=FAILED)
    return found._replace(built=True)


def _stands_in(recipe: Recipe, other: str) -> str:
    unseen = ", ".join(pip_settings.read().unseen)
    return (
        f"The image {recipe.framework}-{other} stands in for {recipe}: the indexes that a build can reach hold no "
        f"wheel for it{f', and it cannot see {unseen}' if unseen else ''}. It also runs without a GPU; for the "
        f"smaller one add PyTorch's CPU wheel index to pip's configuration."
    )


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (one for one in path.rglob("*") if one.is_file() and "__pycache__" not in one.parts)
