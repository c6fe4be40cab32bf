"""Importer of the tables that `nvidia-smi --query-gpu=timestamp,… --format=csv` writes, with units or without.

They tell readings of each GPU by the column that tells the GPUs apart; neither sensors nor counters. Source of the
columns and their units: `nvidia-smi --help-query-gpu`.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.clock import NS_PER_S, written_ns
from toolkit.errors import HwprofError
from toolkit.ingest.inflate import blocks, head
from toolkit.ingest.limits import TABLE_DEVICES, TABLE_LINE_BYTES
from toolkit.ingest.reading import AGAIN, WHOLE, Reading, SalvageableError
from toolkit.ingest.store import StoreWriter
from toolkit.ingest.trust import Finding

FORMAT = "nvidia_smi_csv"
SOURCE = "nvidia-smi"
HEAD_BYTES = 1 << 12
BATCH_ROWS = 1 << 13
LEAST_COLUMNS = 2
MOST_REASON = 80


class Metric(NamedTuple):
    """What a column tells: its metric and unit in the store, and one of the column's own units in those."""

    name: str
    unit: str
    factor: float


MIB = 1 << 20
# Column, less what nvidia-smi puts before a newer name of an older one.
METRICS = {
    "power.draw": Metric("power", "mW", 1e3),
    "power.draw.average": Metric("power_average", "mW", 1e3),
    "power.draw.instant": Metric("power_instant", "mW", 1e3),
    "power.limit": Metric("power_limit", "mW", 1e3),
    "enforced.power.limit": Metric("enforced_power_limit", "mW", 1e3),
    "memory.used": Metric("memory_used", "B", MIB),
    "memory.total": Metric("memory_total", "B", MIB),
    "memory.reserved": Metric("memory_reserved", "B", MIB),
    "memory.free": Metric("memory_free", "B", MIB),
    "utilization.gpu": Metric("utilisation", "%", 1),
    "utilization.memory": Metric("memory_utilisation", "%", 1),
    "temperature.gpu": Metric("temperature", "degC", 1),
    "temperature.memory": Metric("memory_temperature", "degC", 1),
    "clocks.sm": Metric("sm_clock", "MHz", 1),
    "clocks.current.sm": Metric("sm_clock", "MHz", 1),
    "clocks.mem": Metric("memory_clock", "MHz", 1),
    "clocks.current.memory": Metric("memory_clock", "MHz", 1),
    "fan.speed": Metric("fan", "%", 1),
}
# Columns that name a GPU, the most telling first.
IDENTITIES = ("index", "gpu", "uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id", "serial")
NAMING = {"name", "gpu_name", "driver_version", "timestamp", "count"}
_UNIT = re.compile(r"\s*\[.*\]$")
_VALUE = re.compile(r"(-?\d{1,15}(?:\.\d{1,9})?)(?: ?[A-Za-z%]{1,3})?")
_REASON = re.compile(
    r"\[?(N/A|Not Supported|Unknown Error|Insufficient Permissions|GPU is lost|ERR!)\]?", re.IGNORECASE
)

Cells = list[str]


def matches(path: Path) -> bool:
    """Whether the first line names a timestamp and a metric in columns."""
    columns = _columns(head(path, HEAD_BYTES).split(b"\n", 1)[0])
    return "timestamp" in columns and any(column in METRICS for column in columns)


def read(path: Path, *, trace: int, pass_name: str | None, store: StoreWriter, reading: Reading = WHOLE) -> None:
    """Appends readings, GPUs, what a GPU did not tell, and what the file leaves open."""
    rows = _rows(path, reading)
    columns = _columns(next(rows, b""))
    if "timestamp" not in columns:
        raise HwprofError(
            f"{path} has no column `timestamp`.", remedy="Have nvidia-smi write it: --query-gpu=timestamp,…."
        )
    table = _Table(path, columns, reading)
    cells = (row.decode(errors="replace").split(",") for row in rows)
    while batch := [[cell.strip() for cell in row] for row in islice(cells, BATCH_ROWS)]:
        table.take(batch)
        if counters := table.counters:
            store.append_rows("counters", [row | {"pass_name": pass_name} for row in counters])
        if table.is_damaged:
            break
    place = {"trace": trace, "pass_name": pass_name}
    about = {"path": store.relative(path), "format": FORMAT, "events": table.rows}
    store.append_rows("traces", [place | about])
    store.append_rows("gpus", [row | {"pass_name": pass_name} for row in table.gpus()])
    store.append_rows("unavailable", [row | {"pass_name": pass_name} for row in table.unavailable()])
    found = [finding for finding in table.findings() if finding.count]
    store.append_rows(
        "warnings",
        [
            place | {"code": one.code, "count": one.count, "message": one.message, "untrusted": one.untrusted}
            for one in found
        ],
    )


def _columns(line: bytes) -> Cells:
    return [_UNIT.sub("", cell.strip()).lower() for cell in line.decode(errors="replace").lstrip("\ufeff").split(",")]


def _rows(path: Path, reading: Reading) -> Iterator[bytes]:
    """The lines that hold anything; a last one without its end is one too."""
    longest, rest = TABLE_LINE_BYTES.value(), b""
    for block in blocks(path, reading):
        *lines, rest = (rest + block).split(b"\n")
        if max(map(len, (*lines, rest))) > longest:
            raise HwprofError(f"{path} holds a line of more than {longest} bytes.", remedy=TABLE_LINE_BYTES.remedy())
        yield from filter(bytes.strip, lines)
    if rest.strip():
        yield rest


