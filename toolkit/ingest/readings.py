"""A sampler's readings and samples into the store's counters, a block of lines at a time, however many there are."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from toolkit.clock import NS_PER_US, MonotonicAxis
from toolkit.ingest.store import StoreWriter

# How such lines begin, as capture/record.py writes them.
PREFIXES = ('["readings"', '["samples"')
UNITS = '["units"'
BLOCK_LINES = 1 << 14


class _Row(NamedTuple):
    """A row of counters, less the unit and the pass."""

    ts_ns: int
    source: str
    device: str
    metric: str
    value: float
    told_ns: int | None


def read(path: Path, axis: MonotonicAxis, *, pass_name: str, store: StoreWriter) -> None:
    """Appends them; a last line cut off by a kill is left out."""
    units: dict[str, str] = {}
    with path.open(encoding="utf-8") as file:
        # `units` comes before what it names.
        lines = (line for line in file if line.startswith((*PREFIXES, UNITS)) and line.endswith("\n"))
        while block := list(islice(lines, BLOCK_LINES)):
            for line in block:
                if line.startswith(UNITS):
                    units |= msgspec.json.decode(line)[1]
            _append(_rows(block, axis), units, pass_name, store)


def _rows(lines: Iterable[str], axis: MonotonicAxis) -> Iterator[_Row]:
    """Readings by the moment at which they were taken; of samples the driver's own times are all that there is."""
    for line in lines:
        kind, *fields = msgspec.json.decode(line)
        if kind == "readings":
            at, source, device, values, told_us = fields
            ts_ns = axis.realtime_ns(at)
            for metric, value in values.items():
                us = told_us.get(metric)
                yield _Row(ts_ns, source, device, metric, value, us * NS_PER_US if us else None)
        elif kind == "samples":
            source, device, metric, found = fields
            for us, value in found:
                yield _Row(us * NS_PER_US, source, device, metric, value, us * NS_PER_US)


def _append(rows: Iterable[_Row], units: dict[str, str], pass_name: str, store: StoreWriter) -> None:
    columns: dict[str, list[Any]] = dict(zip(_Row._fields, map(list, zip(*rows, strict=True)), strict=False))
    if columns:
        columns["unit"] = [units[metric] for metric in columns["metric"]]
        columns["pass_name"] = [pass_name] * len(columns["metric"])
        store.append("counters", columns)
