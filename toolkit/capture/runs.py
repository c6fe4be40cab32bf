"""The folder of runs: making and finding them, and the status that closes each, written last, whole or not at all."""

import json
import os
import platform
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit import __version__
from toolkit.capture.files import read_object, write_whole
from toolkit.errors import HwprofError
from toolkit.own_spec import ALL_PASSES, OWN, Spec, read
from toolkit.settings import known
from toolkit.spec import FRAMEWORKS, MODES

if TYPE_CHECKING:
    from toolkit.capture.samplers.nvml import Gpu, Presence

STATUS = "run.json"
SPEC = "spec.json"
LAUNCH = Path("raw", "launch.json")
# Of each pass, beside its marks.
FACTS = "facts.json"
GIVE_ANOTHER = "Give another with --runs."
INCOMPLETE = {"status": "incomplete", "reason": "no run.json: it is still running, or was killed", "exit_code": None}


class Outcome(NamedTuple):
    """How a pass, or a run, ended: complete, failed, killed, out_of_memory, timed_out or interrupted, and why."""

    status: str
    reason: str | None
    exit_code: int


COMPLETE = Outcome("complete", None, 0)


def create(runs: Path, parts: Sequence[str], files: Mapping[Path, str], *, remedy: str = GIVE_ANOTHER) -> Path:
    """A new run folder, named by the time, `parts` and chance, that holds `files`; its absolute path.

    Raises HwprofError where it cannot be made.
    """
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    # The passes run elsewhere, so a relative path would not do.
    folder = (runs / "-".join((stamp, *parts, secrets.token_hex(2)))).absolute()
    try:
        (folder / "raw").mkdir(parents=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write_whole(folder / name, text)
    except OSError as error:
        raise unwritable(runs, error.strerror, remedy) from error
    return folder


def launch_facts(device_asked: str, device: str, presence: "Presence", used: "Sequence[Gpu]") -> dict[str, Any]:
    """What launch.json holds of any run: when and where it was made, on what."""
    return {
        "hwprof": __version__,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "host": platform.node(),
        "device_asked": device_asked,
        "device": device,
        "gpus": [gpu._asdict() for gpu in presence.gpus],
        "gpus_used": [gpu.uuid for gpu in used],
    }


def check_writable(runs: Path, *, remedy: str = GIVE_ANOTHER) -> Path:
    """The nearest folder of `runs` that is there already; HwprofError where it takes no new ones."""
    nearest = next(place for place in (runs.absolute(), *runs.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise unwritable(runs, f"{nearest} is no folder", remedy)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise unwritable(runs, f"no permission to write in {nearest}", remedy)
    return nearest


def unwritable(runs: Path, reason: str | None, remedy: str = GIVE_ANOTHER) -> HwprofError:
    """What to raise where nothing can be made in the folder of runs."""
    return HwprofError(f"The folder of runs {runs} cannot be written: {reason}.", remedy=remedy)


def folders(runs: Path) -> list[Path]:
    """Run folders, oldest first."""
    return sorted((path.parent for path in runs.glob(f"*/{SPEC}")), key=lambda folder: (_created(folder), folder.name))


def _created(folder: Path) -> datetime:
    """When the run was launched, as it recorded it; names hold local time, which steps. Else when it was asked for."""
    try:
        return datetime.fromisoformat(read_object(folder / LAUNCH)["created"]).astimezone(UTC)
    except (ValueError, TypeError, KeyError):
        return datetime.fromtimestamp((folder / SPEC).stat().st_mtime, UTC)


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


def spec_of(folder: Path) -> Spec:
    """What was asked of a run. Raises HwprofError where spec.json is damaged or of another version."""
    try:
        spec = read((folder / SPEC).read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise _damaged(folder / SPEC) from error
    if spec.framework not in FRAMEWORKS or spec.mode not in (*MODES, OWN) or not isinstance(spec.model, str):
        raise _damaged(folder / SPEC)
    return spec


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


def launched(folder: Path, part: str) -> dict[str, Any] | None:
    """A part of what the launcher settled before the run began; None where there is no record of it.

    `runtime`: where the passes ran and from what; `matched`: what is known of the workload's being the same elsewhere.
    """
    found = read_object(folder / LAUNCH).get(part)
    return found if isinstance(found, dict) else None


def device_of(folder: Path) -> str | None:
    """The device that the run was given, cpu or cuda; None where there is no record of it."""
    found = read_object(folder / LAUNCH).get("device")
    return found if isinstance(found, str) else None


def facts_of(folder: Path) -> dict[str, Any]:
    """What the worker of the run's first pass recorded that came so far; nothing where none did."""
    return next((found for name in ALL_PASSES if (found := read_object(folder / "raw" / name / FACTS))), {})


def close(folder: Path, *, status: str, reason: str | None, exit_code: int) -> None:
    """Writes the status, the run's last act, with what was settled when it began."""
    settled = {part: launched(folder, part) for part in ("runtime", "matched")}
    ended = {"status": status, "reason": reason, "exit_code": exit_code, **settled}
    write_whole(folder / STATUS, json.dumps(ended, indent=1))
