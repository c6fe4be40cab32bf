"""Importer of PyTorch's profiler (Kineto) traces: Chrome trace JSON, plain or gzip, from 2020's bare lists to today's.

Reads in bounded memory: inflate, cut at event borders, decode, append. The file's events are named in
`kineto_events`, what a piece of them gives in `kineto_pieces`, the store's columns in `kineto_tables`, the grounds for
doubt in `kineto_trust`.
"""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from toolkit.errors import HwprofError
from toolkit.ingest import heap, kineto_helper, kineto_trust
from toolkit.ingest.columns import LATEST_NS
from toolkit.ingest.inflate import ahead, blocks, head
from toolkit.ingest.json_chunks import EventArray
from toolkit.ingest.kineto_groups import RowGroups
from toolkit.ingest.kineto_pieces import NAMED_CATEGORIES, Piece, PieceReader
from toolkit.ingest.kineto_tables import CODES, FOREIGN, KINDS
from toolkit.ingest.reading import WHOLE, Reading
from toolkit.ingest.store import StoreWriter, engine
from toolkit.ingest.trust import Causality

FORMAT = "kineto"
HEAD_BYTES = 1 << 16

_NAME = re.compile(r"\.pt\.trace\.json(\.gz)?$")
_CATEGORIES = "|".join(CODES)
_MEMBERS = rb'"(?:traceEvents|deviceProperties|baseTimeNanoseconds)"'
_CONTENT = re.compile(_MEMBERS + rb'|"cat"\s*:\s*"(?:%s)"' % _CATEGORIES.encode())
_BASE_KEY = b'"baseTimeNanoseconds"'
_BASE = re.compile(_BASE_KEY + rb"\s*:\s*(-?\d{1,19})\s*[,}]")
_BASE_REACH = 128
_TS = re.compile(rb'"ts"\s*:\s*(\d+)')
# Microseconds since the epoch have had 16 digits since 2001; Kineto's bases keep theirs under 15.
EPOCH_DIGITS = 16


def matches(path: Path) -> bool:
    """Whether the name is that of PyTorch's profiler, or the first bytes are JSON with what only such a trace holds."""
    if _NAME.search(path.name):
        return True
    try:
        content = head(path, HEAD_BYTES)
    except OSError:
        return False
    return content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")) and bool(_CONTENT.search(content))


def read(path: Path, *, trace: int, pass_name: str | None, store: StoreWriter, reading: Reading = WHOLE) -> None:
    """Appends the trace to `traces`, `slices`, `allocations` and `warnings`; epoch, step and phase stay NULL.

    Raises HwprofError naming the file where it is damaged, hostile, or no trace of PyTorch's profiler.
    """
    heap.keep_freed()
    base_ns = _base_ns(path, reading)
    intake = _Intake(trace, pass_name, store)
    with heap.uncollected(), kineto_helper.beginning(path, base_ns) as begin:
        if begin:
            # Whoever reads the store needs it, and it takes about as long to import as the second process to start.
            engine()
        array = EventArray(path, ahead(blocks(path, reading)), PieceReader(base_ns), reading, begin)
        for piece in array:
            intake.take(piece)
    if array.whole:
        intake.check(path, array.metadata, base_ns)
    intake.finish(path, array.metadata, whole=array.whole)


def _base_ns(path: Path, reading: Reading) -> int:
    """The trace's own zero, in ns of CLOCK_REALTIME, which `ts` counts from; 0 where the trace states none.

    It often stands behind the events, and is then found by reading the file through. Only a trace whose times are those
    of CLOCK_REALTIME themselves is not searched. `_Intake.check` holds the result against the parsed document.
    """
    base_ns, before = 0, b""
    for block in blocks(path, reading):
        for text in (before + block[:_BASE_REACH], block):
            if _BASE_KEY in text:
                base_ns = next((int(found[1]) for found in reversed(list(_BASE.finditer(text)))), base_ns)
        first = None if before else _TS.search(block)
        if first and (base_ns or len(first[1]) >= EPOCH_DIGITS):
            break
        before = (before + block[-_BASE_REACH:])[-_BASE_REACH:]
    if abs(base_ns) >= LATEST_NS:
        raise HwprofError(f"{path} gives baseTimeNanoseconds as {base_ns}.", remedy="It must be before the year 2116.")
    return base_ns


