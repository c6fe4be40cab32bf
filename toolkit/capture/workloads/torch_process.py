"""What PyTorch tells of a process of its own, whatever that trains: profiler, waiting, graphs, memory, versions."""

import gzip
import shutil
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from toolkit.capture import environment
from toolkit.capture.record import Recorder
from toolkit.capture.workload import NativeProfiler, ProfilerOptions
from toolkit.capture.workloads import tf32, torch_memory

# What a process's trace is called that is the only one, or rank 0.
MAIN = "worker"


def device() -> str:
    """The device that PyTorch would compute on where it may: cuda where it finds a GPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class Process:
    """PyTorch in this process, computing on `device`, cpu or cuda; fulfils `Framework`."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._graphs = 0

    def facts(self) -> dict[str, Any]:
        """Versions and settings read back from torch."""
        has = tf32.has(capability(self.device))
        return {
            "framework": "torch",
            "versions": {name: environment.installed(name) for name in ("torch", "numpy")}
            | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()},
            "device": self.device,
            "device_name": torch.cuda.get_device_name() if self.device == "cuda" else None,
            "threads": torch.get_num_threads(),
            "tf32_matmul": has and torch.backends.cuda.matmul.allow_tf32,
            "tf32_conv": has and torch.backends.cudnn.allow_tf32,
            "allocator_backend": torch.cuda.get_allocator_backend() if self.device == "cuda" else None,
        }

    def compiled(self) -> bool:
        """Whether torch.compile made a graph since this was last asked; eager runs make none."""
        before, self._graphs = self._graphs, _graphs()
        return self._graphs > before

    def sync(self) -> None:
        """Waits for the GPU; the CPU is never behind."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def report_memory(self, record: Recorder) -> None:
        """The caching allocator's counters; PyTorch keeps none for host memory."""
        torch_memory.report(record, self.device)

    def annotate(self, name: str) -> AbstractContextManager[Any]:
        """A user annotation."""
        return record_function(name)

    def window(self, options: ProfilerOptions, folder: Path, *, steps: int) -> NativeProfiler:
        """torch.profiler over `steps` steps."""
        return Profiler(options, self.device, folder, steps=steps)


class Profiler:
    """torch.profiler over `steps` steps; its trace goes where TensorBoard's plugin looks for it."""

    def __init__(self, options: ProfilerOptions, device: str, folder: Path, *, steps: int, name: str = MAIN) -> None:
        self._folder = folder
        self._left = steps
        self._name = name
        # The snapshot is of this process's GPU, and rank 0's is the one that is read.
        mine = name == MAIN
        self._remembers = mine and options.profile_memory and device == "cuda" and torch_memory.is_native()
        self._profile = profile(
            activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda"),
            schedule=schedule(wait=0, warmup=1, active=steps, repeat=1),
            on_trace_ready=self._write_trace,
            profile_memory=options.profile_memory,
            record_shapes=options.profile_shapes,
            with_stack=options.profile_stacks,
        )

    def start(self) -> None:
        """Starts, and passes over the schedule's own warm-up step, whose events torch throws away.

        Raises RuntimeError where another torch.profiler records in this process, which this one would take over.
        """
        if torch.autograd._profiler_enabled():  # noqa: SLF001 - torch has no public way to ask
            raise RuntimeError("another torch.profiler is recording in this process")
        if self._remembers:
            torch_memory.start_history()
        self._profile.start()
        self._profile.step()

    def begin_step(self, name: str) -> None:
        """Nothing: torch.profiler bounds its steps itself."""

    def end_step(self) -> bool:
        """One step further; the window's last is torch's own to end, with the recording."""
        self._left -= 1
        if self._left:
            self._profile.step()
        return self._left > 0

    def stop(self) -> None:
        """Writes the trace, and the allocator's snapshot."""
        self._profile.stop()
        if self._remembers:
            torch_memory.write_history(self._folder)

    def _write_trace(self, profile_: profile) -> None:
        """As torch's own handler names it, but packed fast: its gzip takes four times as long as all the rest."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._name}.{time.time_ns()}.pt.trace.json.gz"
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            plain = Path(folder) / "trace.json"
            profile_.export_chrome_trace(str(plain))
            packed = Path(folder) / path.name
            with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
                shutil.copyfileobj(source, target)
            packed.replace(path)


def capability(device: str) -> tf32.Capability | None:
    """The GPU's compute capability; None on a processor."""
    return torch.cuda.get_device_capability() if device == "cuda" else None


def _graphs() -> int:
    """Graphs that torch.compile has made in this process. Its module, which takes seconds to load, is not loaded."""
    if "torch._dynamo.utils" not in sys.modules:
        return 0
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])  # noqa: SLF001 - torch has no public count
