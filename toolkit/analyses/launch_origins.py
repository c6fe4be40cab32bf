"""What asked for each launch: operator, direction of training, module and step.

A thread is the autograd engine's own where at least half of its outermost operators are autograd's and no step,
optimizer or data loader is marked on it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from toolkit.analyses.host_spans import NO_ID, HostSpans
from toolkit.analyses.launch_columns import Launches
from toolkit.ingest.columns import Answers
from toolkit.ingest.nesting import LATEST_NS, NONE, Flags, Nest, Ns, Places

DIRECTIONS = ("optimizer", "backward", "forward")
OPTIMIZER, BACKWARD, FORWARD = range(len(DIRECTIONS))

# What PyTorch marks as an operator but runs nothing itself.
_OPTIMIZER = re.compile(r"Optimizer\.(step|zero_grad)#")
_MARKER = re.compile(r"(ProfilerStep|enumerate\(Data(Loader|Pipe)\))#|" + _OPTIMIZER.pattern)
# Autograd's are the engine's evaluations and its nodes, which are all that traces of 2021 and before hold of it.
_AUTOGRAD = re.compile(r"autograd::engine::|(struct )?torch::autograd::|[A-Z]\w*Backward\d*$")
_OPERATORS = "kind = 'op'"
_MARKED = """
kind IN ('op', 'annotation') AND (
    starts_with(name, 'ProfilerStep#') OR starts_with(name, 'enumerate(Data') OR starts_with(name, 'Optimizer.')
)
"""
_MODULES = "kind = 'python' AND starts_with(name, 'nn.Module: ')"
_STEPS = "SELECT step, host_start_ns, host_end_ns FROM marked_steps WHERE trace = $1 ORDER BY host_start_ns"

Numbers = npt.NDArray[np.int32]


class Part(NamedTuple):
    """Of each launch: what it belongs to, by a number, and in which call of that; NONE where it belongs to nothing."""

    number: Numbers
    call: Numbers

    @classmethod
    def none(cls, count: int) -> "Part":
        """Nothing, for so many launches."""
        return cls(*np.full((2, count), NONE, dtype=np.int32))

    def put(self, which: slice, places: Places, nest: Nest) -> None:
        """These launches belong to the spans at these places of a window, by name and own number."""
        names, _, numbers = nest.spans.labels
        self.number[which] = np.append(names, NONE)[places]
        self.call[which] = np.append(numbers, NONE)[places]


class Origins(NamedTuple):
    """What asked for each launch: operators and modules by their names in HostSpans, directions by DIRECTIONS."""

    operator: Part
    outermost: Part
    direction: Numbers
    module: Part
    step: Numbers


def origins(connection: duckdb.DuckDBPyConnection, trace: int, launches: Launches, spans: HostSpans) -> Origins:
    """Reads a trace's host spans for its launches."""
    count = len(launches.thread)
    operator, outermost, module = (Part.none(count) for _ in range(3))
    backward = np.zeros(count, dtype=bool)
    autograd = Answers(lambda name: bool(_AUTOGRAD.match(name)), spans.names)
    outer, engines = Counter[int](), Counter[int]()
    for thread, nest, which in _resolved(launches, spans.nests(_OPERATORS, _is_operator)):
        flags = autograd.of(nest.spans.labels[0].astype(np.int32)).astype(bool)
        alone = nest.parents[:-1][nest.fresh] == NONE
        outer[thread] += int(np.count_nonzero(alone))
        engines[thread] += int(np.count_nonzero(alone & flags[nest.fresh]))
        place = _operator(nest, launches.start_ns[which], launches.external_id[which])
        operator.put(which, place, nest)
        outermost.put(which, nest.outermost[place], nest)
        backward[which] = nest.within(flags)[place]
    for _, nest, which in _resolved(launches, spans.nests(_MODULES, _is_any)):
        module.put(which, nest.innermost(launches.start_ns[which]), nest)
    own = {thread for thread, members in outer.items() if 2 * engines[thread] >= members}
    own -= {thread for thread, _ in spans.nests(_MARKED, _is_marker)}
    backward |= np.isin(launches.thread, list(own))
    cases = [_in_optimizer(launches, spans), backward, operator.number != NONE]
    direction = np.select(cases, [OPTIMIZER, BACKWARD, FORWARD], NONE).astype(np.int32)
    return Origins(operator, outermost, direction, module, _steps(connection, trace, launches))


def _is_any(_: str) -> bool:
    return True


def _is_marker(name: str) -> bool:
    return bool(_MARKER.match(name))


def _is_operator(name: str) -> bool:
    return not _MARKER.match(name)


def _is_optimizer(name: str) -> bool:
    return bool(_OPTIMIZER.match(name))


def _resolved(launches: Launches, nests: Iterable[tuple[int, Nest]]) -> Iterator[tuple[int, Nest, slice]]:
    """Thread, window, and the launches of the thread that the window is the first to know all about."""
    done: dict[int, int] = {}
    for thread, nest in nests:
        start = done.get(thread, int(np.searchsorted(launches.thread, thread)))
        end = int(np.searchsorted(launches.thread, thread, side="right"))
        done[thread] = start + int(np.searchsorted(launches.start_ns[start:end], nest.until_ns))
        yield thread, nest, slice(start, done[thread])


def _operator(nest: Nest, moments: Ns, ids: Ns) -> Places:
    """The operator that each external id names, where it holds the moment, its end too; else the innermost one."""
    starts, ends, (_, known, _) = nest.spans
    order = np.append(np.argsort(known, kind="stable"), NONE)
    places = order[np.searchsorted(known, ids, sorter=order[:-1])]
    starts, ends, known = np.append(starts, LATEST_NS), np.append(ends, LATEST_NS), np.append(known, NO_ID)
    named = (known[places] == ids) & (ids != NO_ID) & (starts[places] <= moments) & (moments <= ends[places])
    return np.where(named, places, nest.innermost(moments))


def _in_optimizer(launches: Launches, spans: HostSpans) -> Flags:
    found = np.zeros(len(launches.thread), dtype=bool)
    for _, nest, which in _resolved(launches, spans.nests(_MARKED, _is_optimizer)):
        found[which] = nest.innermost(launches.start_ns[which]) != NONE
    return found


def _steps(connection: duckdb.DuckDBPyConnection, trace: int, launches: Launches) -> Numbers:
    """The number of the marked step that each call lies in; NONE where it lies in none."""
    marked = np.array([(NONE, -LATEST_NS, -LATEST_NS), *connection.execute(_STEPS, [trace]).fetchall()], dtype=np.int64)
    steps, starts, ends = marked.T
    places = np.searchsorted(starts, launches.start_ns, side="right") - 1
    return np.where(launches.end_ns <= ends[places], steps[places], NONE).astype(np.int32)
