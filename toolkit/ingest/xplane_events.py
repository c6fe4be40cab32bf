"""A plane's names, and its lines' events as columns, a batch at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from toolkit.ingest.xplane_clock import Int64s, place_ns
from toolkit.ingest.xplane_schema import tags_of
from toolkit.ingest.xplane_wire import Messages

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]

BATCH_EVENTS = 1 << 15
# 26 days. An event further from its line's start, or longer, is damage; and sums of such stay within int64.
MOST_PS = 2**61

_EVENT = tags_of("XEvent")
_STAT = tags_of("XStat")


class Plane:
    """The names that a plane's events and stats refer to by number."""

    def __init__(self, message: Any) -> None:
        self.name: str = message.name
        self.stat_names: dict[int, str] = {entry.key: entry.value.name for entry in message.stat_metadata}
        self._stat_ids = {name.lower(): id_ for id_, name in self.stat_names.items()}
        self._events = {entry.key: entry.value for entry in message.event_metadata}
        self._ids = np.array(sorted(self._events), np.int64)
        # The last stands for every number that the plane does not name.
        self.names: list[str | None] = [*(self._events[id_].name for id_ in self._ids.tolist()), None]
        self._codes_by: dict[Callable[[str], int], Codes] = {}
        self._stats = message.stats

    def integer(self, name: str) -> int | None:
        """A stat of the plane itself as an integer; None where not told."""
        wanted = self.stat_id(name)
        return next((stat.uint64_value or stat.int64_value for stat in self._stats if stat.metadata_id == wanted), None)

    def stat_id(self, name: str) -> int | None:
        """The number of a stat by its lower-case name (writers differ in case); None where the plane has none such."""
        return self._stat_ids.get(name)

    def codes(self, metadata_ids: Int64s) -> Int64s:
        """Positions in `names` of the events' metadata."""
        at = np.searchsorted(self._ids, metadata_ids)
        ids = np.append(self._ids, 0)
        return np.where((at < len(self._ids)) & (ids[at] == metadata_ids), at, len(self._ids))

    def by_name(self, code: Callable[[str], int]) -> Codes:
        """A small number for each of `names`, worked out once a plane."""
        if code not in self._codes_by:
            self._codes_by[code] = np.array([code(name or "") for name in self.names], np.int8)
        return self._codes_by[code]

    def shared_text(self, code: int, stat_name: str) -> str | None:
        """A stat that all events of one of `names` share; None where not told."""
        event = self._events[int(self._ids[code])] if code < len(self._ids) else None
        wanted = self.stat_id(stat_name)
        found = (stat for stat in (event.stats if event else ()) if stat.metadata_id == wanted)
        return next((stat.str_value or self.stat_names.get(stat.ref_value) or None for stat in found), None)


@dataclass(frozen=True)
class Batch:
    """Up to BATCH_EVENTS events of one line as columns; `offset_ps` counts from `origin_ns`, the line's start.

    Stats lie between `stat_starts` and `stat_ends` in `content`, and belong to the events at `stat_rows`.
    """

    plane: Plane
    origin_ns: int
    codes: Int64s
    offset_ps: Int64s
    duration_ps: Int64s
    content: Messages
    stat_rows: Int64s
    stat_starts: Int64s
    stat_ends: Int64s

    def __len__(self) -> int:
        return len(self.codes)

    def start_ns(self) -> Int64s:
        """Starts, ns of the axis."""
        return place_ns(self.origin_ns, self.offset_ps)

    def duration_ns(self) -> Int64s:
        """Ends less starts, each rounded by itself, so that what nests or touches in the trace still does."""
        return place_ns(self.origin_ns, self.offset_ps + self.duration_ps) - self.start_ns()

    def names(self) -> pa.StringArray:
        """Names; NULL where the plane does not tell."""
        return pa.array(self.plane.names, pa.string()).take(self.codes)

    def by_name(self, code: Callable[[str], int]) -> Codes:
        """A small number for each event by its name; a new array."""
        return self.plane.by_name(code)[self.codes]

    def take(self, wanted: Bools) -> "Batch":
        """The events that a mask picks."""
        if wanted.all():
            return self
        rows = np.cumsum(wanted) - 1
        stats = wanted[self.stat_rows]
        columns = (self.codes[wanted], self.offset_ps[wanted], self.duration_ps[wanted], self.content)
        stat_columns = (rows[self.stat_rows[stats]], self.stat_starts[stats], self.stat_ends[stats])
        return Batch(self.plane, self.origin_ns, *columns, *stat_columns)


