"""Energy of each category of kernels: what the GPU drew while they ran, from many values of a power sensor.

No sensor resolves a kernel. But each of its values is the mean over a window, and the trace tells how long each
category ran in it: power = sum of share times power of the category, by least squares, with idle time as one category
more. The moments of the values are a line through those between whose polls the value changed. Where the mixture is
always the same, or the values too few, no category's power can be told from another's.
"""

from typing import Annotated, Any, NamedTuple

import duckdb
import numpy as np
from msgspec import Meta, Struct

from toolkit.analyses.energy import METRICS, Gpu, gpus_of, polls_of, sensor_of_gpu
from toolkit.analyses.power_curves import LEAST_VALUES, MJ, WORTH_TELLING, Floats, Ns, Polls
from toolkit.analyses.power_sensors import MS, Sensor

MaybeMj = Annotated[float | None, Meta(description="millijoules; null where unknown, with the reason beside it")]
IDLE = "idle"
RESAMPLES = 400
INTERVAL = (2.5, 97.5)
# Of the time between two polls, by which the moment of a change may lie off the line.
OFF_THE_LINE, MOST_OFF = 0.6, 0.05
# A category that a value's window holds less of says nothing in it.
PRESENT = 0.05


class CategoryEnergy(Struct, frozen=True, kw_only=True):
    """What a GPU drew in the `ns` in which kernels of one category ran, or none (`idle`), in the profiled window.

    What it draws at rest is in each. `least_mj` to `most_mj` is a 95 % bootstrap interval over the sensor's `values`,
    `present` of which hold some of the category; what the sensor itself is wrong by is not in it.
    """

    pass_name: str
    device: str
    category: str
    ns: int
    mj: MaybeMj
    least_mj: MaybeMj
    most_mj: MaybeMj
    values: int
    present: int
    metric: str | None
    reason: str | None


class _Work(NamedTuple):
    """Names of categories with how long each ran up to any moment, idle time the last."""

    names: list[str]
    starts: list[Ns]
    ends: list[Ns]
    first: int
    last: int


def category_energies(connection: duckdb.DuckDBPyConnection) -> list[CategoryEnergy]:
    """Of each pass with kernels in its native trace and one GPU in use, for of several nobody tells which is which."""
    gpus: dict[str, list[Gpu]] = {}
    used = set(connection.execute("SELECT pass_name, device FROM used_gpus").fetchall())
    for gpu in gpus_of(connection):
        if (gpu.pass_name, gpu.device) in used:
            gpus.setdefault(gpu.pass_name, []).append(gpu)
    found = []
    for own in gpus.values():
        work = _work(connection, own[0].pass_name)
        if len(own) == 1 and work:
            found += _of_gpu(connection, own[0], work)
    return found


def _work(connection: duckdb.DuckDBPyConnection, pass_name: str) -> _Work | None:
    query = """
        SELECT coalesce(category, 'other') AS category, ts_ns, ts_ns + dur_ns AS end_ns FROM slices
        WHERE pass_name = ? AND kind IN ('kernel', 'memcpy', 'memset') AND dur_ns > 0 ORDER BY ts_ns
    """
    columns = connection.execute(query, [pass_name]).fetchnumpy()
    starts, ends = np.asarray(columns["ts_ns"], np.int64), np.asarray(columns["end_ns"], np.int64)
    if not len(starts):
        return None
    categories = np.asarray(columns["category"], object)
    names = sorted(set(categories.tolist()))
    until = np.maximum.accumulate(ends)
    gaps = np.flatnonzero(starts[1:] > until[:-1])
    each = [categories == name for name in names]
    return _Work(
        [*names, IDLE],
        [*(starts[one] for one in each), until[gaps]],
        [*(np.sort(ends[one]) for one in each), starts[gaps + 1]],
        int(starts[0]),
        int(until[-1]),
    )


def _of_gpu(connection: duckdb.DuckDBPyConnection, gpu: Gpu, work: _Work) -> list[CategoryEnergy]:
    """By the sensor that tells most categories."""
    answers: list[list[CategoryEnergy]] = []
    for metric in METRICS:
        polls = polls_of(connection, gpu, metric, work.first)
        sensor = sensor_of_gpu(connection, gpu, metric)
        if polls is not None and not isinstance(sensor, str) and sensor.windows_ns[0] == sensor.windows_ns[1]:
            answers.append(_by_sensor(gpu, work, polls, sensor))
    return max(answers, key=lambda rows: sum(row.mj is not None for row in rows), default=[])


