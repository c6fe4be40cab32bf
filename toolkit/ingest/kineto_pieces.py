"""A piece of a Kineto trace, decoded: the rows that it gives, and the counts that trust is made of."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from toolkit.ingest import kineto_tables, kineto_trust
from toolkit.ingest.coded import coded
from toolkit.ingest.columns import Ns
from toolkit.ingest.kineto_events import EventDecoder, Instant, Span
from toolkit.ingest.kineto_tables import FOREIGN, KINDS, MEMORY_EVENT, Columns, chosen
from toolkit.ingest.kineto_trust import Calls

NAMED_CATEGORIES = 5


class Spans(NamedTuple):
    """The spans of a piece: columns of `slices`, spans by kind, categories that the store has no kind for (some)."""

    columns: Columns
    kinds: Ns
    foreign: frozenset[str]
    calls: Calls
    left_out: Mapping[str, int]


class Allocations(NamedTuple):
    """The memory events of a piece: columns of `allocations`, and whether one is of a device."""

    columns: Columns
    on_device: bool
    left_out: Mapping[str, int]


class Piece(NamedTuple):
    """What a piece gives; None where it holds no such event. `malformed` events lost a field."""

    events: int
    malformed: int
    spans: Spans | None
    allocations: Allocations | None


class PieceReader:
    """Makes pieces of JSON arrays of events; `base_ns` is the trace's own zero."""

    def __init__(self, base_ns: int) -> None:
        self._base_ns = base_ns
        self._decoded = EventDecoder()

    def __call__(self, text: bytes) -> Piece:
        """The events' rows and counts; raises msgspec.DecodeError where the text is no array of objects."""
        events, malformed = self._decoded(text)
        spans = [event for event in events if type(event) is Span]
        memory = [event for event in events if type(event) is Instant and event.name == MEMORY_EVENT]
        rows = self._spans(spans) if spans else None, self._allocations(memory) if memory else None
        return Piece(len(events), malformed, *rows)

    def _spans(self, spans: Sequence[Span[Any]]) -> Spans:
        kinds = kineto_tables.kinds_of(spans)
        foreign = kinds == FOREIGN
        others = {span.cat for span in chosen(spans, foreign)} if foreign.any() else set()
        known = kinds < len(KINDS)
        timed = kineto_tables.timed(chosen(spans, known), kinds[known], self._base_ns)
        names = coded([span.name for span in timed.spans], str)
        columns = kineto_tables.slices(timed, names)
        return Spans(
            columns,
            np.bincount(kinds, minlength=FOREIGN + 1),
            frozenset(islice(sorted(others), NAMED_CATEGORIES)),
            kineto_trust.calls(timed, names, columns["correlation"]),
            {"unusable_start": timed.without_ts, "unusable_duration": timed.without_dur},
        )

    def _allocations(self, memory: Sequence[Instant[Any]]) -> Allocations:
        columns, without_size = kineto_tables.allocations(memory, self._base_ns)
        on_device = any(device != "cpu" for device in columns["device"].values)
        return Allocations(columns, on_device, {"unusable_allocation": without_size})
