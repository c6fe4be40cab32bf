"""What TensorFlow tells of a process of its own, whatever that trains: profiler, waiting, memory, versions."""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from toolkit.capture.record import Recorder
from toolkit.capture.workload import ProfilerOptions
from toolkit.capture.workloads import tf32
from toolkit.capture.workloads.step_profiler import StepProfiler

HOST_TRACER_LEVEL = 2


def device() -> str:
    """The device that TensorFlow would compute on where it may: cuda where it finds a GPU."""
    return "cuda" if tf.config.get_visible_devices("GPU") else "cpu"


class Process:
    """TensorFlow in this process, computing on `device`, cpu or cuda; fulfils `Framework`."""

    def __init__(self, device: str) -> None:
        self.device = device

    def facts(self) -> dict[str, Any]:
        """Versions and settings read back from TensorFlow."""
        built = tf.sysconfig.get_build_info()
        allowed = tf.config.experimental.tensor_float_32_execution_enabled() and tf32.has(capability(self.device))
        return {
            "framework": "tf",
            "versions": {"tensorflow": tf.__version__, "numpy": np.__version__}
            | {"cuda": built.get("cuda_version"), "cudnn": built.get("cudnn_version")},
            "device": self.device,
            "device_name": _gpu_details().get("device_name") if self.device == "cuda" else None,
            "threads": _threads(),
            "tf32_matmul": allowed,
            "tf32_conv": allowed,
        }

    def compiled(self) -> bool:
        """Never: TensorFlow does not tell when it traces or compiles a function that it was not asked about."""
        return False

    def sync(self) -> None:
        """Waits for the GPU; the CPU is never behind."""
        if self.device == "cuda":
            tf.test.experimental.sync_devices()

    def report_memory(self, record: Recorder) -> None:
        """The GPU allocator's counters; TensorFlow counts no host memory, and does not tell what it has reserved."""
        if self.device == "cpu":
            record.unavailable("tf", "cpu", "allocator", "TensorFlow keeps no counters for its CPU allocator")
            return
        figures = tf.config.experimental.get_memory_info("GPU:0")
        record.counter("tf", "0", "in_use", figures["current"], "B")
        record.counter("tf", "0", "peak_in_use", figures["peak"], "B")
        for metric in ("reserved", "peak_reserved", "growth_events", "largest_free", "fragmentation"):
            record.unavailable("tf", "0", metric, "tf.config.experimental.get_memory_info does not tell it")

    def annotate(self, name: str) -> AbstractContextManager[Any]:
        """A TraceMe."""
        return tf.profiler.experimental.Trace(name)

    def window(self, options: ProfilerOptions, folder: Path, *, steps: int) -> StepProfiler:
        """tf.profiler over `steps` steps, writing where TensorBoard's plugin looks."""
        levels = tf.profiler.experimental.ProfilerOptions(
            host_tracer_level=_Level(HOST_TRACER_LEVEL),
            python_tracer_level=_Level(options.profile_stacks),
            device_tracer_level=_Level(1),
            delay_ms=_Level(0),
        )
        return StepProfiler(
            steps,
            start=lambda: tf.profiler.experimental.start(str(folder), levels),
            stop=tf.profiler.experimental.stop,
            step=lambda name, number: tf.profiler.experimental.Trace(name, step_num=number, _r=1),
        )


class _Level:
    """An integer option as TensorFlow 2.21 takes it.

    Its binding tries every value as a bool first, which an int can be, and then ignores the option with a warning that
    it "expects an i value". This cannot be taken for a bool.
    """

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


def capability(device: str) -> tf32.Capability | None:
    """The GPU's compute capability; None on a processor, and where TensorFlow does not tell it."""
    return _gpu_details().get("compute_capability") if device == "cuda" else None


def _threads() -> int:
    """TensorFlow answers 0 where it takes what the environment says, else as many as the process may use."""
    told, asked = tf.config.threading.get_intra_op_parallelism_threads(), os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return told or (int(asked) if asked.isdecimal() else 0) or len(os.sched_getaffinity(0))


def _gpu_details() -> dict[str, Any]:
    return tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
