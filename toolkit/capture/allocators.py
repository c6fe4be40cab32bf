"""The settings of a GPU's allocator as variables of the worker's environment, which frameworks read as they start.

Nothing is set where nothing was asked for: what the caller exported then holds, and is recorded.
"""

from toolkit.spec import RunSpec

# PyTorch: CUDA semantics, "Optimizing memory usage with PYTORCH_ALLOC_CONF". TensorFlow: Use a GPU, "Limiting GPU
# memory growth", and gpu_process_state.cc. JAX: "GPU memory allocation".
_PYTORCH = {"expandable_segments": "expandable_segments:True", "cuda_malloc_async": "backend:cudaMallocAsync"}
_VARIABLES = {
    ("tf", "growth"): {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "TF_GPU_ALLOCATOR": ""},
    ("tf", "cuda_malloc_async"): {"TF_GPU_ALLOCATOR": "cuda_malloc_async"},
    ("jax", "growth"): {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_ALLOCATOR": "default"},
    ("jax", "preallocate"): {"XLA_PYTHON_CLIENT_PREALLOCATE": "true", "XLA_PYTHON_CLIENT_ALLOCATOR": "default"},
}


def variables(spec: RunSpec) -> dict[str, str]:
    """What the worker's environment must say."""
    if spec.framework != "torch":
        return _VARIABLES.get((spec.framework, spec.allocator), {})
    wanted = [_PYTORCH[spec.allocator]] if spec.allocator in _PYTORCH else []
    wanted += [f"max_split_size_mb:{spec.max_split_size_mb}"] if spec.max_split_size_mb else []
    # the older name too, or what the caller exported under it would hold in part
    return dict.fromkeys(("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"), ",".join(wanted)) if wanted else {}
