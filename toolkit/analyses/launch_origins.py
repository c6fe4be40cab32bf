"""What asked for each launch: operator, direction of training, module and step."""

from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from toolkit.analyses.host_spans import NO_ID, HostSpans, resolved
from toolkit.analyses.launch_columns import Launches
from toolkit.analyses.torch_directions import (
    BACKWARD,
    FORWARD,
    OPERATORS,
    OPTIMIZER,
    Engines,
    Optimizers,
    is_operator,
)
from toolkit.ingest.nesting import LATEST_NS, NONE, Flags, Nest, Ns, Places

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
        names, _, numbers, _ = nest.spans.labels
        self.number[which] = np.append(names, NONE)[places]
        self.call[which] = np.append(numbers, NONE)[places]


class Origins(NamedTuple):
    """What asked for each launch: operators and modules by their names in HostSpans, directions by NAMES."""

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
    engines = Engines(spans)
    for thread, nest, which in resolved(launches.thread, launches.start_ns, spans.nests(OPERATORS, is_operator)):
        place = _operator(nest, launches.start_ns[which], launches.external_id[which])
        operator.put(which, place, nest)
        outermost.put(which, nest.outermost[place], nest)
        backward[which] = engines.within(thread, nest)[place]
    for _, nest, which in resolved(launches.thread, launches.start_ns, spans.nests(_MODULES, _is_any)):
        module.put(which, nest.innermost(launches.start_ns[which]), nest)
    backward |= np.isin(launches.thread, list(engines.threads()))
    cases = [_in_optimizer(launches, spans), backward, operator.number != NONE]
    direction = np.select(cases, [OPTIMIZER, BACKWARD, FORWARD], NONE).astype(np.int32)
    return Origins(operator, outermost, direction, module, _steps(connection, trace, launches))


def _is_any(_: str) -> bool:
    return True


def _operator(nest: Nest, moments: Ns, ids: Ns) -> Places:
    """The operator that each external id names, where it holds the moment, its end too; else the innermost one."""
    starts, ends, (_, known, *_) = nest.spans
    order = np.append(np.argsort(known, kind="stable"), NONE)
    places = order[np.searchsorted(known, ids, sorter=order[:-1])]
    starts, ends, known = np.append(starts, LATEST_NS), np.append(ends, LATEST_NS), np.append(known, NO_ID)
    named = (known[places] == ids) & (ids != NO_ID) & (starts[places] <= moments) & (moments <= ends[places])
    return np.where(named, places, nest.innermost(moments))


def _in_optimizer(launches: Launches, spans: HostSpans) -> Flags:
    optimizers = Optimizers(spans)
    found = np.zeros(len(launches.thread), dtype=bool)
    for thread in optimizers.threads:
        own = slice(*np.searchsorted(launches.thread, (thread, thread + 1)))
        found[own] = optimizers.hold(thread, launches.start_ns[own])
    return found


def _steps(connection: duckdb.DuckDBPyConnection, trace: int, launches: Launches) -> Numbers:
    """The number of the marked step that each call lies in; NONE where it lies in none."""
    marked = np.array([(NONE, -LATEST_NS, -LATEST_NS), *connection.execute(_STEPS, [trace]).fetchall()], dtype=np.int64)
    steps, starts, ends = marked.T
    places = np.searchsorted(starts, launches.start_ns, side="right") - 1
    return np.where(launches.end_ns <= ends[places], steps[places], NONE).astype(np.int32)
