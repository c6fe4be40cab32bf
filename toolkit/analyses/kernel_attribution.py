"""Kernels by what asked for them: operator, direction of training, module and step, each kernel exactly once.

A kernel belongs to the launch of its correlation, and a launch to the operator that its external id names where that
operator covers the launch's start, else to the innermost operator on the launch's thread that does. What PyTorch marks
as an operator but runs nothing itself (`ProfilerStep#n`, `Optimizer.step#…`, `enumerate(DataLoader)#…`) is none.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import duckdb
import numpy as np
from msgspec import Struct

from toolkit.analyses.device_time import DeviceTime, device_time
from toolkit.analyses.host_spans import HostSpans
from toolkit.analyses.launch_columns import kernels_of, launches_of
from toolkit.analyses.launch_origins import Numbers, Origins, origins
from toolkit.analyses.operators import operator_name
from toolkit.analyses.torch_directions import NAMES, foreign
from toolkit.ingest.columns import Numbering
from toolkit.ingest.nesting import NONE, Ns, Places


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


class _Listed(NamedTuple):
    """What launches are listed by: the number of a name, the call where names are of calls, and numbers' names."""

    number: Numbers
    call: Numbers | None
    name: Callable[[int], str]


def kernel_attribution(connection: duckdb.DuckDBPyConnection) -> list[KernelAttribution]:
    """Each device that ran kernels. Asserts that each list holds every kernel of the device exactly once."""
    devices = [time for time in device_time(connection) if time.kernels]
    others = foreign(connection)
    return [
        attributed
        for trace, times in groupby(devices, key=attrgetter("trace"))
        for attributed in _trace(connection, trace, times, told=trace not in others)
    ]


def _trace(
    connection: duckdb.DuckDBPyConnection, trace: int, times: Iterable[DeviceTime], *, told: bool
) -> Iterator[KernelAttribution]:
    """One trace's devices; `told` is whether it tells training's directions."""
    spans, devices = HostSpans(connection, trace), Numbering[str]()
    kernels = kernels_of(connection, trace, devices)
    launches = launches_of(connection, trace, kernels.correlation, spans.threads)
    launch, device, ns = launches.of(kernels.correlation), kernels.device, kernels.ns
    del kernels  # with millions of them, a column counts
    listed = _listed(origins(connection, trace, launches, spans), spans, told=told)
    del launches
    for time in times:
        own = np.flatnonzero(device == devices[time.device])
        lists = {name: _parts(ns[own], launch[own], by, time.kernel_sum_ns) for name, by in listed.items()}
        for name, members in lists.items():
            sums = sum(part.kernels for part in members), sum(part.kernel_ns for part in members)
            if sums != (time.kernels, time.kernel_sum_ns):
                raise AssertionError(f"kernels by {name} are {sums}, not those of {time}")
        yield KernelAttribution(
            trace=trace, device=time.device, kernels=time.kernels, kernel_sum_ns=time.kernel_sum_ns, **lists
        )


def _listed(found: Origins, spans: HostSpans, *, told: bool) -> dict[str, _Listed]:
    names, types = spans.names.distinct, Numbering[str]()
    # XPlane's operators under their types; the last entry is what NONE finds
    type_of = np.append(types.of(map(operator_name, names)), np.int32(NONE))
    direction = found.direction if told else np.full_like(found.direction, NONE)
    return {
        "operators": _Listed(type_of[found.operator.number], found.operator.call, types.distinct.__getitem__),
        "outermost": _Listed(type_of[found.outermost.number], found.outermost.call, types.distinct.__getitem__),
        "directions": _Listed(direction, None, NAMES.__getitem__),
        "modules": _Listed(found.module.number, found.module.call, names.__getitem__),
        "steps": _Listed(found.step, None, str),
    }


def _parts(ns: Ns, launch: Places, listed: _Listed, whole_ns: int) -> list[KernelPart]:
    """Kernels by name, most time first."""
    numbers = np.append(listed.number, NONE)[launch]
    distinct, inverse, kernels = np.unique(numbers, return_inverse=True, return_counts=True)
    sums = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(sums, inverse, ns)
    calls: Counter[int] = Counter()
    if listed.call is not None:
        called = np.append(listed.call, NONE)[launch]
        calls.update(numbers[np.unique(called, return_index=True)[1]].tolist())
    parts = [
        KernelPart(
            name=None if number == NONE else listed.name(number),
            calls=None if number == NONE or listed.call is None else calls[number],
            kernels=count,
            kernel_ns=sum_ns,
            share=sum_ns / whole_ns if whole_ns else None,
        )
        for number, count, sum_ns in zip(distinct.tolist(), kernels.tolist(), sums.tolist(), strict=True)
    ]
    return sorted(parts, key=lambda part: (-part.kernel_ns, part.name or ""))
