"""What puts a Kineto trace in doubt: causality between launches and device work, and what the profiler says it lost."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.ingest.coded import Coded
from toolkit.ingest.columns import UNTOLD, Ns
from toolkit.ingest.kineto_tables import KINDS, Timed
from toolkit.ingest.trust import Causality, Finding

_DROPPED = re.compile(r"\bdropped\s+(\d{1,18})|\b(\d{1,18})\s+(?:\w+\s+){1,3}dropped", re.IGNORECASE)
_STOPPED_EARLY = re.compile(r"stopped early\? = [1-9]")
_LAUNCHES_KERNEL = re.compile(r"launch\w*kernel", re.IGNORECASE)
_LEFT_OUT = {
    "malformed_events": "{} events hold a field of a wrong type, which is left out.",
    "unusable_start": "{} events tell no usable start and are left out.",
    "unusable_duration": "{} events tell no usable duration and count as lasting nothing.",
    "unusable_allocation": "{} memory events tell no moment or no size and are left out.",
}
_IS_LAUNCH = np.array([kind == "launch" for kind in KINDS])
_IS_WORK = np.array([kind in {"kernel", "memcpy", "memset"} for kind in KINDS])


class Calls(NamedTuple):
    """Launches and device work that name a correlation, where they start, and which launches must have a kernel.

    Copies and sets of no bytes run nothing on the device, so only launches of kernels must find their work.
    """

    launches: Ns
    launched_ns: Ns
    of_kernels: npt.NDArray[np.bool_]
    work: Ns
    worked_ns: Ns


def calls(timed: Timed, names: Coded, correlation: Ns) -> Calls:
    """The calls of runtime and driver, and kernels, copies and sets, among spans."""
    known = correlation != UNTOLD
    launches = np.flatnonzero(_IS_LAUNCH[timed.kinds] & known)
    work = np.flatnonzero(_IS_WORK[timed.kinds] & known)
    of_kernels = names.answers(launches, _launches_kernel) == 1
    return Calls(correlation[launches], timed.ts_ns[launches], of_kernels, correlation[work], timed.ts_ns[work])


def _launches_kernel(name: str) -> bool:
    """Whether a runtime or driver call of this name puts a kernel on the device."""
    return bool(_LAUNCHES_KERNEL.search(name))


def note(causality: Causality, calls: Calls) -> None:
    """Notes them."""
    causality.launched(calls.launches, calls.launched_ns, calls.of_kernels)
    causality.worked(calls.work, calls.worked_ns)


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