class Stats:
    """Stats of a batch's events by name, as columns of the batch's length; of the events that a mask picks only."""

    def __init__(self, batch: Batch, wanted: Bools) -> None:
        kept = wanted[batch.stat_rows]
        self._length, self._plane, self._content = len(batch), batch.plane, batch.content
        self._rows = batch.stat_rows[kept]
        self._ids, self._tags, self._ends = (np.zeros(len(self._rows), np.int64) for _ in range(3))
        self._values = np.zeros(len(self._rows), np.uint64)
        for rows, tags, values, ends in batch.content.fields(batch.stat_starts[kept], batch.stat_ends[kept]):
            is_id = tags == _STAT["metadata_id"]
            self._ids[rows[is_id]] = values[is_id].view(np.int64)
            others = rows[~is_id]
            self._tags[others], self._values[others], self._ends[others] = tags[~is_id], values[~is_id], ends[~is_id]

    def told(self, name: str) -> Bools:
        """Which events carry the stat."""
        column = np.zeros(self._length, np.bool_)
        column[self._rows[self._where(name)]] = True
        return column

    def integers(self, name: str, *, least: int = 0) -> pa.Int64Array:
        """The stat as an integer; NULL where not told, below `least` or above int64."""
        where = self._where(name)
        values = self._values[where].view(np.int64)
        known = np.isin(self._tags[where], (_STAT["uint64_value"], _STAT["int64_value"])) & (values >= least)
        column, unknown = np.zeros(self._length, np.int64), np.ones(self._length, np.bool_)
        column[self._rows[where][known]], unknown[self._rows[where][known]] = values[known], False
        return pa.array(column, mask=unknown)

    def doubles(self, name: str) -> pa.DoubleArray:
        """The stat as a double; NULL where not told. Writers put a whole number down as an integer."""
        where = self._where(name)
        values = np.where(
            self._tags[where] == _STAT["double_value"], self._values[where].view(np.float64), self._values[where]
        )
        column, unknown = np.zeros(self._length), np.ones(self._length, np.bool_)
        column[self._rows[where]], unknown[self._rows[where]] = values, False
        return pa.array(column, mask=unknown)

    def texts(self, name: str) -> list[str | None]:
        """The stat as text; None where not told or empty."""
        column: list[str | None] = [None] * self._length
        where = self._where(name)
        found = (part[where].tolist() for part in (self._rows, self._tags, self._values, self._ends))
        for row, tag, value, end in zip(*found, strict=True):
            if tag == _STAT["ref_value"]:
                column[row] = self._plane.stat_names.get(value) or None
            elif tag == _STAT["str_value"]:
                column[row] = self._content.bytes[end - value : end].decode() or None
        return column

    def _where(self, name: str) -> Int64s:
        wanted = self._plane.stat_id(name)
        return np.flatnonzero(self._ids == wanted) if wanted is not None else np.zeros(0, np.int64)


def batches(plane: Plane, events: Any, origin_ns: int) -> Iterator[Batch]:
    """A line's events, from their bytes, in the trace's order; those at impossible times are left out."""
    for first in range(0, len(events), BATCH_EVENTS):
        batch = _batch(plane, events[first : first + BATCH_EVENTS], origin_ns)
        near = (batch.offset_ps >= -MOST_PS) & (batch.offset_ps <= MOST_PS)
        yield batch.take(near & (batch.duration_ps >= 0) & (batch.duration_ps <= MOST_PS))


def _batch(plane: Plane, events: list[bytes], origin_ns: int) -> Batch:
    content = Messages(events)
    columns = {_EVENT[name]: np.zeros(len(events), np.int64) for name in ("metadata_id", "offset_ps", "duration_ps")}
    stats: list[tuple[Int64s, Int64s, Int64s]] = []
    for rows, tags, values, ends in content.fields(content.starts, content.ends):
        for tag, column in columns.items():
            chosen = tags == tag
            column[rows[chosen]] = values[chosen].view(np.int64)
        chosen = tags == _EVENT["stats"]
        stats.append((rows[chosen], ends[chosen] - values[chosen].astype(np.int64), ends[chosen]))
    ids, offset_ps, duration_ps = columns.values()
    none = np.zeros(0, np.int64)
    stat_columns = [np.concatenate(parts) for parts in zip((none, none, none), *stats, strict=True)]
    return Batch(plane, origin_ns, plane.codes(ids), offset_ps, duration_ps, content, *stat_columns)
