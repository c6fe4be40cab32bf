"""What a container is like from inside. `python -m toolkit.capture.inside FILE DATA` writes it to FILE as JSON."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from toolkit.capture import environment
from toolkit.capture.files import write_whole
from toolkit.capture.samplers import nvml


def facts(data: Path) -> dict[str, Any]:
    """Who runs, under which limits, which GPUs can be seen, and what of the dataset cannot be read."""
    presence = nvml.detect()
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "gpus": [gpu.uuid for gpu in presence.gpus],
        "driver": presence.driver,
        "unreadable": _unreadable(data),
        **environment.resources(),
    }


def _unreadable(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    if not os.access(folder, os.R_OK | os.X_OK):
        return ["."]
    return sorted(path.name for path in folder.iterdir() if not os.access(path, os.R_OK))


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]), json.dumps(facts(Path(sys.argv[2]))))
