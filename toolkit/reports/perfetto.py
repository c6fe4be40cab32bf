"""One timeline of many stores, as a trace in Perfetto's own format: the tracks, and how an event gets there.

What lies on them is said in timeline.py. Source of the format: Perfetto's page "Advanced Guide to Programmatic Trace
Generation", and the comments of its perfetto_trace.proto.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import IO, NamedTuple

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped] # stubs, and no py.typed
    BUILTIN_CLOCK_BOOTTIME,
    BUILTIN_CLOCK_REALTIME,
    Trace,
    TracePacket,
    TrackDescriptor,
    TrackEvent,
)

SEQUENCE = 1
BEGIN, END, INSTANT, COUNTER = (
    TrackEvent.TYPE_SLICE_BEGIN,
    TrackEvent.TYPE_SLICE_END,
    TrackEvent.TYPE_INSTANT,
    TrackEvent.TYPE_COUNTER,
)


class Event(NamedTuple):
    """What a slice says: its name, its category, the flow that joins it to others, and figures by name."""

    name: str
    category: str | None = None
    flow: int | None = None
    told: Mapping[str, int | str | None] = MappingProxyType({})


class TraceWriter:
    """Writes packets as they come; nothing but names and tracks is held in memory.

    Times are ns of CLOCK_REALTIME, none before `first_ns`: Perfetto counts from there, and shows the wall's time too.
    """

    def __init__(self, file: IO[bytes], first_ns: int) -> None:
        self._file = file
        self._names: dict[tuple[str, str], int] = {}
        self._tracks = 0
        self._write(TracePacket(sequence_flags=TracePacket.SEQ_INCREMENTAL_STATE_CLEARED))
        clocks = TracePacket()
        clocks.clock_snapshot.clocks.add(clock_id=BUILTIN_CLOCK_BOOTTIME, timestamp=0)
        clocks.clock_snapshot.clocks.add(clock_id=BUILTIN_CLOCK_REALTIME, timestamp=first_ns)
        self._write(clocks)

    def track(self, name: str, parent: int | None = None, *, unit: str | None = None) -> int:
        """A new track below `parent`, behind those that it has already; one of a counter where it has a unit."""
        self._tracks += 1
        track = TrackDescriptor(
            uuid=self._tracks,
            parent_uuid=parent,
            name=name,
            child_ordering=TrackDescriptor.EXPLICIT,
            sibling_order_rank=self._tracks,
        )
        if unit is not None:
            track.counter.unit_name = unit
        self._write(TracePacket(track_descriptor=track))
        return self._tracks

    def count(self, track: int, ts_ns: int, value: float) -> None:
        """The value of a counter from this moment on."""
        event = TrackEvent(type=COUNTER, track_uuid=track)
        if isinstance(value, int):
            event.counter_value = value
        else:
            event.double_counter_value = value
        self._write(TracePacket(timestamp=ts_ns, timestamp_clock_id=BUILTIN_CLOCK_REALTIME, track_event=event))

    def begin(self, track: int, ts_ns: int, event: Event, *, kind: int = BEGIN) -> None:
        """The beginning of a slice; or, by its kind, something that takes no time."""
        packet = TracePacket(
            timestamp=ts_ns,
            timestamp_clock_id=BUILTIN_CLOCK_REALTIME,
            sequence_flags=TracePacket.SEQ_NEEDS_INCREMENTAL_STATE,
        )
        written = packet.track_event
        written.type, written.track_uuid = kind, track
        written.name_iid = self._named("event_names", event.name, packet)
        if event.category:
            written.category_iids.append(self._named("event_categories", event.category, packet))
        if event.flow is not None:
            written.flow_ids.append(event.flow)
        for name, value in event.told.items():
            if value is None:
                continue
            told = written.debug_annotations.add(name_iid=self._named("debug_annotation_names", name, packet))
            if isinstance(value, int):
                told.int_value = value
            else:
                told.string_value = value
        self._write(packet)

    def end(self, track: int, ts_ns: int) -> None:
        """The end of the slice of this track that began last."""
        self._write(
            TracePacket(
                timestamp=ts_ns,
                timestamp_clock_id=BUILTIN_CLOCK_REALTIME,
                track_event=TrackEvent(type=END, track_uuid=track),
            )
        )

    def _named(self, kind: str, name: str, packet: TracePacket) -> int:
        number = self._names.get((kind, name))
        if number is None:
            number = self._names[kind, name] = len(self._names) + 1
            getattr(packet.interned_data, kind).add(iid=number, name=name)
        return number

    def _write(self, packet: TracePacket) -> None:
        packet.trusted_packet_sequence_id = SEQUENCE
        self._file.write(Trace(packet=[packet]).SerializeToString())


class Lanes:
    """Slices of one track, in the order of their beginnings; those that overlap without nesting get a lane each.

    Tracks of one name below one parent are shown as one.
    """

    def __init__(self, writer: TraceWriter, name: str, parent: int) -> None:
        self._writer, self._name, self._parent = writer, name, parent
        # of each lane its track and the ends of the slices that are open, the innermost last
        self._lanes: list[tuple[int, list[int]]] = []

    def add(self, ts_ns: int, dur_ns: int | None, event: Event) -> None:
        """One slice, or without a duration one moment."""
        end = ts_ns + (dur_ns or 0)
        for track, open_ in self._lanes:
            self._close(track, open_, ts_ns)
            if not open_ or end <= open_[-1]:
                break
        else:
            track, open_ = self._writer.track(self._name, self._parent), []
            self._lanes.append((track, open_))
        self._writer.begin(track, ts_ns, event, kind=INSTANT if dur_ns is None else BEGIN)
        if dur_ns is not None:
            open_.append(end)

    def close(self) -> None:
        """Ends what is open: there are no more slices."""
        for track, open_ in self._lanes:
            self._close(track, open_, None)

    def _close(self, track: int, open_: list[int], until: int | None) -> None:
        while open_ and (until is None or open_[-1] <= until):
            self._writer.end(track, open_.pop())


def nested(writer: TraceWriter, name: str, parent: int, slices: Iterable[tuple[int, int | None, Event]]) -> None:
    """A track of slices (start, duration, what it says), ordered by start, of equal ones the longest first."""
    lanes = Lanes(writer, name, parent)
    for slice_ in slices:
        lanes.add(*slice_)
    lanes.close()
