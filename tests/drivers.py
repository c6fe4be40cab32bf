"""Scripts for the stand-in of the driver's library, nvml_stub.c, and the GPU sampler run over one in virtual time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
POWERLESS = """
gpu Stub GPU
fail nvmlDeviceGetPowerUsage 3
fail nvmlDeviceGetTotalEnergyConsumption 3
fail nvmlDeviceGetSamples 3
fail 185 3
fail 186 3
"""
# What the sampler's process does, but for its clock, which is the script's.
PLAY = """
import sys
from pathlib import Path
import pynvml
from toolkit.capture import gpu_sampling, record
from toolkit.clock import ClockPair
EPOCH_NS, now = 1_700_000_000_000_000_000, [0]
def wait(at):
    pynvml.nvmlLib.nvmlStubAdvance(pynvml.c_ulonglong(max(at - now[0], 0)))
    now[0] = max(at, now[0])
record.read_pair = lambda: ClockPair(EPOCH_NS + now[0], now[0])
folder, seconds, hz = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
with record.Appender(folder / "gpu.jsonl") as appender:
    sampler = gpu_sampling.GpuSampler(appender, now_ns=lambda: now[0])
    if sampler.devices:
        poll_ns = gpu_sampling.find_poll(sampler, appender, wait, lambda: now[0])
        end = now[0] + round(seconds * 1e9)
        gpu_sampling.sample(sampler, appender, (poll_ns, 10**9 // hz), gpu_sampling.Timing(
            lambda: now[0], wait, lambda at: wait(at) or now[0] >= end))
        sampler.slow()
"""


def scripted(folder: Path, script: str) -> str:
    """The path of a file with this script, for NVML_SCRIPT."""
    path = folder / "nvml.script"
    path.write_text(script, encoding="utf-8")
    return str(path)


def play(driver: Path, folder: Path, script: str, *, seconds: float, hz: int = 10) -> list[list[Any]]:
    """The records of a sampler over the script for so long after its start, in virtual time; `folder` has gpu.jsonl."""
    played = {"LD_LIBRARY_PATH": str(driver), "NVML_SCRIPT": scripted(folder, f"clock virtual\n{script}")}
    command: list[str | Path] = [sys.executable, "-c", PLAY, folder, str(seconds), str(hz)]
    subprocess.run(command, cwd=REPO, env=os.environ | played, check=True)
    return [json.loads(line) for line in (folder / "gpu.jsonl").read_text().splitlines()]
