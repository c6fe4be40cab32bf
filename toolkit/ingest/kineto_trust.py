"""What puts a Kineto trace in doubt: causality between launches and device work, and what the profiler says it lost."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from toolkit.ingest.columns import Ns
from toolkit.ingest.kineto_tables import KINDS, Timed

Flags = npt.NDArray[np.bool_]

# Copies and sets of no bytes run nothing on the device, so only launches of kernels must find their work.
_LAUNCHES_KERNEL = re.compile(r"launch\w*kernel", re.IGNORECASE)
_DROPPED = re.compile(r"\bdropped\s+(\d{1,18})|\b(\d{1,18})\s+(?:\w+\s+){1,3}dropped", re.IGNORECASE)
_STOPPED_EARLY = re.compile(r"stopped early\? = [1-9]")
_LEFT_OUT = {
    "malformed_events": "{} events hold a field of a wrong type, which is left out.",
    "unusable_start": "{} events tell no usable start and are left out.",
    "unusable_duration": "{} events tell no usable duration and count as lasting nothing.",
    "unusable_allocation": "{} memory events tell no moment or no size and are left out.",
}


class Finding(Struct, frozen=True):
    """A row of `warnings` but for its trace and pass; one with a count of 0 is none."""

    code: str
    count: int
    message: str
    untrusted: bool = True


class Calls(NamedTuple):
    """Launches, or device work: correlation, start, and whether its name is that of a kernel launch."""

    correlation: Ns
    ts_ns: Ns
    kernel: Flags


_IS_LAUNCH = np.array([kind == "launch" for kind in KINDS])
_IS_WORK = np.array([kind in {"kernel", "memcpy", "memset"} for kind in KINDS])
_NO_CALLS = Calls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool))


class Causality:
    """Gathers launches and device work while a trace is read, 17 bytes each, and compares them at the end."""

    def __init__(self) -> None:
        self._launches = [_NO_CALLS]
        self._work = [_NO_CALLS]

    def note(self, timed: Timed, correlation: pa.Int64Array) -> None:
        """Notes the calls of runtime and driver, and kernels, copies and sets, that name a correlation."""
        correlations, named = np.asarray(correlation.fill_null(0)), np.asarray(correlation.is_valid())
        launches = np.flatnonzero(_IS_LAUNCH[timed.codes] & named)
        of_kernels = [launches_kernel(timed.spans[place].name) for place in launches.tolist()]
        self._launches.append(Calls(correlations[launches], timed.ts_ns[launches], np.array(of_kernels, dtype=bool)))
        work = np.flatnonzero(_IS_WORK[timed.codes] & named)
        self._work.append(Calls(correlations[work], timed.ts_ns[work], np.zeros(len(work), dtype=bool)))

    def findings(self) -> Iterator[Finding]:
        """Work before its launch, launches without their kernel, work without its launch."""
        launches, work = _joined(self._launches), _joined(self._work)
        if not len(launches.correlation):
            return
        order = np.argsort(launches.correlation, kind="stable")
        sorted_ids = launches.correlation[order]
        place = np.minimum(np.searchsorted(sorted_ids, work.correlation), len(sorted_ids) - 1)
        found = sorted_ids[place] == work.correlation
        early = int(np.count_nonzero(found & (work.ts_ns < launches.ts_ns[order][place])))
        yield Finding("clock_violation", early, f"{early} device slices start before the call that launched them.")
        lost = int(np.count_nonzero(launches.kernel & ~np.isin(launches.correlation, work.correlation)))
        yield Finding("unmatched_launch", lost, f"{lost} kernel launches have no kernel in the trace.")
        alone = len(found) - int(np.count_nonzero(found))
        message = f"{alone} device slices were launched by no call in the trace, most likely before it began."
        yield Finding("unlaunched_work", alone, message, untrusted=False)


def dropped_events(metadata: Mapping[str, Any]) -> Iterator[Finding]:
    """What the profiler's own log, which it keeps in the trace's metadata, says about records that it lost."""
    lines = [line for value in metadata.values() if isinstance(value, list) for line in value if isinstance(line, str)]
    dropped = sum(int(first or second) for line in lines for first, second in _DROPPED.findall(line))
    yield Finding("dropped_events", dropped, f"The profiler says that it dropped {dropped} records.")
    stopped = sum(1 for line in lines if _STOPPED_EARLY.search(line))
    yield Finding("stopped_early", stopped, "The profiler says that it stopped early, its buffers being full.")


def no_events(events: int) -> Finding:
    """A trace that holds nothing at all."""
    return Finding("no_events", int(not events), "The trace holds no event.")


def missing_kernels(kinds: Mapping[str, int], *, device_memory: bool) -> Iterator[Finding]:
    """A trace that used a GPU, by its calls or memory, yet holds no kernel."""
    signs = sum(kinds[kind] for kind in ("launch", "memcpy", "memset", "sync", "device_annotation"))
    if not kinds["kernel"] and (signs or device_memory):
        message = "A GPU was used, but the trace holds no kernel: the profiler did not record the device."
        yield Finding("no_kernels", max(signs, 1), message)


def left_out(counts: Mapping[str, int]) -> Iterator[Finding]:
    """Events that were not read, or not wholly, by what was wrong with them."""
    for code, message in _LEFT_OUT.items():
        yield Finding(code, counts.get(code, 0), message.format(counts.get(code, 0)))


def not_analysed(count: int, categories: Collection[str]) -> Finding:
    """Events of categories that the store has no kind for."""
    names = ", ".join(f"{category!r:.40}" for category in sorted(categories))
    message = f"{count} events are of categories that are not analysed: {names}."
    return Finding("other_categories", count, message, untrusted=False)


@lru_cache(maxsize=4096)
def launches_kernel(name: str) -> bool:
    """Whether a runtime or driver call of this name puts a kernel on the device."""
    return bool(_LAUNCHES_KERNEL.search(name))


def _joined(calls: Sequence[Calls]) -> Calls:
    return Calls(*(np.concatenate(column) for column in zip(*calls, strict=True)))