def _by_sensor(gpu: Gpu, work: _Work, polls: Polls, sensor: Sensor) -> list[CategoryEnergy]:
    shares, milliwatts = _values(work, polls, sensor)
    lasting = [int((end - start).sum()) for start, end in zip(work.starts, work.ends, strict=True)]
    fitted = _fitted(shares, milliwatts) if len(milliwatts) >= LEAST_VALUES else None
    rows = []
    for place, (name, ns) in enumerate(zip(work.names, lasting, strict=True)):
        present = int((shares[:, place] >= PRESENT).sum())
        told = _told(fitted, place, len(milliwatts), present)
        energy = dict.fromkeys(("mj", "least_mj", "most_mj")) if isinstance(told, str) else {
            what: mw * ns * MJ for what, mw in zip(("mj", "least_mj", "most_mj"), told, strict=True)
        }  # fmt: skip
        rows.append(
            CategoryEnergy(
                pass_name=gpu.pass_name, device=gpu.device, category=name, ns=ns, **energy, values=len(milliwatts),
                present=present, metric=sensor.metric, reason=told if isinstance(told, str) else None,
            )
        )  # fmt: skip
    return rows


def _values(work: _Work, polls: Polls, sensor: Sensor) -> tuple[Floats, Floats]:
    """The share of each category in the window of each value that lies in the trace's time, and the value, mW."""
    window_ns = sensor.windows_ns[0]
    moments = _moments(polls, sensor.update_ns)
    moments = moments[(moments - window_ns >= work.first) & (moments <= work.last)]
    after = np.searchsorted(polls.read_at, moments)
    moments, after = moments[after < len(polls.read_at)], after[after < len(polls.read_at)]
    shares = np.zeros((len(moments), len(work.names)))
    for place, (start, end) in enumerate(zip(work.starts, work.ends, strict=True)):
        shares[:, place] = (_until(start, end, moments) - _until(start, end, moments - window_ns)) / window_ns
    return shares, polls.values[after]


def _moments(polls: Polls, update_ns: int) -> Ns:
    """When the sensor had a new value, equal ones too; none where its changes do not lie on a line."""
    changed = np.flatnonzero(np.diff(polls.values)) + 1
    if len(changed) < LEAST_VALUES:
        return polls.read_at[:0]
    origin = polls.read_at[changed[0]]
    gaps = polls.read_at[changed] - polls.read_at[changed - 1]
    middles = polls.read_at[changed] - gaps // 2 - origin
    numbers = np.append(0, np.cumsum(np.maximum(np.rint(np.diff(middles) / update_ns), 1)))
    every, first = np.polyfit(numbers, middles, 1)
    off = np.abs(middles - (first + every * numbers)) > OFF_THE_LINE * gaps + MS
    if off.mean() > MOST_OFF:
        return polls.read_at[:0]
    found: Ns = origin + np.rint(first + every * np.arange(numbers[-1] + 1)).astype(np.int64)
    return found


def _until(starts: Ns, ends: Ns, at: Ns) -> Ns:
    """How long spans had lasted at each moment, those at once counted each."""
    origin = starts[0] if len(starts) else 0
    since = at - origin
    begun, done = np.searchsorted(starts, at), np.searchsorted(ends, at)
    start_sums, end_sums = (np.append(0, np.cumsum(one - origin)) for one in (starts, ends))
    ran: Ns = (begun * since - start_sums[begun]) - (done * since - end_sums[done])
    return ran


def _fitted(shares: Floats, milliwatts: Floats) -> Floats | None:
    """Power of each category, mW, and its interval, as three rows; None where the mixture is always the same."""
    if np.linalg.matrix_rank(shares, tol=1e-3 * len(shares) ** 0.5) < shares.shape[1]:
        return None
    draw = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        drawn = draw.integers(0, len(milliwatts), len(milliwatts))
        found.append(np.linalg.lstsq(shares[drawn], milliwatts[drawn], rcond=None)[0])
    best = np.linalg.lstsq(shares, milliwatts, rcond=None)[0]
    return np.vstack([best, *np.percentile(found, INTERVAL, axis=0)])


def _told(fitted: Floats | None, place: int, values: int, present: int) -> Any:
    """Power with its interval, or why there is none."""
    if min(values, present) < LEAST_VALUES:
        return f"{present} of the sensor's values hold some of it, under {LEAST_VALUES}"
    if fitted is None:
        return "the sensor always saw the same mixture of categories"
    best, least, most = (float(row[place]) for row in fitted)
    if best <= 0 or max(most - best, best - least) > WORTH_TELLING * best:
        return f"known no better than to ±{WORTH_TELLING:.0%}"
    return best, least, most
