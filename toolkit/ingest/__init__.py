"""raw/ or anyone's trace -> one clock, one schema: one file a format."""

import os
import sys
from importlib.abc import MetaPathFinder

# NumPy's linear algebra, which nothing here uses, else starts a thread a core that spins while a trace is read.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pyarrow as pa  # imports NumPy


class _NoPandas(MetaPathFinder):
    """Finds no pandas, and leaves everything else to the others."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ImportError(fullname)


def _spare_pandas() -> None:
    """Answers pyarrow's one question whether pandas is there, which it asks by importing it, with no.

    It asks when it first converts anything, and the import takes longer than reading a small trace. Nothing here hands
    pyarrow a pandas object; whoever asks it to make one (`to_pandas`) still gets pandas imported.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(finder)


_spare_pandas()
