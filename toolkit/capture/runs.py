"""The folder of runs: finding them, and the status that closes each. run.json is written last, whole or not at all."""

import json
from pathlib import Path
from typing import Any

from toolkit.capture.files import write_whole
from toolkit.errors import HwprofError
from toolkit.spec import RunSpec, from_json, known

STATUS = "run.json"
SPEC = "spec.json"
INCOMPLETE = {"status": "incomplete", "reason": "no run.json: it is still running, or was killed", "exit_code": None}


def folders(runs: Path) -> list[Path]:
    """Run folders, oldest first."""
    return sorted(path.parent for path in runs.glob(f"*/{SPEC}"))


def find(runs: Path, name: str) -> Path:
    """The run folder given as a path, by its name, or as `last`. Raises HwprofError naming the nearest."""
    if (Path(name) / SPEC).exists():
        return Path(name)
    found = folders(runs)
    if not found:
        raise HwprofError(
            f"There are no runs in {runs}.", remedy="Make one: make profile FRAMEWORK=torch MODEL=resnet50."
        )
    if name == "last":
        return found[-1]
    return runs / known(name, [folder.name for folder in found], "run")


def spec_of(folder: Path) -> RunSpec:
    """What was asked of a run. Raises HwprofError where spec.json is damaged or of another version."""
    try:
        return from_json((folder / SPEC).read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise _damaged(folder / SPEC) from error


def status_of(folder: Path) -> dict[str, Any]:
    """status, reason and exit_code of a run; `incomplete` where it has no run.json."""
    path = folder / STATUS
    if not path.exists():
        return dict(INCOMPLETE)
    try:
        status = json.loads(path.read_text(encoding="utf-8"))
        return {name: status[name] for name in INCOMPLETE}
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> HwprofError:
    return HwprofError(f"{path} is damaged, or of another version of hwprof.", remedy="Its raw/ may still be read.")


def close(folder: Path, *, status: str, reason: str | None, exit_code: int) -> None:
    """Writes the status, the run's last act."""
    write_whole(folder / STATUS, json.dumps({"status": status, "reason": reason, "exit_code": exit_code}))
