"""Columns as arrays of pyarrow, which is imported through here: so it does not import pandas."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from toolkit.ingest.coded import Coded

__all__ = ["array_of", "numbered", "numbered_texts", "pa", "texts_of"]


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


def array_of(column: Coded, type_: pa.DataType) -> pa.Array:
    """The column itself."""
    return pa.array(column.values, type_).take(pa.array(column.codes))


def texts_of(column: Coded) -> pa.DictionaryArray:
    """The column itself, of texts; NULL where one is None."""
    return numbered_texts(column.codes, column.values)


def numbered_texts(numbers: npt.NDArray[Any], texts: Sequence[str | None]) -> pa.DictionaryArray:
    """The text of each number as a column; NULL where that is None."""
    known = np.array([text is not None for text in texts], dtype=bool)
    return numbered(numbers, pa.array([text or "" for text in texts], pa.string()), known[numbers])


def numbered(
    numbers: npt.NDArray[Any], texts: pa.StringArray, known: npt.NDArray[np.bool_] | None = None
) -> pa.DictionaryArray:
    """The text of each number as a column; NULL where it is not known."""
    masked = None if known is None or known.all() else ~known
    return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32), mask=masked), texts)