class _Intake:
    """Takes decoded events into the store, and keeps count."""

    def __init__(self, trace: int, pass_name: str | None, store: StoreWriter) -> None:
        self._store, self._keys = store, {"trace": trace, "pass_name": pass_name}
        self._slices, self._allocations = (RowGroups(store, table, self._keys) for table in ("slices", "allocations"))
        self._causality = Causality()
        self._kinds = np.zeros(FOREIGN + 1, dtype=np.int64)
        self._left_out: Counter[str] = Counter()
        self._foreign: set[str] = set()
        self._events = 0
        self._memory = self._device_memory = False

    def take(self, piece: Piece) -> None:
        """Appends a piece's rows."""
        self._events += piece.events
        self._left_out["malformed_events"] += piece.malformed
        if piece.spans:
            self._kinds += piece.spans.kinds
            self._foreign = set(sorted(self._foreign | piece.spans.foreign)[:NAMED_CATEGORIES])
            self._left_out.update(piece.spans.left_out)
            kineto_trust.note(self._causality, piece.spans.calls)
            self._slices.add(piece.spans.columns)
        if piece.allocations:
            self._memory, self._device_memory = True, self._device_memory or piece.allocations.on_device
            self._left_out.update(piece.allocations.left_out)
            self._allocations.add(piece.allocations.columns)

    def check(self, path: Path, metadata: Mapping[str, Any], base_ns: int) -> None:
        """Raises HwprofError where the document contradicts how its events were read, or they are not Kineto's."""
        stated = metadata.get("baseTimeNanoseconds", 0)
        if stated != base_ns:
            remedy = "It must be one whole number of nanoseconds, given once."
            raise HwprofError(f"{path} gives baseTimeNanoseconds as {stated!r:.80}.", remedy=remedy)
        if self._events and not (self._kinds[:FOREIGN].any() or self._memory):
            problem = f"{path} holds {self._events} events, but none that PyTorch's profiler writes."
            raise HwprofError(problem, remedy="Give a trace that torch.profiler exported.")

    def finish(self, path: Path, metadata: Mapping[str, Any], *, whole: bool) -> None:
        """Appends the last rows, and `traces` and `warnings`; of a part, what it lacks is not the profiler's fault."""
        self._slices.flush()
        self._allocations.flush()
        job, properties = metadata.get("distributedInfo"), metadata.get("deviceProperties")
        row = {
            "path": self._store.relative(path),
            "format": FORMAT,
            "rank": _small(job, "rank"),
            "world_size": _small(job, "world_size"),
            "events": self._events,
            "gpus": len(properties) if isinstance(properties, list) else None,
            "gpu_model": _models(properties),
        }
        self._store.append_rows("traces", [self._keys | row])
        kinds = dict(zip(KINDS, self._kinds.tolist(), strict=False))
        found = chain(
            kineto_trust.dropped_events(metadata),
            kineto_trust.missing_kernels(kinds, device_memory=self._device_memory) if whole else (),
            self._causality.findings(),
            kineto_trust.left_out(self._left_out),
            [kineto_trust.not_analysed(int(self._kinds[FOREIGN]), self._foreign), kineto_trust.no_events(self._events)],
        )
        self._store.append_rows(
            "warnings", [self._keys | structs.asdict(finding) for finding in found if finding.count]
        )


def _models(properties: object) -> str | None:
    """The names of deviceProperties, each once."""
    devices = properties if isinstance(properties, list) else []
    names = [device.get("name") for device in devices if isinstance(device, dict)]
    return ", ".join(dict.fromkeys(name for name in names if isinstance(name, str))) or None


def _small(job: object, member: str) -> int | None:
    """A member of distributedInfo that is a 32-bit integer; None where it is not there or is something else."""
    value = job.get(member) if isinstance(job, dict) else None
    return value if type(value) is int and abs(value) < 2**31 else None
