"""The stores of the runs and traces that people name."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.capture import runs
from toolkit.commands import progress, sources
from toolkit.commands.digest import digest, has_store
from toolkit.errors import HwprofError
from toolkit.ingest import cache
from toolkit.ingest.store import text_of
from toolkit.own_spec import OwnSpec
from toolkit.spec import RunSpec


def find(names: Sequence[str], runs_folder: Path, *, shown: bool) -> dict[str, Path]:
    """The store of each run or trace by its name; of two of one name, by where they lie."""
    found, failures = sources.find(path for name in names for path in _paths(name, runs_folder))
    if failures:
        raise failures[0]
    if not found:
        raise HwprofError(f"There are no runs in {runs_folder}.", remedy="Make one, or name a trace.")
    stores: dict[str, Path] = {}
    with progress.watching(found, shown=shown) as watch_of:
        for path in found:
            is_run = (path / runs.SPEC).exists()
            if is_run and not has_store(path):
                digest(path)
            name = path.name if is_run and path.name not in stores else text_of(path)
            stores[name] = path if is_run else cache.stored(path, watch=watch_of(path))
    return stores


def _paths(name: str, runs_folder: Path) -> list[Path]:
    if name == "all":
        return runs.folders(runs_folder)
    return [Path(name) if Path(name).exists() else runs.find(runs_folder, name)]


def facts(stores: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The rows of `runs`, for `toolkit.analyses.query`."""
    return [_facts_of(name, folder) for name, folder in stores.items()]


def _facts_of(name: str, folder: Path) -> dict[str, Any]:
    """The row of `runs`: what was asked of the run, the device that it ran on, how it ended; NULL where not known.

    `own_settings` are what a person told of a loop of their own, as JSON.
    """
    settings: dict[str, Any] = {field.name: None for field in dataclasses.fields(RunSpec)} | {"own_settings": None}
    if not (folder / runs.SPEC).exists():
        return {"run": name, "status": None, **settings}
    spec = runs.spec_of(folder)
    known = {field: value for field, value in dataclasses.asdict(spec).items() if field in settings}
    if isinstance(spec, OwnSpec):
        known["own_settings"] = json.dumps(dict(spec.settings))
    settings |= known | {"device": runs.device_of(folder)}
    return {"run": name, "status": runs.status_of(folder)["status"], **settings}
