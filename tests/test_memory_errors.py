"""Which errors say that memory ran out, by their kinds and words."""

import errno
import os

import pytest

from toolkit.capture.memory_errors import out_of_memory


@pytest.mark.parametrize(
    ("error", "for_memory"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), False),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), False),
    ],
    ids=str,
)
def test_memory_that_ran_out_is_told_from_other_errors(error: Exception, *, for_memory: bool) -> None:
    """The processor's and the GPU's alike; a full disk is another matter."""
    assert out_of_memory(error) == for_memory
