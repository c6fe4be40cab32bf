"""Where a run's passes ran and what they ran from, as the launcher recorded it before they began."""

from pathlib import Path

from msgspec import Struct, ValidationError, convert

from toolkit.capture import runs


class Limits(Struct, frozen=True, kw_only=True):
    """What a container may use; null where its engine could not limit it. `processes` counts threads too."""

    memory_bytes: int | None
    processors: list[int] | None
    processes: int | None
    shm_bytes: int | None


class Runtime(Struct, frozen=True, kw_only=True):
    """docker, podman or local, why, and what it is not although it was to be; null: does not apply, or is not told.

    `variant`, `lock` and its hash say what image or environment was made from, `driver_cuda` the newest CUDA of the
    driver.
    """

    name: str
    asked: str
    why: str
    fallbacks: list[str]
    engine_version: str | None
    rootless: bool | None
    image: str | None
    image_id: str | None
    image_labels: dict[str, str]
    user: str | None
    limits: Limits | None
    variant: str | None
    lock: str | None
    lock_sha256: str | None
    driver: str | None
    driver_cuda: str | None


def read(folder: Path) -> Runtime | None:
    """The runtime of a run folder; None where its record is of another version."""
    try:
        return convert(runs.launched(folder, "runtime"), Runtime | None)
    except ValidationError:
        return None
