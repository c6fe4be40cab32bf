"""Which direction of training PyTorch's operators run in, by its marks and its autograd engine's threads.

`optimizer` within PyTorch's annotations of it; `backward` within an operator of the autograd engine or on a thread of
its own; else `forward`. A thread is the engine's own where at least half of its outermost operators are autograd's and
no step, optimizer or data loader is marked on it.
"""

import re
from collections import Counter, defaultdict

import duckdb
import numpy as np

from toolkit.analyses.host_spans import HostSpans
from toolkit.analyses.intervals import Growing, Union
from toolkit.ingest.columns import Answers
from toolkit.ingest.directions import DIRECTIONS
from toolkit.ingest.nesting import NONE, Flags, Nest, Ns

NAMES = DIRECTIONS[1:]
FORWARD, BACKWARD, OPTIMIZER = range(len(NAMES))

# Traces of other frameworks say directions themselves, or nobody does.
_FOREIGN = "SELECT trace FROM traces WHERE format <> 'kineto'"
OPERATORS = "kind = 'op'"
MARKED = """
kind IN ('op', 'annotation') AND (
    starts_with(name, 'ProfilerStep#') OR starts_with(name, 'enumerate(Data') OR starts_with(name, 'Optimizer.')
)
"""
# What PyTorch marks as an operator but runs nothing itself.
_OPTIMIZER = re.compile(r"Optimizer\.(step|zero_grad)#")
_MARKER = re.compile(r"(ProfilerStep|enumerate\(Data(Loader|Pipe)\))#|" + _OPTIMIZER.pattern)
# Autograd's are the engine's evaluations and its nodes, which are all that traces of 2021 and before hold of it.
_AUTOGRAD = re.compile(r"autograd::engine::|(struct )?torch::autograd::|[A-Z]\w*Backward\d*$")


def foreign(connection: duckdb.DuckDBPyConnection) -> set[int]:
    """The traces that are not PyTorch's, where none of this holds."""
    return {trace for (trace,) in connection.execute(_FOREIGN).fetchall()}


def is_marker(name: str) -> bool:
    """Whether a span of this name only marks what others run in."""
    return bool(_MARKER.match(name))


def is_operator(name: str) -> bool:
    """Whether a span of this name, of kind `op`, runs anything itself."""
    return not _MARKER.match(name)


def is_optimizer(name: str) -> bool:
    """Whether a span of this name marks the optimizer's work."""
    return bool(_OPTIMIZER.match(name))


class Engines:
    """Learns from windows of operators which of them are autograd's, and which threads are the engine's own."""

    def __init__(self, spans: HostSpans) -> None:
        self._spans = spans
        self._autograd = Answers(lambda name: bool(_AUTOGRAD.match(name)), spans.names)
        self._outer, self._engines = Counter[int](), Counter[int]()

    def within(self, thread: int, nest: Nest) -> Flags:
        """Whether each span of a window is the engine's or lies in one that is; one entry more, for NONE, is False."""
        flags = self._autograd.of(nest.spans.labels[0].astype(np.int32)).astype(bool)
        alone = nest.parents[:-1][nest.fresh] == NONE
        self._outer[thread] += int(np.count_nonzero(alone))
        self._engines[thread] += int(np.count_nonzero(alone & flags[nest.fresh]))
        return nest.within(flags)

    def threads(self) -> set[int]:
        """The engine's own threads, once every window was seen."""
        own = {thread for thread, members in self._outer.items() if 2 * self._engines[thread] >= members}
        return own - {thread for thread, _ in self._spans.nests(MARKED, is_marker)}


class Optimizers:
    """When each thread was within the optimizer's marks."""

    def __init__(self, spans: HostSpans) -> None:
        marked: defaultdict[int, Growing] = defaultdict(Growing)
        for thread, nest in spans.nests(MARKED, is_optimizer):
            marked[thread].add(Union(nest.spans.starts[nest.fresh], nest.spans.ends[nest.fresh]))
        self.threads = {thread: union.whole() for thread, union in marked.items()}

    def hold(self, thread: int, moments: Ns) -> Flags:
        """Which moments of a thread lie in them."""
        if (marked := self.threads.get(thread)) is None:
            return np.zeros(len(moments), dtype=bool)
        places = np.searchsorted(marked.starts, moments, side="right") - 1
        held: Flags = (places != NONE) & (moments < marked.ends[places])
        return held
