"""Hardware, driver and version facts. Never environment variables wholesale: they carry people's secrets."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from toolkit.capture.cgroups import Group

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - looked at, never written
# The settings that change what a framework does; nothing else of the environment is recorded.
RECORDED_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "KMP_AFFINITY",
    "MKL_NUM_THREADS",
    "NPROC",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_CLIENT_MEM_FRACTION",
    "XLA_FLAGS",
    "XLA_PYTHON_CLIENT_ALLOCATOR",
    "XLA_PYTHON_CLIENT_MEM_FRACTION",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
)


def facts() -> dict[str, Any]:
    """What this process runs on."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        **resources(),
        "environment": {name: os.environ[name] for name in RECORDED_VARIABLES if name in os.environ},
    }


def installed(package: str) -> str | None:
    """The version of a package that is installed here."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def resources() -> dict[str, Any]:
    """Processors that this process may use, and the limits of its control group; None: no limit, or none that shows."""
    group = Group()
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cgroup": group.limits()._asdict() | {"version": group.version},
        "shm_bytes": _shm_bytes(),
    }


def _shm_bytes() -> int | None:
    try:
        return shutil.disk_usage(SHARED_MEMORY).total
    except OSError:
        return None


def _cpu_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
