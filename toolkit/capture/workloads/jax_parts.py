"""What the JAX workload is put together from beside Keras: batches by NumPy, JAX's profiler, its settings and facts."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from keras.src.backend.common import dtypes
from numpy.typing import NDArray

from toolkit.capture.description import Section
from toolkit.capture.record import Recorder
from toolkit.capture.workloads import tf32
from toolkit.capture.workloads.data import Scaling, Split, order
from toolkit.capture.workloads.step_profiler import StepProfiler
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import RunSpec

Batch = tuple[NDArray[np.float32], NDArray[np.int32]]

HOST_TRACER_LEVEL = 2
# What is alive at the window's end, by Python stack.
MEMORY_PROFILE = "memory.prof"
COMPILED = "/jax/core/compile/backend_compile_duration"
# Names of XLA's own threads for computation, as the kernel cuts them off.
POOL = "tf_XLAEigen"
# jax_default_matmul_precision by our names. JAX's own default, None, leaves it to XLA, which takes TF32 where it can.
PRECISIONS = {"tf32": "tensorfloat32", "fp32": "float32", "fp64": "float32", "bf16": "float32"}
# memory_stats() by our names. `bytes_reserved` there is set aside within the pool; the pool is what the device gave.
MEMORY = {
    "in_use": "bytes_in_use",
    "peak_in_use": "peak_bytes_in_use",
    "reserved": "pool_bytes",
    "peak_reserved": "peak_pool_bytes",
    "largest_free": "largest_free_block_bytes",
}


class Batches(keras.utils.PyDataset):
    """Batches of scaled float32 images [n, size, size, 3] and int32 labels [n], made in the thread that asks.

    `fetching()` is held around the making of each.
    """

    def __init__(self, split: Split, scaling: Scaling, spec: RunSpec) -> None:
        super().__init__()
        self._split = split
        self._scaling = scaling
        self._spec = spec
        self._indices = np.arange(split.samples)
        self.fetching: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext

    def epoch(self, number: int) -> "Batches":
        """Itself, from here on in the order of epoch `number`."""
        self._indices = order(self._spec, number, self._split.samples)
        return self

    def __len__(self) -> int:
        return math.ceil(self._split.samples / self._spec.batch)

    def __getitem__(self, index: int) -> Batch:
        size = self._spec.batch
        with self.fetching():
            places = self._indices[index * size : (index + 1) * size] % len(self._split.labels)
            images = self._split.images[places] * self._scaling.scale - self._scaling.shift
            # JAX keeps no 64-bit numbers unless it is told to.
            return images, self._split.labels[places].astype(np.int32)

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))


def pipeline(batches: keras.utils.PyDataset, spec: RunSpec, *, fitted: bool) -> Section:
    """Options of Keras's data set, which `fit` fills a queue from where it has workers beside the loop's own thread."""
    queued = fitted and (batches.workers > 1 or (batches.workers > 0 and batches.use_multiprocessing))
    return {
        "made by": "Keras's PyDataset in the loop's thread",
        "batch": spec.batch,
        "worker processes": batches.workers if queued and batches.use_multiprocessing else 0,
        "prefetched batches": batches.max_queue_size if queued else 0,
        "last part batch dropped": False,
        "shuffled by the loader": False,
    }


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


def configure(spec: RunSpec, device: str) -> None:
    """Settles platform, threads, precision and caches, before JAX first looks for devices.

    Raises HwprofError where a GPU was asked for and JAX cannot use it.
    """
    for name, value in _settings(spec, device).items():
        jax.config.update(name, value)
    if spec.precision == "fp64":
        # On JAX, Keras 3.15.1 has its means and batch norms in float32 whatever they are given, by this table.
        dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    if spec.threads:
        _limit_threads(spec.threads)
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        # Where it sees no device file, JAX 0.10.2 asserts, without a word.
        reason = " ".join(str(error).split())[:200] or "it finds no device of NVIDIA's"
        raise HwprofError(
            f"JAX {jax.__version__} cannot use the GPU that the driver shows: {reason}.",
            remedy="See `nvidia-smi` for the driver's CUDA version, or use device=cpu.",
            exit_code=FAILED,
        ) from error
    tf32.check(spec, capability(device))


def _settings(spec: RunSpec, device: str) -> dict[str, Any]:
    # Nothing compiled is to come from another process.
    settings: dict[str, Any] = {"jax_platforms": device, "jax_enable_compilation_cache": False}
    if spec.threads == 1:
        # Else the computation runs beside the thread that prepares the next batch.
        settings["jax_cpu_enable_async_dispatch"] = False
    if spec.precision != "auto":
        settings["jax_enable_x64"] = spec.precision == "fp64"
        settings["jax_default_matmul_precision"] = PRECISIONS[spec.precision]
    return settings


def _limit_threads(threads: int) -> None:
    """XLA takes the size of its pool from NPROC, and compiles in as many threads as it splits a module for."""
    os.environ["NPROC"] = str(threads)
    flag = f"--xla_cpu_parallel_codegen_split_count={threads}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()


def profiler(spec: RunSpec, folder: Path) -> StepProfiler:
    """jax.profiler by the spec's options, writing where TensorBoard's plugin looks."""
    options = jax.profiler.ProfileOptions()
    options.host_tracer_level = HOST_TRACER_LEVEL
    options.python_tracer_level = int(spec.profile_stacks)

    def stop() -> None:
        jax.profiler.stop_trace()
        if spec.profile_memory:
            jax.profiler.save_device_memory_profile(folder / MEMORY_PROFILE)
        # The same events once more, as JSON and cut off at a million.
        for path in folder.glob("plugins/profile/*/*.trace.json.gz"):
            path.unlink()

    return StepProfiler(
        spec.profile_steps,
        start=lambda: jax.profiler.start_trace(folder, profiler_options=options),
        stop=stop,
        step=lambda name, number: jax.profiler.StepTraceAnnotation(name, step_num=number),
    )


def report_memory(record: Recorder) -> None:
    """What the first device's allocator counts; on a CPU it counts nothing, and the arrays that live are summed."""
    device = jax.devices()[0]
    figures = device.memory_stats()
    if figures is None:
        reason = f"JAX tells nothing of this device's memory ({device.platform}: memory_stats() is None)"
        record.unavailable("jax", device.platform, "allocator", reason)
        record.counter("jax", device.platform, "live_arrays", sum(array.nbytes for array in jax.live_arrays()), "B")
        return
    record.unavailable("jax", "0", "growth_events", "memory_stats() does not count them")
    for metric, key in MEMORY.items():
        if key in figures:
            record.counter("jax", "0", metric, figures[key], "B")
        else:
            record.unavailable("jax", "0", metric, f"memory_stats() has no {key}")


