"""The NVML sampler through the real bindings, over a stand-in for the driver's library that the test compiles."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
SAMPLE = """
import json, sys
from pathlib import Path
from toolkit.capture.record import Recorder
from toolkit.capture.samplers import nvml
presence = nvml.detect()
with Recorder(Path(sys.argv[1])) as record:
    sampler = nvml.NvmlSampler(record)
    sampler.sample()
    sampler.sample()
print(json.dumps([[gpu._asdict() for gpu in presence.gpus], presence.driver, presence.reason, presence.cuda]))
"""


def sample(driver: Path, folder: Path, **variables: str) -> tuple[list[Any], list[list[Any]]]:
    """What detection says, and the records of two samples, with the stand-in in the driver's place."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(driver)} | variables
    command = [sys.executable, "-c", SAMPLE, folder / "samplers.jsonl"]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in (folder / "samplers.jsonl").read_text().splitlines()]
    return json.loads(done.stdout), [line for line in lines if line[0] in {"counter", "unavailable"}]


def test_a_gpu_is_seen_and_every_metric_read(driver: Path, tmp_path: Path) -> None:
    """Name, memory and driver; then power in mW, energy in mJ, bytes, percent, MHz and degrees, twice."""
    (gpus, version, reason, cuda), records = sample(driver, tmp_path)
    assert gpus == [{"number": 0, "name": "Stub GPU", "uuid": "GPU-stub", "memory_bytes": 8 << 30}]
    assert (version, reason, cuda) == ("580.00.01", None, [13, 0])
    readings = {(line[4], line[6]): line[5] for line in records[:7]}
    assert readings == {
        ("power", "mW"): 125_000, ("energy", "mJ"): 1_500, ("memory_used", "B"): 1 << 30, ("utilisation", "%"): 37,
        ("sm_clock", "MHz"): 1_980, ("memory_clock", "MHz"): 3_201, ("temperature", "degC"): 41,
    }  # fmt: skip
    assert len(records) == 14
    assert all(line[2:4] == ["nvml", "0"] for line in records)


def test_a_metric_that_the_gpu_lacks_is_unavailable_once_with_the_reason(driver: Path, tmp_path: Path) -> None:
    """A GPU without a power sensor has no power, not zero watts; the rest goes on."""
    _, records = sample(driver, tmp_path, NVML_STUB_NO_POWER="1")
    unavailable = [line[1:] for line in records if line[0] == "unavailable"]
    assert unavailable == [["nvml", "0", "power", "Not Supported"], ["nvml", "0", "energy", "Not Supported"]]
    assert len([line for line in records if line[0] == "counter"]) == 10


def test_a_driver_that_does_not_answer_is_unavailable_with_the_reason(driver: Path, tmp_path: Path) -> None:
    """Detection and sampler say it in NVML's own words, and neither raises."""
    (gpus, version, reason, cuda), records = sample(driver, tmp_path, NVML_STUB_NO_DRIVER="1")
    assert (gpus, version, cuda) == ([], None, None)
    assert "Driver Not Loaded" in reason
    assert [line[1:4] for line in records] == [["nvml", None, "all"]]
