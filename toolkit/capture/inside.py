"""What a container is like from inside. `python -m toolkit.capture.inside FILE FOLDER…` writes it to FILE as JSON."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.capture import environment
from toolkit.capture.files import write_whole
from toolkit.capture.samplers import nvml


def facts(folders: Iterable[Path]) -> dict[str, Any]:
    """Who runs, under which limits, which GPUs can be seen, and what of dataset and weights cannot be read."""
    presence = nvml.detect()
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "gpus": [gpu.uuid for gpu in presence.gpus],
        "driver": presence.driver,
        "unreadable": [name for folder in folders for name in _unreadable(folder)],
        **environment.resources(),
    }


def _unreadable(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    if not os.access(folder, os.R_OK | os.X_OK):
        return [str(folder)]
    return sorted(str(path) for path in folder.iterdir() if not os.access(path, os.R_OK))


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]), json.dumps(facts(map(Path, sys.argv[2:]))))
