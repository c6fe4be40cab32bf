"""Energy of a run, its stages, epochs, phases and steps, by the counter and by the integral of power, side by side.

Of GPUs, and of processor packages and memory where RAPL's counters could be read.
"""

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

import duckdb
import numpy as np
from msgspec import Meta, Struct

from toolkit.analyses import power_curves, runner
from toolkit.analyses.power_curves import Curve, Figures, Ns, Polls, Windows
from toolkit.analyses.power_sensors import Sensor, sensor_of

METRICS = ("power_instant", "power_average", "power")
NO_LIMIT = 2
# Intel's Software Developer's Manual, volume 3, "RAPL interfaces": about each millisecond.
RAPL_UPDATE_NS = 1_000_000
Mj = Annotated[float | None, Meta(description="millijoules; null where unknown, with the reason beside it")]


class Energy(Struct, frozen=True, kw_only=True):
    """What one GPU, or RAPL zone, drew in one window, or in all those of one phase of an epoch together.

    `counter_mj` is the difference of the driver's counter, of which NVIDIA states no accuracy; `integral_mj` the sum of
    the power sensor that tells most of this window, `metric`. Each lies within its `…_bound_mj` of what the sensor
    would have told with no time between its values; a sensor itself was found wrong by up to `sensor_error` of the
    energy, on this GPU or, where `sensor_error_is_own` is false, on others. `disagreement` is integral over counter,
    less 1.
    """

    pass_name: str
    device: str
    kind: str
    name: str
    epoch: int | None
    step: int | None
    steps: int | None
    windows: int
    ns: int
    counter_mj: Mj
    counter_bound_mj: Mj
    counter_reason: str | None
    integral_mj: Mj
    integral_bound_mj: Mj
    integral_reason: str | None
    metric: str | None
    sensor: str | None
    sensor_error: float | None
    sensor_error_is_own: bool | None
    disagreement: float | None

    @property
    def told(self) -> bool:
        """Whether there is a figure of either kind."""
        return self.counter_mj is not None or self.integral_mj is not None


class Gpu(NamedTuple):
    """A GPU of a pass, or what else has a counter of energy; `most_mw` is the most power that it can draw."""

    pass_name: str
    device: str
    name: str
    architecture: str | None
    driver: str
    most_mw: float


class _Told(NamedTuple):
    """What one source says of every window; `sensor` is None for the counter."""

    figures: Figures
    sensor: Sensor | None


def energies(connection: duckdb.DuckDBPyConnection) -> list[Energy]:
    """Of every GPU and every window of its pass, those that no sensor resolves too, with the reason."""
    rows = runner.run(connection, "energy_windows")
    found = []
    for read, sources in ((_of_gpu, gpus_of(connection)), (_of_zone, _zones(connection))):
        for source in sources:
            mine = _grouped(row for row in rows if row["pass_name"] == source.pass_name)
            if mine:
                found += read(connection, source, mine)
    return found


def gpus_of(connection: duckdb.DuckDBPyConnection) -> list[Gpu]:
    """Of every pass."""
    query = """
        SELECT pass_name, device, name, architecture, driver, greatest(coalesce(power_limit_mw, 0), coalesce((
            SELECT max(value) * CASE WHEN power_limit_mw IS NULL THEN $1 ELSE 1 END FROM counters
            WHERE counters.pass_name = gpus.pass_name AND counters.device = gpus.device AND metric = ANY($2)
        ), 0)) FROM gpus ORDER BY pass_name, device
    """
    return [Gpu(*row) for row in connection.execute(query, [NO_LIMIT, list(METRICS)]).fetchall()]


def _zones(connection: duckdb.DuckDBPyConnection) -> list[Gpu]:
    """RAPL's counters, which tell no limit: twice the steepest that they rose."""
    query = """
        WITH rises AS (
            SELECT pass_name, metric, (value - lag(value) OVER own) / (ts_ns - lag(ts_ns) OVER own) * 1e9 AS milliwatts
            FROM counters WHERE source = 'host' AND metric LIKE 'rapl\\_%' ESCAPE '\\'
            WINDOW own AS (PARTITION BY pass_name, metric ORDER BY ts_ns)
        )
        SELECT pass_name, metric, metric, NULL, '', $1 * max(milliwatts) FROM rises
        GROUP BY pass_name, metric HAVING max(milliwatts) > 0 ORDER BY pass_name, metric
    """
    return [Gpu(*row) for row in connection.execute(query, [NO_LIMIT]).fetchall()]


