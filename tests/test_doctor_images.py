"""What the doctor says of images where an engine does not tell which it holds."""

import os
from pathlib import Path

import pytest

from tests.commands import REPO
from tests.test_engines import PODMAN, put
from toolkit.capture.checks import versions
from toolkit.capture.checks.machine import Machine


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'Error: database is locked' >&2; exit 125", "cannot be listed: Error: database is locked"),
        ("exit 1", "cannot be listed: {program} image ls ended with code 1"),
        ("exec sleep 60", "cannot be listed: no answer within 0 s"),
    ],
    ids=["in its words", "without words", "not in time"],
)
def test_images_that_an_engine_does_not_list_are_not_called_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    """One warning with the engine's reason, and nothing of what it may hold."""
    usual = os.environ["PATH"]
    put(tmp_path, "podman", answer=PODMAN)
    monkeypatch.setenv("PATH", str(tmp_path))
    machine = Machine(runs=tmp_path, root=REPO)
    assert machine.engines
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}:{usual}")
    monkeypatch.setattr(versions, "PATIENCE_S", 0.4)
    (tmp_path / "podman").write_text(f"#!/bin/sh\n{script}\n")
    (finding,) = versions.images_there(machine)
    assert (finding.name, finding.state) == ("podman images", "warning")
    assert finding.found == says.format(program=tmp_path / "podman")
