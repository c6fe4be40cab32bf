"""Takes XPlane planes into the store, line by line, and keeps count of what is in doubt."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import structs

from toolkit.ingest import xplane_names, xplane_rows, xplane_trust
from toolkit.ingest.store import StoreWriter
from toolkit.ingest.trust import Causality, Finding
from toolkit.ingest.xplane_clock import Clock, Int64s
from toolkit.ingest.xplane_events import Batch, Plane, batches
from toolkit.ingest.xplane_schema import parse

FORMAT = "xplane"
INT64_MAX = 2**63 - 1


class Intake:
    """Appends planes' events to the store, and at the end what there is to say about the trace as a whole."""

    def __init__(self, trace: int, pass_name: str | None, clock: Clock, store: StoreWriter) -> None:
        self._trace, self._pass_name, self._clock, self._store = trace, pass_name, clock, store
        self._causality = Causality()
        self._lines: list[dict[str, Any]] = []
        self._gpus: set[str] = set()
        self._counts: Counter[str] = Counter()

    def take(self, message: Any) -> None:
        """Appends the slices and allocations of a plane, an XPlane message."""
        plane = Plane(message)
        gpu = xplane_names.gpu_of(plane.name)
        self._gpus.update([gpu] if gpu else [])
        for content in message.lines:
            line = parse("XLine", content)
            derived = xplane_names.is_derived(plane.name, line.name)
            spans = []
            for batch in batches(plane, line.events, self._clock.origin_ns(line.timestamp_ns)):
                spans.append((batch.offset_ps, batch.duration_ps))
                if not derived:
                    self._take_batch(batch, line, gpu)
            self._note_line(plane, line, derived=derived, spans=spans)

    def _take_batch(self, batch: Batch, line: Any, gpu: str | None) -> None:
        stream = xplane_names.stream_of(line.name)
        if gpu and stream:
            work = xplane_rows.device_slices(batch)
            self._counts["kernels"] += int(np.count_nonzero(work.kinds == xplane_names.KERNEL))
            xplane_trust.worked(self._causality, work)
            self._append("slices", work.columns(), device=gpu, stream=stream)
        elif xplane_names.is_host(batch.plane.name):
            memory = xplane_rows.is_memory(batch)
            if memory.any():
                self._append("allocations", xplane_rows.allocations(batch.take(memory)))
            slices = xplane_rows.host_slices(batch.take(~memory))
            xplane_trust.launched(self._causality, slices)
            self._append("slices", slices.columns(), thread=f"{line.id}:{line.name}")
        else:
            self._counts["unread"] += len(batch)

    def _append(self, table: str, columns: Mapping[str, Any], **of_all: str) -> None:
        rows = len(columns["ts_ns"])
        texts = {"pass_name": self._pass_name, **of_all}
        repeated = {name: pa.repeat(pa.scalar(text, pa.string()), rows) for name, text in texts.items()}
        if rows:
            self._store.append(table, {**columns, **repeated, "trace": [self._trace] * rows})

    def _note_line(self, plane: Plane, line: Any, *, derived: bool, spans: Sequence[tuple[Int64s, Int64s]]) -> None:
        offset_ps, duration_ps = (np.concatenate(column) for column in zip(_NO_SPANS, *spans, strict=True))
        events = len(line.events)
        self._counts["events"] += 0 if derived else events
        self._counts["untimed"] += events - len(offset_ps)
        row = {"trace": self._trace, "plane": plane.name, "line": f"{line.id}:{line.name}", "derived": derived}
        figures = span_figures(offset_ps, duration_ps, self._clock.into_profile_ps(line.timestamp_ns))
        self._lines.append({**row, "events": events, **figures})

    def finish(self, path: Path, errors: Sequence[str], warnings: Sequence[str]) -> None:
        """Appends the rows of `traces`, `lines` and `warnings`."""
        keys = {"trace": self._trace, "pass_name": self._pass_name}
        row = {"path": self._store.relative(path), "format": FORMAT, "events": self._counts["events"]}
        self._store.append_rows("traces", [keys | row | {"gpus": len(self._gpus) or None}])
        self._store.append_rows("lines", self._lines)
        findings = chain(xplane_trust.told_by_profiler(errors, warnings), self._causality.findings(), self._doubts())
        self._store.append_rows("warnings", [keys | structs.asdict(finding) for finding in findings if finding.count])

    def _doubts(self) -> Iterator[Finding]:
        gpus, untimed, unread = len(self._gpus), self._counts["untimed"], self._counts["unread"]
        if not self._counts["kernels"]:
            yield Finding(
                "no_kernels", gpus, f"{gpus} GPUs are listed, but no kernel of any is recorded.", untrusted=True
            )
        message = f"{untimed} events start or last impossibly long and are left out."
        yield Finding("unusable_time", untimed, message)
        message = f"{unread} events are of lines that are not analysed, neither streams nor host threads."
        yield Finding("other_lines", unread, message, untrusted=False)
        if self._clock.start_ns is None and self._clock.first_line_ns is None:
            message = "The trace does not tell when it was taken: its times are its own clock's."
            yield Finding("no_epoch", 1, message, untrusted=False)


_NO_SPANS = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def span_figures(offset_ps: Int64s, duration_ps: Int64s, start_ps: int) -> dict[str, int | None]:
    """Sum, union, first start and last end of spans, ps; NULL where there are none or where int64 does not hold them.

    `start_ps` is what the offsets count from; it is added to the first and the last.
    """
    if not len(offset_ps):
        return {}
    order = np.argsort(offset_ps, kind="stable")
    starts, ends = offset_ps[order], (offset_ps + duration_ps)[order]
    covered = np.maximum.accumulate(ends)
    fresh = ends - np.maximum(starts, np.concatenate([starts[:1], covered[:-1]]))
    figures = {
        "sum_ps": sum(duration_ps.tolist()),
        "busy_ps": int(np.maximum(fresh, 0).sum()),
        "first_ps": start_ps + int(starts[0]),
        "last_ps": start_ps + int(covered[-1]),
    }
    return {name: value if abs(value) <= INT64_MAX else None for name, value in figures.items()}
