"""A plane's names, and its lines' events as columns, a batch at a time."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.ingest.arrays import numbered, pa
from toolkit.ingest.coded import Coded, distinct
from toolkit.ingest.directions import DIRECTIONS, Directions
from toolkit.ingest.xplane_clock import Int64s, place_ns
from toolkit.ingest.xplane_file import Events
from toolkit.ingest.xplane_schema import tags_of
from toolkit.ingest.xplane_wire import DamageError, Messages

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]

# 26 days. An event further from its line's start, or longer, is damage; and sums of such stay within int64.
MOST_PS = 2**61
INT64_MAX = 2**63 - 1

_EVENT = tags_of("XEvent")
_STAT = tags_of("XStat")
_NONE = np.zeros(0, np.int64)


class Plane:
    """The names that a plane's events and stats refer to by number."""

    def __init__(self, message: Any) -> None:
        self.name: str = message.name
        self.stat_names: dict[int, str] = {entry.key: entry.value.name for entry in message.stat_metadata}
        self._stat_ids = {name.lower(): id_ for id_, name in self.stat_names.items()}
        self.events = {entry.key: entry.value for entry in message.event_metadata}
        self._ids = np.array(sorted(self.events), np.int64)
        # The last stands for every number that the plane does not name.
        self.names: list[str | None] = [*(self.events[id_].name for id_ in self._ids.tolist()), None]
        self.name_texts = pa.array(self.names[:-1], pa.string())
        self._directions = Directions(name for name in self.names if name)
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

    def by_name(self, code: Callable[[str], int], names: Int64s) -> Codes:
        """A small number for each of these positions in `names`, worked out once a name."""
        known = self._codes_by.setdefault(code, np.full(len(self.names), -1, np.int8))
        for place in np.unique(names[known[names] < 0]).tolist():
            known[place] = code(self.names[place] or "")
        return known[names]

    def direction(self, name: str) -> int:
        """The direction of training of an operator, as far as its scope says: a position in `DIRECTIONS`."""
        return DIRECTIONS.index(self._directions.of(name))

    def shared_text(self, code: int, stat_name: str) -> str | None:
        """A stat that all events of one of `names` share; None where not told."""
        event = self.events[int(self._ids[code])] if code < len(self._ids) else None
        wanted = self.stat_id(stat_name)
        found = (stat for stat in (event.stats if event else ()) if stat.metadata_id == wanted)
        return next((stat.str_value or self.stat_names.get(stat.ref_value) or None for stat in found), None)


