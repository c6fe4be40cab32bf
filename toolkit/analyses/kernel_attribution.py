"""Kernels by what asked for them: operator, direction of training, module and step, each kernel exactly once.

A kernel belongs to the launch of its correlation, and a launch to the operator that its external id names where that
operator covers the launch's start, else to the innermost operator on the launch's thread that does. What PyTorch marks
as an operator but runs nothing itself (`ProfilerStep#n`, `Optimizer.step#…`, `enumerate(DataLoader)#…`) is none.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from toolkit.analyses import runner
from toolkit.analyses.device_time import device_time
from toolkit.analyses.operators import operator_name

# One thread's spans, outer before inner where they start together. Autograd's are the engine's evaluations and its
# nodes, which are all that traces of 2021 and before hold of it.
SPANS = r"""
SELECT role, name, external_id, ts_ns AS start_ns, ts_ns + dur_ns AS end_ns
FROM (
    SELECT *, CASE
        WHEN kind = 'python' THEN CASE WHEN starts_with(name, 'nn.Module: ') THEN 'module' END
        WHEN regexp_matches(name, '^Optimizer\.(step|zero_grad)#') THEN 'optimizer'
        WHEN regexp_matches(name, '^(ProfilerStep|enumerate\(Data(Loader|Pipe)\))#') THEN 'marker'
        WHEN kind = 'annotation' THEN NULL
        WHEN regexp_matches(name, '^(autograd::engine::|(struct )?torch::autograd::)') THEN 'autograd'
        WHEN regexp_matches(name, '^[A-Z]\w*Backward\d*$') THEN 'autograd'
        ELSE 'operator'
    END AS role
    FROM slices
    WHERE trace = $1 AND thread = $2 AND dur_ns IS NOT NULL AND kind IN ('op', 'annotation', 'python')
)
WHERE role IS NOT NULL
ORDER BY start_ns, end_ns DESC, external_id NULLS FIRST, name
"""
# Training's directions are PyTorch's; no other framework's trace tells them.
FOREIGN = "SELECT trace FROM traces WHERE format <> 'kineto'"
NONE = -1
# What each part is called by, and what tells its calls apart.
PARTS = {
    "operators": ("operator", "operator_call"),
    "outermost": ("outermost", "outermost_call"),
    "directions": ("direction", None),
    "modules": ("module", "module_call"),
    "steps": ("step", None),
}

LATEST_NS = np.iinfo(np.int64).max
DIRECTIONS = pa.array(["optimizer", "backward", "forward"])
ASKED = {
    "operator": pa.string(),
    "operator_call": pa.int64(),
    "outermost": pa.string(),
    "outermost_call": pa.int64(),
    "direction": pa.string(),
    "module": pa.string(),
    "module_call": pa.int64(),
}

Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class _Part(NamedTuple):
    name: str | None
    calls: int | None
    kernels: int
    kernel_ns: int


class KernelPart(Struct, frozen=True, kw_only=True):
    """Kernels of one name; that of NULL are those which nothing is known to have asked for.

    `calls` counts the calls that launched any of them, NULL where the part is not one of calls; `kernel_ns` is the sum
    of durations, and `share` that of the device's `kernel_sum_ns`, NULL where it is 0.
    """

    name: str | None
    calls: int | None
    kernels: int
    kernel_ns: int
    share: float | None


class KernelAttribution(Struct, frozen=True, kw_only=True):
    """One device's kernels, most time first: each list sums to `kernels` and `kernel_sum_ns` exactly.

    `operators` holds the innermost operators, `outermost` those that no operator holds; `modules` are the innermost of
    PyTorch's `nn.Module: Name_n`, `steps` the n of `ProfilerStep#n`. A direction is `optimizer` within PyTorch's
    annotations of it, `backward` within an operator of the autograd engine or on a thread of its own, else `forward`
    where any operator asked; it is NULL throughout for traces of other frameworks. A thread is the engine's own where
    at least half of its outermost operators are autograd's and no step, optimizer or data loader is marked on it.
    """

    trace: int
    device: str
    kernels: int
    kernel_sum_ns: int
    operators: list[KernelPart]
    outermost: list[KernelPart]
    directions: list[KernelPart]
    modules: list[KernelPart]
    steps: list[KernelPart]


def kernel_attribution(connection: duckdb.DuckDBPyConnection) -> list[KernelAttribution]:
    """Each device that ran kernels. Asserts that each list holds every kernel of the device exactly once."""
    launches = _attributed(connection)
    parts = {name: _parts(launches, *columns) for name, columns in PARTS.items()}
    found = []
    for time in device_time(connection):
        if not time.kernels:
            continue
        lists = {
            name: _shared(by_device[time.trace, time.device], time.kernel_sum_ns) for name, by_device in parts.items()
        }
        for name, members in lists.items():
            sums = sum(part.kernels for part in members), sum(part.kernel_ns for part in members)
            if sums != (time.kernels, time.kernel_sum_ns):
                raise AssertionError(f"kernels by {name} are {sums}, not those of {time}")
        found.append(
            KernelAttribution(
                trace=time.trace, device=time.device, kernels=time.kernels, kernel_sum_ns=time.kernel_sum_ns, **lists
            )
        )
    return found


def _attributed(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """kernel_launches.sql with the columns that PARTS names."""
    launches = connection.sql(runner.text("kernel_launches")).to_arrow_table()
    launches = launches.set_column(launches.column_names.index("step"), "step", launches["step"].cast(pa.string()))
    foreign = {trace for (trace,) in connection.execute(FOREIGN).fetchall()}
    stray = launches.filter(pc.field("thread").is_null())
    found = [_with(stray, {name: pa.nulls(len(stray), type_) for name, type_ in ASKED.items()})]
    threads = launches.group_by(["trace", "thread"]).aggregate([]).drop_null().to_pylist()
    for number, thread in enumerate(threads):
        own = launches.filter((pc.field("trace") == thread["trace"]) & (pc.field("thread") == thread["thread"]))
        spans = connection.sql(SPANS, params=[thread["trace"], thread["thread"]]).to_arrow_table()
        found.append(_with(own, _asked(spans, own, number, told=thread["trace"] not in foreign)))
    return pa.concat_tables(found)


def _with(table: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    return pa.table(dict(zip(table.column_names, table.columns, strict=True)) | columns)


def _asked(spans: pa.Table, launches: pa.Table, number: int, *, told: bool) -> dict[str, pa.Array]:
    """What asked for each of one thread's launches; `told` is whether the trace tells training's directions."""
    moments = launches["launch_ns"].to_numpy()
    operators = _Nest(spans.filter(pc.field("role").isin(["operator", "autograd"])))
    optimizers = _Nest(spans.filter(pc.field("role") == "optimizer"))
    modules = _Nest(spans.filter(pc.field("role") == "module"))
    operator = operators.named(launches["external_id"], moments)
    operator = np.where(operator == NONE, operators.innermost(moments), operator)
    outermost, module = operators.outermost(operator), modules.innermost(moments)
    autograd = operators.flag("autograd")
    marked = len(spans.filter(pc.field("role").isin(["marker", "optimizer"]))) > 0
    backward = operators.within(autograd, operator) | (not marked and operators.mostly(autograd))
    cases = [np.full(len(moments), not told), optimizers.innermost(moments) != NONE, backward, operator != NONE]
    direction = np.select(cases, [NONE, *range(len(DIRECTIONS))], NONE)
    return {
        "operator": _typed(operators.names(operator)),
        "operator_call": _calls(operator, number),
        "outermost": _typed(operators.names(outermost)),
        "outermost_call": _calls(outermost, number),
        "direction": DIRECTIONS.take(pa.array(direction, mask=direction == NONE)),
        "module": modules.names(module),
        "module_call": _calls(module, number),
    }


class _Nest:
    """Spans of one thread, by start and outer first, as SPANS orders them. A place of NONE stands for no span."""

    def __init__(self, spans: pa.Table) -> None:
        # The last entry, which NONE finds, is a span that never begins, never ends and lies in none.
        self._spans = spans
        self._starts = np.append(spans["start_ns"].to_numpy(), LATEST_NS)
        self._ends = np.append(spans["end_ns"].to_numpy(), LATEST_NS)
        self._parents = np.array([*_parents(self._starts[:-1].tolist(), self._ends[:-1].tolist()), NONE])

    def innermost(self, moments: Places) -> Places:
        """Of the spans that hold each moment, the one that began last."""
        places = np.searchsorted(self._starts[:-1], moments, side="right") - 1
        while (over := self._ends[places] <= moments).any():
            places = np.where(over, self._parents[places], places)
        return places

    def named(self, ids: pa.ChunkedArray, moments: Places) -> Places:
        """The span that each external id names, where it holds the moment, its end too: the id leaves no doubt."""
        known = self._spans["external_id"]
        places = pc.index_in(ids, value_set=known, skip_nulls=True).fill_null(NONE).to_numpy()
        return np.where((self._starts[places] <= moments) & (moments <= self._ends[places]), places, NONE)

    def outermost(self, places: Places) -> Places:
        """The span around each that no span holds."""
        while (inside := self._parents[places] != NONE).any():
            places = np.where(inside, self._parents[places], places)
        return places

    def within(self, flags: Flags, places: Places) -> Flags:
        """Whether each span, or any around it, is flagged."""
        found = flags[places]
        while (places != NONE).any():
            places = self._parents[places]
            found = found | flags[places]
        return found

    def flag(self, role: str) -> Flags:
        """Which spans are of this role."""
        return np.append(pc.equal(self._spans["role"], role).to_numpy(), False)

    def mostly(self, flags: Flags) -> bool:
        """Whether at least half of the spans that no span holds are flagged."""
        alone = self._parents[:-1] == NONE
        return bool(2 * np.count_nonzero(flags[:-1] & alone) >= np.count_nonzero(alone) > 0)

    def names(self, places: Places) -> pa.ChunkedArray:
        """Their names; NULL for none."""
        return self._spans["name"].take(pa.array(places, mask=places == NONE))


def _parents(starts: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Of the spans that hold each span's start, the one that began last."""
    parents: list[int] = []
    for place, start in enumerate(starts):
        around = place - 1
        while around != NONE and ends[around] <= start:
            around = parents[around]
        parents.append(around)
    return parents