def _grouped(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Windows of one phase of an epoch together, every other for itself."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        own = (row["epoch"], row["name"]) if row["kind"] == "phase" else (row["epoch"], row["name"], row["ts_ns"])
        groups.setdefault((row["kind"], *own), []).append(row)
    return list(groups.values())


def _of_gpu(connection: duckdb.DuckDBPyConnection, gpu: Gpu, groups: list[list[dict[str, Any]]]) -> list[Energy]:
    starts, ends = _spans([row for group in groups for row in group])
    windows = Windows(starts, ends, first=np.cumsum([0, *(len(group) for group in groups)])[:-1])
    steps = tuple(map(np.sort, _spans([row for group in groups for row in group if row["kind"] == "step"])))
    since_ns = int(starts.min())
    counter = _told(_counter(connection, gpu, since_ns), None, windows)
    sensors = []
    for metric in METRICS:
        curve, sensor = _power(connection, gpu, metric, since_ns)
        if sensor and isinstance(curve, Curve):
            curve = curve._replace(in_step=power_curves.in_step(curve, sensor, *steps))
        sensors.append(_told(curve, sensor, windows))
    return [
        _energy(gpu, group, _at(counter, place), [_at(told, place) for told in sensors])
        for place, group in enumerate(groups)
    ]


def _of_zone(connection: duckdb.DuckDBPyConnection, zone: Gpu, groups: list[list[dict[str, Any]]]) -> list[Energy]:
    starts, ends = _spans([row for group in groups for row in group])
    windows = Windows(starts, ends, first=np.cumsum([0, *(len(group) for group in groups)])[:-1])
    polls = polls_of(connection, zone, zone.device, int(starts.min()))
    curve = "there are no readings" if polls is None else power_curves.of_counter(polls, RAPL_UPDATE_NS)
    counter, no_sensor = _told(curve, None, windows), _told("RAPL has a counter alone", None, windows)
    return [_energy(zone, group, _at(counter, place), [_at(no_sensor, place)]) for place, group in enumerate(groups)]


def _spans(rows: list[dict[str, Any]]) -> tuple[Ns, Ns]:
    """Starts and ends."""
    return np.array([row["ts_ns"] for row in rows], np.int64), np.array([row["end_ns"] for row in rows], np.int64)


def _told(curve: Curve | str, sensor: Sensor | None, windows: Windows) -> _Told:
    if isinstance(curve, str):
        nothing = np.full(len(windows.first), np.nan)
        return _Told(Figures(nothing, nothing, [curve] * len(windows.first)), sensor)
    return _Told(curve.of(windows), sensor)


class _Figure(NamedTuple):
    mj: float
    bound_mj: float
    reason: str
    sensor: Sensor | None


def _at(told: _Told, place: int) -> _Figure:
    figures = told.figures
    return _Figure(float(figures.mj[place]), float(figures.bound_mj[place]), figures.reasons[place], told.sensor)


def _counter(connection: duckdb.DuckDBPyConnection, gpu: Gpu, since_ns: int) -> Curve | str:
    polls = polls_of(connection, gpu, "energy", since_ns)
    if polls is None:
        return "there is no energy counter"
    return power_curves.of_counter(polls, _update_ns(connection, gpu, "energy"))


def _power(
    connection: duckdb.DuckDBPyConnection, gpu: Gpu, metric: str, since_ns: int
) -> tuple[Curve | str, Sensor | None]:
    polls = polls_of(connection, gpu, metric, since_ns)
    if polls is None:
        return "there are no readings of power", None
    sensor = sensor_of_gpu(connection, gpu, metric)
    if isinstance(sensor, str):
        return sensor, None
    return power_curves.of_power(polls, sensor), sensor


def polls_of(connection: duckdb.DuckDBPyConnection, gpu: Gpu, metric: str, since_ns: int) -> Polls | None:
    """All readings; before `since_ns` there were more of them, to find the sensor's period. None: there are none."""
    query = """
        SELECT ts_ns, value FROM counters
        WHERE source IN ('nvml', 'host') AND pass_name = ? AND coalesce(device, metric) = ? AND metric = ?
        ORDER BY ts_ns
    """
    columns = connection.execute(query, [gpu.pass_name, gpu.device, metric]).fetchnumpy()
    read_at = np.asarray(columns["ts_ns"], np.int64)
    gaps = np.diff(read_at[read_at >= since_ns])
    if not len(gaps):
        return None
    return Polls(read_at, np.asarray(columns["value"], np.float64), float(np.median(gaps)), gpu.most_mw)


def sensor_of_gpu(connection: duckdb.DuckDBPyConnection, gpu: Gpu, metric: str) -> Sensor | str:
    """The sensor of `metric`; a reason where it measures no energy."""
    return sensor_of(metric, gpu.name, gpu.architecture, gpu.driver, _update_ns(connection, gpu, metric))


def _update_ns(connection: duckdb.DuckDBPyConnection, gpu: Gpu, metric: str) -> int | None:
    query = "SELECT update_ns FROM sensors WHERE pass_name = ? AND device = ? AND metric = ?"
    found = connection.execute(query, [gpu.pass_name, gpu.device, metric]).fetchone()
    return found[0] if found else None


def _energy(gpu: Gpu, group: list[dict[str, Any]], counter: _Figure, sensors: list[_Figure]) -> Energy:
    """The sensor that bounds this window's energy best stands for the integral; the first one where none tells."""
    telling = [figure for figure in sensors if not figure.reason]
    integral = min(telling, key=lambda figure: figure.bound_mj, default=_nearest(sensors))
    sensor = integral.sensor if telling else None
    both = not counter.reason and not integral.reason
    return Energy(
        pass_name=gpu.pass_name,
        device=gpu.device,
        kind=group[0]["kind"],
        name=group[0]["name"],
        epoch=group[0]["epoch"],
        step=group[0]["step"],
        steps=group[0]["steps"],
        windows=len(group),
        ns=sum(row["end_ns"] - row["ts_ns"] for row in group),
        counter_mj=None if counter.reason else counter.mj,
        counter_bound_mj=None if counter.reason else counter.bound_mj,
        counter_reason=counter.reason or None,
        integral_mj=None if integral.reason else integral.mj,
        integral_bound_mj=None if integral.reason else integral.bound_mj,
        integral_reason=integral.reason or None,
        metric=sensor and sensor.metric,
        sensor=sensor and sensor.words,
        sensor_error=sensor and sensor.error,
        sensor_error_is_own=sensor and sensor.is_own,
        disagreement=integral.mj / counter.mj - 1 if both else None,
    )


def _nearest(sensors: list[_Figure]) -> _Figure:
    """Of sensors that do not tell, one that has at least readings."""
    return next((figure for figure in sensors if figure.sensor), sensors[0])