def facts(device: str) -> dict[str, Any]:
    """Versions and settings read back from JAX and the process."""
    first = jax.devices()[0]
    precision = jax.config.jax_default_matmul_precision
    allowed = allows_tf32() and tf32.has(capability(device))
    return {
        "framework": "jax",
        "versions": {name: version(name) for name in ("jax", "jaxlib", "keras", "numpy")}
        | {"cuda": _installed("nvidia-cuda-runtime"), "cudnn": _installed("nvidia-cudnn-cu13")},
        "device": device,
        "device_name": first.device_kind if device == "cuda" else None,
        "platform": first.platform,
        "platform_version": first.client.platform_version,
        "threads": _pool_threads(),
        "async_dispatch": device == "cuda" or jax.config.read("jax_cpu_enable_async_dispatch"),
        "x64": jax.config.jax_enable_x64,
        "default_matmul_precision": precision,
        "tf32_matmul": allowed,
        "tf32_conv": allowed,
        "compilation_cache": jax.config.jax_enable_compilation_cache,
        "preallocate": _preallocates() if device == "cuda" else None,
        "input_pipeline": "NumPy in the loop's own thread, nothing prefetched by it",
    }


def allows_tf32() -> bool:
    """Whether JAX lets float32 products be TF32 where the device has it; XLA takes it where nothing is said."""
    return jax.config.jax_default_matmul_precision in (None, "default", "fastest", "tensorfloat32")


def capability(device: str) -> tf32.Capability | None:
    """The GPU's compute capability; None on a processor."""
    if device != "cuda":
        return None
    major, _, minor = jax.devices()[0].compute_capability.partition(".")
    return int(major), int(minor)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _pool_threads() -> int | None:
    """XLA's threads for computation that this process has; None where none goes by their name."""
    names = [path.read_text(encoding="utf-8").strip() for path in Path("/proc/self/task").glob("*/comm")]
    return sum(name.startswith(POOL) for name in names) or None


def _preallocates() -> bool:
    """JAX takes three quarters of a GPU's memory at its first operation, unless told otherwise."""
    return os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "true").lower() not in ("false", "0")
