"""What the JAX workload is put together from beside Keras: batches by NumPy, JAX's settings."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax
import keras
import numpy as np
from keras.src.backend.common import dtypes
from numpy.typing import NDArray

from toolkit.capture.description import Section
from toolkit.capture.workloads import jax_process, tf32
from toolkit.capture.workloads.data import Scaling, Split, order
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import RunSpec

Batch = tuple[NDArray[np.float32], NDArray[np.int32]]

# jax_default_matmul_precision by our names. JAX's own default, None, leaves it to XLA, which takes TF32 where it can.
PRECISIONS = {"tf32": "tensorfloat32", "fp32": "float32", "fp64": "float32", "bf16": "float32"}


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
    tf32.check(spec, jax_process.capability(device))


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
