"""What the launcher settles before anything starts, and the order of what it launched."""

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from toolkit.capture import runs
from toolkit.capture.launch import visible
from toolkit.capture.samplers.nvml import Gpu, Presence

PRESENCE = Presence(tuple(Gpu(number, f"GPU {number}", f"GPU-{number}abc", None) for number in range(4)), "580", None)


@pytest.mark.parametrize(
    ("variable", "numbers"),
    [(None, [0, 1, 2, 3]), ("3", [3]), ("2, 0", [2, 0]), ("GPU-1", [1]), ("", []), ("-1", []), ("1,9,0", [1])],
)
def test_cuda_visible_devices_is_heeded(variable: str | None, numbers: list[int]) -> None:
    """By number or UUID, in its order, to the first that fits none; what hides every GPU is the reason."""
    seen = visible(PRESENCE, variable)
    assert [gpu.number for gpu in seen.gpus] == numbers
    assert (seen.reason is None) == bool(numbers)


@pytest.mark.parametrize("recorded", [True, False], ids=["by what it recorded", "else by when it was asked for"])
def test_runs_stand_in_the_order_in_which_they_were_launched(tmp_path: Path, *, recorded: bool) -> None:
    """Names hold local time, which goes back an hour once a year: the run launched last is the last."""
    launched = {
        "20261025-014000-later": "2026-10-25T01:40:00+01:00",
        "20261025-023000-sooner": "2026-10-25T02:30:00+02:00",
    }
    for name, created in launched.items():
        (tmp_path / name / "raw").mkdir(parents=True)
        (tmp_path / name / "spec.json").write_text("{}")
        if recorded:
            (tmp_path / name / "raw" / "launch.json").write_text(json.dumps({"created": created}))
        moment = datetime.fromisoformat(created).timestamp()
        os.utime(tmp_path / name / "spec.json", (moment, moment) if not recorded else (0, 0))
    assert [folder.name[16:] for folder in runs.folders(tmp_path)] == ["sooner", "later"]
    assert runs.find(tmp_path, "last").name.endswith("later")
