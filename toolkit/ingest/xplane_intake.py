"""Takes XPlane planes into the store, line by line, and keeps count of what is in doubt."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import structs

from toolkit.ingest import xplane_names, xplane_rows, xplane_trust
from toolkit.ingest.arrays import numbered_texts, pa
from toolkit.ingest.store import StoreWriter
from toolkit.ingest.trust import Causality, Finding
from toolkit.ingest.xplane_clock import Clock
from toolkit.ingest.xplane_events import Batch, Plane, batch_of
from toolkit.ingest.xplane_file import File, Window
from toolkit.ingest.xplane_hlo import Hlo
from toolkit.ingest.xplane_lines import LineFigures

FORMAT = "xplane"


class Line(NamedTuple):
    """A line: its XLine message without events, and where those lie."""

    message: Any
    windows: list[Window]


class Surveyed(NamedTuple):
    """A plane: its XPlane message without lines, and those."""

    message: Any
    lines: list[Line]


class Intake:
    """Appends planes' events to the store, and at the end what there is to say about the trace as a whole."""

    def __init__(self, trace: int, pass_name: str | None, clock: Clock, hlo: Hlo, store: StoreWriter) -> None:
        self._trace, self._pass_name, self._clock, self._hlo, self._store = trace, pass_name, clock, hlo, store
        self._causality = Causality()
        self._lines: list[dict[str, Any]] = []
        self._gpus: set[str] = set()
        self._counts: Counter[str] = Counter()

    def take(self, file: File, plane: Plane, lines: Sequence[Line]) -> None:
        """Appends the slices and allocations of a plane."""
        gpu = xplane_names.gpu_of(plane.name)
        self._gpus.update([gpu] if gpu else [])
        for line, windows in lines:
            derived = xplane_names.is_derived(plane.name, line.name)
            figures, events = LineFigures(), 0
            for window in windows:
                events += len(window.heads)
                batch = batch_of(plane, file.events(window), self._clock.origin_ns(line.timestamp_ns))
                self._counts["untimed"] += len(window.heads) - len(batch)
                figures.add(batch.offset_ps, batch.duration_ps)
                if not derived:
                    self._take_batch(batch, line, gpu)
            self._counts["events"] += 0 if derived else events
            row = {"trace": self._trace, "plane": plane.name, "line": f"{line.id}:{line.name}", "derived": derived}
            ps = figures.figures(self._clock.into_profile_ps(line.timestamp_ns))
            self._lines.append({**row, "events": events, **ps})

    def _take_batch(self, batch: Batch, line: Any, gpu: str | None) -> None:
        stream = xplane_names.stream_of(line.name)
        if gpu and stream:
            work = xplane_rows.device_slices(batch, self._hlo.scopes)
            self._counts["kernels"] += int(np.count_nonzero(work.kinds == xplane_names.KERNEL))
            xplane_trust.worked(self._causality, work)
            self._append("slices", work.columns(), device=gpu, stream=stream)
        elif xplane_names.is_host(batch.plane.name):
            memory, thread = xplane_rows.is_memory(batch), f"{line.id}:{line.name}"
            if memory.any():
                self._append("allocations", xplane_rows.allocations(batch.take(memory)), thread=thread)
            slices = xplane_rows.host_slices(batch.take(~memory), self._hlo.scopes)
            xplane_trust.launched(self._causality, slices)
            self._append("slices", slices.columns(), thread=thread)
        else:
            self._counts["unread"] += len(batch)

    def _append(self, table: str, columns: Mapping[str, Any], **of_all: str) -> None:
        rows = len(columns["ts_ns"])
        texts = {"pass_name": self._pass_name, **of_all}
        repeated = {name: numbered_texts(np.zeros(rows, np.int32), [text]) for name, text in texts.items()}
        if rows:
            trace = pa.array(np.full(rows, self._trace, np.int32))
            self._store.append(table, {**columns, **repeated, "trace": trace})

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
        message = f"{self._hlo.unreadable} compiled modules cannot be read: their operators go by XLA's names."
        yield Finding("unreadable_module", self._hlo.unreadable, message, untrusted=False)
        if self._clock.start_ns is None and self._clock.first_line_ns is None:
            message = "The trace does not tell when it was taken: its times are its own clock's."
            yield Finding("no_epoch", 1, message, untrusted=False)
