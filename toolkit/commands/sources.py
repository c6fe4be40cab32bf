"""The paths that people give: trace files, folders of them, runs."""

import os
from collections.abc import Iterable
from pathlib import Path

from toolkit.capture import runs
from toolkit.errors import HwprofError
from toolkit.ingest import formats
from toolkit.ingest.run import other_ranks


def find(paths: Iterable[Path]) -> tuple[list[Path], list[HwprofError]]:
    """Every trace file and run folder among and in the paths, each once, and what is wrong with the others."""
    found: dict[Path, Path] = {}
    failures: list[HwprofError] = []
    for path in paths:
        try:
            for source in _sources(path, failures):
                found.setdefault(source.resolve(), source)
        except HwprofError as error:
            failures.append(error)
    return list(found.values()), failures


def runs_among(sources: Iterable[Path]) -> list[Path]:
    """The run folders that these sources are, or lie in the raw/ of."""
    found: dict[Path, None] = {}
    for source in sources:
        place = source.resolve()
        # raw/ holds a spec.json too
        around = [folder for folder in place.parents if (folder / runs.LAUNCH).is_file()]
        found |= {folder: None for folder in (place, *around) if (folder / runs.SPEC).is_file()}
    return list(found)


def _sources(path: Path, failures: list[HwprofError]) -> list[Path]:
    """The path, with a run its other ranks' traces; or every trace in the folder, and what cannot be read there."""
    try:
        path.stat()
    except FileNotFoundError:
        raise HwprofError(f"There is no {path}.", remedy="Give a trace, a folder of traces, or a run.") from None
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    if not path.is_dir():
        return [path]
    if (path / runs.SPEC).exists():
        return [path, *other_ranks(path)]
    before = len(failures)
    found = [file for file in _files(path, failures) if formats.knows(file) or not os.access(file, os.R_OK)]
    if not found and len(failures) == before:
        raise HwprofError(f"{path} holds no trace.", remedy=f"Known formats: {formats.names()}.")
    return found


def _files(folder: Path, failures: list[HwprofError]) -> list[Path]:
    """Every regular file below the folder, by name. Links to folders are not followed, for they may lead in circles."""

    def failed(error: OSError) -> None:
        failures.append(HwprofError(f"{error.filename} cannot be read: {error.strerror}.", remedy="Check the folder."))

    walk = os.walk(folder, onerror=failed)
    return sorted(path for parent, _, names in walk for name in names if (path := Path(parent, name)).is_file())