def _metrics(columns: Cells) -> dict[int, Metric]:
    """By the place of its column; of columns of one metric the first, for all of them would count a reading twice."""
    places: dict[Metric, int] = {}
    for place, name in enumerate(columns):
        if name in METRICS:
            places.setdefault(METRICS[name], place)
    return {place: metric for metric, place in places.items()}


class _Table:
    """What has been read of one file; `counters` are the last batch's."""

    def __init__(self, path: Path, columns: Cells, reading: Reading) -> None:
        self._path, self._columns, self._reading = path, columns, reading
        self._metrics = _metrics(columns)
        self._time = columns.index("timestamp")
        self._identity: int | None = None
        self._same: list[str] = []
        self._names: dict[str, dict[str, str]] = {}
        self._reasons: dict[tuple[str, str], str] = {}
        self._moments: dict[str, list[int]] = {}
        self._counts: Counter[str] = Counter()
        self._zoned = self._fractions = False
        self.counters: list[dict[str, Any]] = []
        self.rows = 0
        self.is_damaged = False

    def take(self, batch: list[Cells]) -> None:
        """The next rows, as far as they are whole."""
        if not self.rows:
            self._identify(batch)
        self.counters = []
        for row in batch:
            try:
                self._row(row)
            except ValueError as error:
                self._damaged(error)
                return
            self.rows += 1

    def _identify(self, batch: list[Cells]) -> None:
        """The column with most values; of equals the first."""
        told = {name: self._columns.index(name) for name in IDENTITIES if name in self._columns}
        whole = [row for row in batch if len(row) == len(self._columns)]
        counts = {name: len({row[place] for row in whole}) for name, place in told.items()}
        if counts:
            best = max(counts, key=lambda name: counts[name])
            self._identity = told[best]
            self._same = [name for name, count in counts.items() if count < counts[best]]

    def _row(self, row: Cells) -> None:
        if len(row) != len(self._columns):
            raise ValueError(f"{len(row)} cells where there are {len(self._columns)} columns")
        moment, zoned = written_ns(row[self._time].replace("/", "-"))
        device = "0" if self._identity is None else row[self._identity]
        self._zoned |= zoned
        self._fractions |= bool(moment % NS_PER_S)
        self._know(device, row)
        self._moments.setdefault(device, [moment]).append(moment)
        # the first and the last do
        del self._moments[device][1:-1]
        self._counts[device] += 1
        found = []
        for place, metric in self._metrics.items():
            if refused := _REASON.fullmatch(row[place]):
                self._reasons.setdefault((device, metric.name), refused[1][:MOST_REASON])
                continue
            value = _VALUE.fullmatch(row[place])
            if value is None:
                raise ValueError(f"{row[place][:MOST_REASON]!r} is no reading of {self._columns[place]}")
            found.append(
                {"ts_ns": moment, "source": SOURCE, "device": device, "metric": metric.name, "unit": metric.unit}
                | {"value": float(value[1]) * metric.factor}
            )
        self.counters += found

    def _know(self, device: str, row: Cells) -> None:
        if device not in self._names:
            most = TABLE_DEVICES.value()
            if len(self._names) >= most:
                raise HwprofError(f"{self._path} names more than {most} GPUs.", remedy=TABLE_DEVICES.remedy())
            self._names[device] = dict(zip(self._columns, row, strict=True))

    def _damaged(self, error: ValueError) -> None:
        self.is_damaged = True
        # The heading is line 1; empty lines do not count.
        problem = f"is damaged in row {self.rows + 1}: {error}"
        self._reading.damaged(SalvageableError(self._path, problem, kept=f"{self.rows} rows", remedy=AGAIN))

    def gpus(self) -> Iterator[dict[str, Any]]:
        """Each GPU, as far as there are columns about it."""
        for device, told in self._names.items():
            name, uuid = (told.get(one) or told.get(f"gpu_{one}") for one in ("name", "uuid"))
            yield {"device": device, "name": name, "uuid": uuid, "driver": told.get("driver_version")}

    def unavailable(self) -> Iterator[dict[str, Any]]:
        """What nvidia-smi wrote in a reading's place."""
        for (device, metric), reason in self._reasons.items():
            yield {"source": SOURCE, "device": device, "metric": metric, "reason": reason}

    def findings(self) -> Iterator[Finding]:
        """What the file leaves open."""
        rows, identity = self.rows, None if self._identity is None else self._columns[self._identity]
        message = f"Times are whole seconds: a reading may be up to 1 s later than it says, of {rows} rows."
        yield Finding("whole_seconds", rows * (not self._fractions), message, untrusted=False)
        yield Finding("no_time_zone", rows * (not self._zoned), "Times have no zone; UTC is taken.", untrusted=False)
        message = f"GPUs are told apart by {identity}; {', '.join(self._same)} tells fewer of them apart."
        yield Finding("ambiguous_device", len(self._same), message, untrusted=False)
        others = [name for name in self._columns if name not in {*METRICS, *IDENTITIES, *NAMING}]
        message = f"Columns that hwprof does not read: {', '.join(others)[:200]}."
        yield Finding("columns_left", len(others), message, untrusted=False)
        if any(metric.name.startswith("power") for metric in self._metrics.values()):
            yield Finding("no_energy", rows, self._no_energy(), untrusted=False)

    def _no_energy(self) -> str:
        gaps = sorted(
            (self._moments[device][-1] - self._moments[device][0]) // (count - 1)
            for device, count in self._counts.items()
            if count > 1
        )
        every = f"every {gaps[len(gaps) // 2] / NS_PER_S:.1f} s" if gaps else "once"
        return (
            f"Power was read {every}, and the file tells neither a counter nor the sensor's window: what the GPUs drew "
            "between two readings is not known, so there is no energy."
        )
