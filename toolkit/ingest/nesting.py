"""Spans of one thread and which holds which, a window at a time, so that a thread of millions stays in bounded memory.

Spans come in order of their start, outer before inner where they start together. They may overlap without nesting: then
the innermost around a moment is the one that began last of those that run.
"""

from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

Ns = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# The place of no span.
NONE = -1
LATEST_NS = np.iinfo(np.int64).max


class Spans(NamedTuple):
    """Spans [start, end) of one thread, and what else is known of each, one array a column."""

    starts: Ns
    ends: Ns
    labels: tuple[npt.NDArray[np.int64], ...] = ()

    def at(self, which: Places | Flags | slice) -> "Spans":
        """Those at some places."""
        return Spans(self.starts[which], self.ends[which], tuple(label[which] for label in self.labels))

    def followed_by(self, others: Self) -> "Spans":
        """These and then the others."""
        labels = tuple(np.concatenate(both) for both in zip(self.labels, others.labels, strict=True))
        return Spans(np.concatenate((self.starts, others.starts)), np.concatenate((self.ends, others.ends)), labels)


class Nest:
    """A window: the spans that were open when it began and the `fresh` ones that begin in it, told by their places.

    It knows all that runs at the moments from its first fresh start until `until_ns`, which is left out.
    """

    def __init__(self, spans: Spans, carried: int, until_ns: int) -> None:
        self.spans = spans
        self.fresh = slice(carried, len(spans.starts))
        self.until_ns = until_ns
        # The last entry, which NONE finds, never ends.
        self._ends = np.append(spans.ends, LATEST_NS)

    @cached_property
    def parents(self) -> Places:
        """Of the spans that hold each span's start, the one that began last; one entry more, for NONE, is NONE."""
        count = len(self.spans.starts)
        parents = np.append(np.arange(-1, count - 1), NONE)
        # A span over by the start of another cannot hold it, nor can what the first has passed over already.
        open_ = np.flatnonzero(self._ends[parents[:count]] <= self.spans.starts)
        while open_.size:
            parents[open_] = parents[parents[open_]]
            open_ = open_[self._ends[parents[open_]] <= self.spans.starts[open_]]
        return parents

    @cached_property
    def outermost(self) -> Places:
        """The span around each that no span holds; NONE for NONE."""
        places = np.append(np.arange(len(self.parents) - 1), NONE)
        places = np.where(self.parents == NONE, places, self.parents)
        while ((further := places[places]) != places).any():
            places = further
        return places

    def within(self, flags: Flags) -> Flags:
        """Whether each span, or any around it, is flagged; False for NONE."""
        found, around = np.append(flags, False), self.parents
        while (around != NONE).any():
            found = found | found[around]
            around = around[around]
        return found

    def innermost(self, moments: Ns) -> Places:
        """Of the spans that hold each moment, the one that began last."""
        places = np.searchsorted(self.spans.starts, moments, side="right") - 1
        while (over := self._ends[places] <= moments).any():
            places = np.where(over, self.parents[places], places)
        return places


class Sweep:
    """Takes one thread's spans in order, in portions of any size, and gives a window for each."""

    def __init__(self) -> None:
        self._open: Spans | None = None

    def take(self, spans: Spans) -> Nest:
        """The window of the next spans, at least one."""
        carried = 0 if self._open is None else len(self._open.starts)
        nest = Nest(spans if self._open is None else self._open.followed_by(spans), carried, int(spans.starts[-1]))
        # An end at the next window's first moment still counts to whoever asks for ends too.
        needed = nest.spans.ends >= nest.until_ns
        around = np.unique(nest.parents[:-1][needed])
        while not needed[around := around[around != NONE]].all():
            needed[around] = True
            around = np.unique(nest.parents[around])
        self._open = nest.spans.at(needed)
        return nest

    def rest(self) -> Nest:
        """The window after the last spans, without end."""
        spans = self._open or Spans(np.empty(0, np.int64), np.empty(0, np.int64))
        return Nest(spans, len(spans.starts), LATEST_NS)


def in_order(starts: Ns, ends: Ns) -> bool:
    """Whether spans are in order of their start, outer before inner."""
    earlier, later = slice(None, -1), slice(1, None)
    rising = starts[later] > starts[earlier]
    return bool(np.all(rising | ((starts[later] == starts[earlier]) & (ends[later] <= ends[earlier]))))