@dataclass(frozen=True)
class Batch:
    """Events of one line as columns; `offset_ps` counts from `origin_ns`, the line's start.

    Stats lie between `stat_starts` and `stat_ends` in `content`, belong to the events at `stat_rows`, and are named by
    `stat_ids`.
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
    stat_ids: Int64s

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def start_ns(self) -> Int64s:
        """Starts, ns of the axis."""
        return place_ns(self.origin_ns, self.offset_ps)

    def duration_ns(self) -> Int64s:
        """Ends less starts, each rounded by itself, so that what nests or touches in the trace still does."""
        return place_ns(self.origin_ns, self.offset_ps + self.duration_ps) - self.start_ns

    def names(self) -> pa.DictionaryArray:
        """Names; NULL where the plane does not tell."""
        return numbered(self.codes, self.plane.name_texts, self.codes < len(self.plane.names) - 1)

    def by_name(self, code: Callable[[str], int]) -> Codes:
        """A small number for each event by its name; a new array."""
        return self.plane.by_name(code, self.codes)

    def take(self, wanted: Bools) -> "Batch":
        """The events that a mask picks."""
        if wanted.all():
            return self
        rows = np.cumsum(wanted) - 1
        stats = np.flatnonzero(wanted[self.stat_rows])
        columns = (self.codes[wanted], self.offset_ps[wanted], self.duration_ps[wanted], self.content)
        stat_columns = (self.stat_starts[stats], self.stat_ends[stats], self.stat_ids[stats])
        return Batch(self.plane, self.origin_ns, *columns, rows[self.stat_rows[stats]], *stat_columns)


class Stats:
    """Those stats of a batch's events that are named, lower-case, as columns of the batch's length."""

    def __init__(self, batch: Batch, names: Collection[str]) -> None:
        self._plane, self._content, self._length = batch.plane, batch.content, len(batch)
        wanted = [number for name in names if (number := batch.plane.stat_id(name)) is not None]
        chosen = np.flatnonzero(np.isin(batch.stat_ids, wanted)) if wanted else _NONE
        self._ids, self._rows = batch.stat_ids[chosen], batch.stat_rows[chosen]
        self._tags, self._ends = np.zeros_like(chosen), np.zeros_like(chosen)
        self._values = np.zeros(len(chosen), np.uint64)
        for fields in batch.content.fields(batch.stat_starts[chosen], batch.stat_ends[chosen]):
            if fields.only != _STAT["metadata_id"]:
                is_value = fields.tags != _STAT["metadata_id"]
                at = fields.rows[is_value]
                self._tags[at], self._ends[at] = fields.tags[is_value], fields.ends[is_value]
                self._values[at] = fields.values[is_value]

    def told(self, name: str) -> Bools:
        """Which events carry the stat."""
        column = np.zeros(self._length, np.bool_)
        column[self._rows[self._where(name)]] = True
        return column

    def integers(self, name: str, *, least: int = 0) -> pa.Int64Array:
        """The stat as an integer; NULL where not told, below `least` or above int64."""
        where = self._where(name)
        tags, values = self._tags[where], self._values[where].view(np.int64)
        whole = (tags == _STAT["uint64_value"]) | (tags == _STAT["int64_value"])
        known = where[whole & (values >= least)]
        return self._spread(known, self._values[known].view(np.int64))

    def doubles(self, name: str) -> pa.DoubleArray:
        """The stat as a double; NULL where not told. Writers put a whole number down as an integer."""
        where = self._where(name)
        values = self._values[where]
        return self._spread(
            where, np.where(self._tags[where] == _STAT["double_value"], values.view(np.float64), values)
        )

    def numbers(self, name: str) -> Coded:
        """The stat as an integer, for one of few values; None where not told."""
        column = self.integers(name, least=-INT64_MAX)
        known = np.flatnonzero(np.asarray(column.is_valid()))
        return distinct(known, np.asarray(column.drop_null()), self._length)

    def texts(self, name: str) -> Coded:
        """The stat as text; None where not told or empty."""
        where = self._where(name)
        rows, tags, values, ends = (column[where] for column in (self._rows, self._tags, self._values, self._ends))
        codes, known = np.zeros(self._length, np.int64), {b"": 0}
        refers = tags == _STAT["ref_value"]
        references, places = np.unique(values[refers], return_inverse=True)
        names = (self._plane.stat_names.get(reference, "").encode() for reference in references.tolist())
        codes[rows[refers]] = np.array([known.setdefault(name, len(known)) for name in names], np.int64)[places]
        own, content = tags == _STAT["str_value"], self._content.bytes
        starts = (ends - values.view(np.int64))[own].tolist()
        cut = zip(starts, ends[own].tolist(), strict=True)
        codes[rows[own]] = [known.setdefault(content[start:end], len(known)) for start, end in cut]
        try:
            return Coded(codes, [text.decode() or None for text in known])
        except UnicodeDecodeError as error:
            raise DamageError("a text in it is not UTF-8") from error

    def _where(self, name: str) -> Int64s:
        wanted = self._plane.stat_id(name)
        return _NONE if wanted is None else np.flatnonzero(self._ids == wanted)

    def _spread(self, where: Int64s, values: npt.NDArray[Any]) -> pa.Array:
        """A column of the values of the stats at `where`; NULL in the other rows."""
        column, unknown = np.zeros(self._length, values.dtype), np.ones(self._length, np.bool_)
        column[self._rows[where]], unknown[self._rows[where]] = values, False
        return pa.array(column, mask=unknown)


def batch_of(plane: Plane, events: Events, origin_ns: int) -> Batch:
    """Events as columns, in the trace's order; those at impossible times are left out."""
    content, starts, ends = events
    columns = {_EVENT[name]: np.zeros(len(starts), np.int64) for name in ("metadata_id", "offset_ps", "duration_ps")}
    stats: list[tuple[Int64s, Int64s, Int64s]] = [(_NONE, _NONE, _NONE)]
    for fields in content.fields(starts, ends):
        for tag, column in columns.items():
            rows, values, _ = fields.of(tag)
            column[rows] = values.view(np.int64)
        rows, lengths, stat_ends = fields.of(_EVENT["stats"])
        stats.append((rows, stat_ends - lengths.view(np.int64), stat_ends))
    ids, offset_ps, duration_ps = columns.values()
    rows, stat_starts, stat_ends = (np.concatenate(parts) for parts in zip(*stats, strict=True))
    stat_columns = (rows, stat_starts, stat_ends, _stat_ids(content, stat_starts, stat_ends))
    near = (offset_ps >= -MOST_PS) & (offset_ps <= MOST_PS) & (duration_ps >= 0) & (duration_ps <= MOST_PS)
    return Batch(plane, origin_ns, plane.codes(ids), offset_ps, duration_ps, content, *stat_columns).take(near)


def _stat_ids(content: Messages, starts: Int64s, ends: Int64s) -> Int64s:
    """The `metadata_id` of each stat, which is the first field wherever writers follow the fields' order."""
    first = (content.octets[starts] == _STAT["metadata_id"]) & (starts < ends)
    if first.all():
        return content.varints(starts + 1)[0].view(np.int64)
    ids = np.zeros(len(starts), np.int64)
    for fields in content.fields(starts, ends):
        rows, values, _ = fields.of(_STAT["metadata_id"])
        ids[rows] = values.view(np.int64)
    return ids
