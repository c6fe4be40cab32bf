"""What JAX tells of a process of its own, whatever that trains: profiler, waiting, compiling, memory, versions."""

import contextlib
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax

from toolkit.capture.environment import installed
from toolkit.capture.record import Recorder
from toolkit.capture.workload import ProfilerOptions
from toolkit.capture.workloads import tf32
from toolkit.capture.workloads.step_profiler import StepProfiler
from toolkit.errors import HwprofError

HOST_TRACER_LEVEL = 2
# What is alive at the window's end, by Python stack.
MEMORY_PROFILE = "memory.prof"
COMPILED = "/jax/core/compile/backend_compile_duration"
# Names of XLA's own threads for computation, as the kernel cuts them off.
POOL = "tf_XLAEigen"
# memory_stats() by our names. `bytes_reserved` there is set aside within the pool; the pool is what the device gave.
MEMORY = {
    "in_use": "bytes_in_use",
    "peak_in_use": "peak_bytes_in_use",
    "reserved": "pool_bytes",
    "peak_reserved": "peak_pool_bytes",
    "largest_free": "largest_free_block_bytes",
}


def device() -> str:
    """The device that JAX computes on: cuda where that is a GPU. It looks for its devices, if it has not yet.

    Raises HwprofError where it is neither that nor a processor.
    """
    backend = jax.default_backend()
    if backend not in ("cpu", "gpu"):
        raise HwprofError(f"JAX computes on a {backend} here.", remedy="hwprof knows processors and NVIDIA's GPUs.")
    return "cuda" if backend == "gpu" else "cpu"


class Process:
    """JAX in this process, computing on `device`, cpu or cuda; fulfils `Framework`."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._compiles = CompileCount()

    def facts(self) -> dict[str, Any]:
        """Versions and settings read back from JAX and the process."""
        first = jax.devices()[0]
        allowed = allows_tf32() and tf32.has(capability(self.device))
        return {
            "framework": "jax",
            "versions": {name: installed(name) for name in ("jax", "jaxlib", "numpy")}
            | {
                "cuda": installed("nvidia-cuda-runtime"),
                "cudnn": installed("nvidia-cudnn-cu13"),
            },
            "device": self.device,
            "device_name": first.device_kind if self.device == "cuda" else None,
            "platform": first.platform,
            "platform_version": first.client.platform_version,
            "threads": _pool_threads(),
            "async_dispatch": self.device == "cuda" or jax.config.read("jax_cpu_enable_async_dispatch"),
            "x64": jax.config.jax_enable_x64,
            "default_matmul_precision": jax.config.jax_default_matmul_precision,
            "tf32_matmul": allowed,
            "tf32_conv": allowed,
            "compilation_cache": jax.config.jax_enable_compilation_cache,
            "preallocate": _preallocates() if self.device == "cuda" else None,
        }

    def compiled(self) -> bool:
        """Whether JAX compiled anything since this was last asked."""
        return self._compiles.grew()

    def sync(self) -> None:
        """Waits for every array that there is; the processor may be behind as a GPU may."""
        jax.block_until_ready(jax.live_arrays())

    def report_memory(self, record: Recorder) -> None:
        """What the first device's allocator counts; on a CPU it counts nothing, and the live arrays are summed."""
        first = jax.devices()[0]
        figures = first.memory_stats()
        if figures is None:
            reason = f"JAX tells nothing of this device's memory ({first.platform}: memory_stats() is None)"
            record.unavailable("jax", first.platform, "allocator", reason)
            record.counter("jax", first.platform, "live_arrays", sum(each.nbytes for each in jax.live_arrays()), "B")
            return
        record.unavailable("jax", "0", "growth_events", "memory_stats() does not count them")
        for metric, key in MEMORY.items():
            if key in figures:
                record.counter("jax", "0", metric, figures[key], "B")
            else:
                record.unavailable("jax", "0", metric, f"memory_stats() has no {key}")

    def annotate(self, name: str) -> AbstractContextManager[Any]:
        """A TraceMe."""
        return jax.profiler.TraceAnnotation(name)

    def window(self, options: ProfilerOptions, folder: Path, *, steps: int) -> StepProfiler:
        """jax.profiler over `steps` steps, writing where TensorBoard's plugin looks."""
        levels = jax.profiler.ProfileOptions()
        levels.host_tracer_level = HOST_TRACER_LEVEL
        levels.python_tracer_level = int(options.profile_stacks)

        def stop() -> None:
            jax.profiler.stop_trace()
            if options.profile_memory:
                jax.profiler.save_device_memory_profile(folder / MEMORY_PROFILE)
            # The same events once more, as JSON and cut off at a million.
            for path in folder.glob("plugins/profile/*/*.trace.json.gz"):
                path.unlink()

        return StepProfiler(
            steps,
            start=lambda: jax.profiler.start_trace(folder, profiler_options=levels),
            stop=stop,
            step=lambda name, number: jax.profiler.StepTraceAnnotation(name, step_num=number),
        )


class CompileCount:
    """Counts what JAX compiles in this process, whoever asks for it."""

    def __init__(self) -> None:
        self._count = 0
        self._seen = 0
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def grew(self) -> bool:
        """Whether anything was compiled since this was last asked."""
        before, self._seen = self._seen, self._count
        return self._count > before

    def _heard(self, event: str, duration_s: float, **_: Any) -> None:
        self._count += event == COMPILED


def allows_tf32() -> bool:
    """Whether JAX lets float32 products be TF32 where the device has it; XLA takes it where nothing is said."""
    return jax.config.jax_default_matmul_precision in (None, "default", "fastest", "tensorfloat32")


def capability(device: str) -> tf32.Capability | None:
    """The GPU's compute capability; None on a processor."""
    if device != "cuda":
        return None
    major, _, minor = jax.devices()[0].compute_capability.partition(".")
    return int(major), int(minor)


def _pool_threads() -> int | None:
    """XLA's threads for computation that this process has; None where none goes by their name."""
    found = 0
    for path in Path("/proc/self/task").glob("*/comm"):
        # a thread that has ended meanwhile
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += path.read_text(encoding="utf-8").startswith(POOL)
    return found or None


def _preallocates() -> bool:
    """JAX takes three quarters of a GPU's memory at its first operation, unless told otherwise."""
    return os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "true").lower() not in ("false", "0")
