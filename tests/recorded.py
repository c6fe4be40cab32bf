"""Runs that this project recorded, small and whole: tests/data/runs/README.md says how."""

import tarfile
from pathlib import Path

RUNS = Path(__file__).with_name("data") / "runs"
NAMES = sorted(path.name.removesuffix(".tar.gz") for path in RUNS.glob("*.tar.gz"))


def unpack(folder: Path) -> list[Path]:
    """The recorded runs of torch, tf and jax, as their raw/ was left, in this folder of runs."""
    for name in NAMES:
        with tarfile.open(RUNS / f"{name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return [folder / name for name in NAMES]
