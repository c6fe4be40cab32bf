"""What puts a trace of any format in doubt: findings, and causality between launches and device work."""

from array import array
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Launches and work are compared in as many shares of their correlations, a power of two: it takes less memory.
SHARES = 1 << 4


class Finding(Struct, frozen=True):
    """A row of `warnings` but for its trace and pass; one with a count of 0 is none."""

    code: str
    count: int
    message: str
    untrusted: bool = True


class Causality:
    """Gathers launches and device work while a trace is read, 16 bytes each, and compares them at the end."""

    def __init__(self) -> None:
        # array grows in place; lists of small arrays would leave the heap in pieces, and have to be joined
        self._launches, self._launched_ns, self._kernel_launches = array("q"), array("q"), array("q")
        self._work, self._worked_ns = array("q"), array("q")

    def launched(self, correlations: Int64s, ts_ns: Int64s, of_kernels: Bools) -> None:
        """Notes launches with their starts, and which of them put a kernel on the device."""
        self._launches.frombytes(correlations.tobytes())
        self._launched_ns.frombytes(ts_ns.tobytes())
        self._kernel_launches.frombytes(correlations[of_kernels].tobytes())

    def worked(self, correlations: Int64s, ts_ns: Int64s) -> None:
        """Notes kernels, copies and sets with their starts."""
        self._work.frombytes(correlations.tobytes())
        self._worked_ns.frombytes(ts_ns.tobytes())

    def findings(self) -> Iterator[Finding]:
        """Work before its first launch, launches without their kernel, work without its launch."""
        launches, launched_ns, kernels = _ns(self._launches), _ns(self._launched_ns), _ns(self._kernel_launches)
        work, worked_ns = _ns(self._work), _ns(self._worked_ns)
        early = lost = alone = 0
        for share in range(SHARES):
            own, called = work & (SHARES - 1) == share, launches & (SHARES - 1) == share
            order = np.lexsort((launched_ns[called], launches[called]))
            places, found = _places(launches[called][order], work[own])
            early += int(np.count_nonzero(worked_ns[own][found] < launched_ns[called][order][places[found]]))
            alone += int(np.count_nonzero(~found))
            lost += int(np.count_nonzero(~_places(np.sort(work[own]), kernels[kernels & (SHARES - 1) == share])[1]))
        yield Finding("clock_violation", early, f"{early} device slices start before the call that launched them.")
        yield Finding("unmatched_launch", lost, f"{lost} kernel launches have no kernel in the trace.")
        message = f"{alone} device slices were launched by no call in the trace, most likely before it began."
        yield Finding("unlaunched_work", alone if len(launches) else 0, message, untrusted=False)


def _ns(numbers: "array[int]") -> Int64s:
    return np.frombuffer(numbers, dtype=np.int64)


def _places(ordered: Int64s, wanted: Int64s) -> tuple[npt.NDArray[np.intp], Bools]:
    """Where each wanted value first stands among the ordered ones, and whether it does."""
    places = np.searchsorted(ordered, wanted)
    found = places < len(ordered)
    found[found] = ordered[places[found]] == wanted[found]
    return places, found
