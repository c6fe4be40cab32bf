"""What puts an XPlane trace in doubt: what its profiler says it lost, causality between launches and device work."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from toolkit.ingest.xplane_clock import Int64s
from toolkit.ingest.xplane_events import Bools
from toolkit.ingest.xplane_names import KERNEL, LAUNCH, MEMCPY, MEMSET, launches_kernel
from toolkit.ingest.xplane_rows import Slices

LONGEST_QUOTE = 200

_DROPPED = re.compile(r"drop", re.IGNORECASE)
_COUNT = re.compile(r"\b\d{1,15}\b")


@dataclass(frozen=True)
class Finding:
    """A row of `warnings` but for its trace and pass."""

    code: str
    count: int
    message: str
    untrusted: bool


class Calls(NamedTuple):
    """Launches, or device work: correlation, start, and whether a kernel must follow."""

    correlation: Int64s
    ts_ns: Int64s
    kernel: Bools


class Causality:
    """Gathers launches and device work while a trace is read, 17 bytes each, and compares them at the end."""

    def __init__(self) -> None:
        self._launches: list[Calls] = []
        self._work: list[Calls] = []

    def launched(self, slices: Slices) -> None:
        """Notes the launches among a thread's slices."""
        self._launches.append(_calls(slices, (LAUNCH,)))

    def worked(self, slices: Slices) -> None:
        """Notes kernels, copies and sets among a stream's slices."""
        self._work.append(_calls(slices, (KERNEL, MEMCPY, MEMSET)))

    def findings(self) -> Iterator[Finding]:
        """Work before its launch, launches without their work, work without its launch."""
        launches, work = _joined(self._launches), _joined(self._work)
        order = np.lexsort((launches.ts_ns, launches.correlation))
        ids = launches.correlation[order]
        if not len(ids):
            return
        place = np.minimum(np.searchsorted(ids, work.correlation), len(ids) - 1)
        found = ids[place] == work.correlation
        early = int(np.count_nonzero(found & (work.ts_ns < launches.ts_ns[order][place])))
        message = f"{early} device slices start before the call that launched them."
        yield Finding("clock_violation", early, message, untrusted=True)
        lost = int(np.count_nonzero(launches.kernel & ~np.isin(launches.correlation, work.correlation)))
        yield Finding("unmatched_launch", lost, f"{lost} kernel launches have no kernel in the trace.", untrusted=True)
        alone = int(np.count_nonzero(~found))
        message = f"{alone} device slices were launched by no call in the trace, most likely before it began."
        yield Finding("unlaunched_work", alone, message, untrusted=False)


def told_by_profiler(errors: Sequence[str], warnings: Sequence[str]) -> Iterator[Finding]:
    """What the profiler itself wrote into the trace; a message about dropped events gives their number, if any."""
    for text in errors:
        yield Finding("profiler_error", 1, f"The profiler reports an error: {_quoted(text)}", untrusted=True)
    for text in warnings:
        if _DROPPED.search(text):
            count = sum(int(number) for number in _COUNT.findall(text)[:1]) or 1
            yield Finding("dropped_events", count, f"The profiler lost events: {_quoted(text)}", untrusted=True)
        else:
            yield Finding("profiler_warning", 1, f"The profiler warns: {_quoted(text)}", untrusted=False)


def _quoted(text: str) -> str:
    return repr(text[:LONGEST_QUOTE])


def _calls(slices: Slices, kinds: Sequence[int]) -> Calls:
    """Those slices of `kinds` that name a correlation."""
    known = slices.correlation.is_valid().to_numpy(zero_copy_only=False)
    chosen = np.isin(slices.kinds, kinds) & known
    correlation = slices.correlation.fill_null(0).to_numpy()[chosen]
    kernel = slices.batch.by_name(launches_kernel)[chosen] == 1
    return Calls(correlation, slices.batch.start_ns()[chosen], kernel)


def _joined(calls: Sequence[Calls]) -> Calls:
    none = Calls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    return Calls(*(np.concatenate(column) for column in zip(none, *calls, strict=True)))
