"""The names in a Kineto trace. Millions of events share some hundred of them, so what a name says is asked once."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from toolkit.ingest import kineto_work
from toolkit.ingest.categories import CATEGORIES, kernel_category
from toolkit.ingest.columns import Answers, Codes, Numbering, numbered

# A hostile trace may name every event anew.
MOST_NAMES, MOST_LETTERS = 1 << 15, 1 << 22

CATEGORY_TEXTS = pa.array(CATEGORIES, pa.string())
_LAUNCHES_KERNEL = re.compile(r"launch\w*kernel", re.IGNORECASE)


def launches_kernel(name: str) -> bool:
    """Whether a runtime or driver call of this name puts a kernel on the device."""
    return bool(_LAUNCHES_KERNEL.search(name))


class Names:
    """Names numbered as they come, and what rules say of them."""

    def __init__(self) -> None:
        self._numbering = Numbering[str]()
        self._texts = pa.array([], pa.string())
        self._categories = Answers(lambda name: CATEGORIES.index(kernel_category(name)), self._numbering)
        self._launches = Answers(launches_kernel, self._numbering)
        self._worked = Answers(kineto_work.is_known, self._numbering)

    def numbers(self, names: Sequence[str]) -> Codes:
        """The number of each name."""
        numbers = self._numbering.of(names)
        if fresh := self._numbering.distinct[len(self._texts) :]:
            self._texts = pa.concat_arrays([self._texts, pa.array(fresh, pa.string())])
        return numbers

    @property
    def many(self) -> bool:
        """Whether to begin anew, so that memory stays bounded."""
        return len(self._texts) > MOST_NAMES or self._texts.nbytes > MOST_LETTERS

    def texts(self, numbers: Codes) -> pa.DictionaryArray:
        """The names of these numbers."""
        return numbered(numbers, self._texts)

    def categories(self, numbers: Codes) -> npt.NDArray[np.int8]:
        """Each kernel's category, as an index into CATEGORIES."""
        return self._categories.of(numbers)

    def worked(self, numbers: Codes) -> npt.NDArray[np.bool_]:
        """Which operators are such that their inputs' shapes tell their FLOPs."""
        return self._worked.of(numbers).astype(bool)

    def launch_kernels(self, numbers: Codes) -> npt.NDArray[np.bool_]:
        """Which calls put a kernel on the device."""
        return self._launches.of(numbers).astype(bool)