def _typed(names: pa.ChunkedArray) -> pa.Array:
    """XPlane's operators under their types."""
    encoded = names.combine_chunks().dictionary_encode()
    types = pa.array([operator_name(name) for name in encoded.dictionary.to_pylist()], pa.string())
    return types.take(encoded.indices)


def _calls(places: Places, thread: int) -> pa.Array:
    """A number for each call that no call of another thread has."""
    return pa.array(places + (thread << 32), mask=places == NONE)


def _parts(launches: pa.Table, name: str, call: str | None) -> dict[tuple[int, str], list[_Part]]:
    """Parts of each device, most time first."""
    sums = [("kernels", "sum"), ("kernel_ns", "sum"), *([(call, "count_distinct")] if call else [])]
    parts = defaultdict(list)
    for row in launches.group_by(["trace", "device", name]).aggregate(sums).to_pylist():
        calls = row[f"{call}_count_distinct"] if call and row[name] is not None else None
        part = _Part(row[name], calls, row["kernels_sum"], row["kernel_ns_sum"])
        parts[row["trace"], row["device"]].append(part)
    return {key: sorted(members, key=lambda part: (-part.kernel_ns, part.name or "")) for key, members in parts.items()}


def _shared(parts: Sequence[_Part], whole_ns: int) -> list[KernelPart]:
    return [KernelPart(**part._asdict(), share=part.kernel_ns / whole_ns if whole_ns else None) for part in parts]
