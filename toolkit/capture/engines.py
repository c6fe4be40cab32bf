"""The container engine that runs images: docker or podman."""

from typing import NamedTuple


class Engine(NamedTuple):
    """An engine that answered: its name (docker, podman), the program that asks it, and its version."""

    name: str
    program: str
    version: str
