"""What puts an XPlane trace in doubt: what its profiler says it lost, causality between launches and device work."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from toolkit.ingest.arrays import pa
from toolkit.ingest.trust import Causality, Finding
from toolkit.ingest.xplane_clock import Int64s
from toolkit.ingest.xplane_events import Bools
from toolkit.ingest.xplane_names import KERNEL, LAUNCH, MEMCPY, MEMSET, launches_kernel
from toolkit.ingest.xplane_rows import Slices

LONGEST_QUOTE = 200

_DROPPED = re.compile(r"drop", re.IGNORECASE)
_COUNT = re.compile(r"\b\d{1,15}\b")


def told_by_profiler(errors: Sequence[str], warnings: Sequence[str]) -> Iterator[Finding]:
    """What the profiler itself wrote into the trace; a message about dropped events gives their number, if any."""
    for text in errors:
        yield Finding("profiler_error", 1, f"The profiler reports an error: {_quoted(text)}")
    for text in warnings:
        if _DROPPED.search(text):
            count = sum(int(number) for number in _COUNT.findall(text)[:1]) or 1
            yield Finding("dropped_events", count, f"The profiler lost events: {_quoted(text)}")
        else:
            yield Finding("profiler_warning", 1, f"The profiler warns: {_quoted(text)}", untrusted=False)


def _quoted(text: str) -> str:
    return repr(text[:LONGEST_QUOTE])


def launched(causality: Causality, slices: Slices) -> None:
    """Notes the launches among a thread's slices."""
    places, correlations, ts_ns = _told(slices, slices.kinds == LAUNCH)
    names = slices.batch.codes[places]
    causality.launched(correlations, ts_ns, slices.batch.plane.by_name(launches_kernel, names) == 1)


def worked(causality: Causality, slices: Slices) -> None:
    """Notes kernels, copies and sets among a stream's slices."""
    _, correlations, ts_ns = _told(slices, np.isin(slices.kinds, (KERNEL, MEMCPY, MEMSET)))
    causality.worked(correlations, ts_ns)


def _told(slices: Slices, wanted: Bools) -> tuple[Int64s, Int64s, Int64s]:
    """Which of the wanted slices name a correlation; their correlations and starts."""
    places = np.flatnonzero(wanted)
    correlations = slices.correlation.take(pa.array(places))
    known = np.asarray(correlations.is_valid())
    return places[known], np.asarray(correlations.drop_null()), slices.batch.start_ns[places[known]]
