"""Which of the errors that frameworks raise say that memory ran out."""

KINDS = frozenset({"MemoryError", "OutOfMemoryError", "ResourceExhaustedError"})
# PyTorch's RuntimeError of the host's allocator, the kernel's ENOMEM, TensorFlow's, JAX's of XLA, cuBLAS's and others.
WORDS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "oom when allocating", "resource_exhausted",
    "status_alloc_failed",
)  # fmt: skip
LONGEST = 300


def out_of_memory(error: BaseException) -> bool:
    """PyTorch raises OutOfMemoryError or names it in a RuntimeError, TensorFlow ResourceExhaustedError, NumPy its own.

    JAX raises a JaxRuntimeError with XLA's status in its message.
    """
    return any(kind.__name__ in KINDS for kind in type(error).__mro__) or any(
        words in str(error).lower() for words in WORDS
    )


def line(error: BaseException) -> str:
    """Kind and message on one line, not too long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST]}"
