"""A run over time, thinned so that it can be drawn: readings, training steps, stages, epochs and ledger parts."""

from collections import defaultdict
from collections.abc import Sequence

import duckdb
from msgspec import Struct, convert

from toolkit.analyses import runner


class Reading(Struct, frozen=True, kw_only=True):
    """One value of a metric."""

    ts_ns: int
    value: float


class ReadingSeries(Struct, frozen=True, kw_only=True):
    """A sampler's metric in one pass: `points` of its `readings`, the extremes among them, by timeline_counters.sql."""

    pass_name: str
    source: str
    device: str | None
    metric: str
    unit: str
    readings: int
    points: list[Reading]


class StepPoint(Struct, frozen=True, kw_only=True):
    """A training step, one of the `steps` of its pass; `host_ns` is its duration on the host."""

    pass_name: str
    epoch: int
    step: int
    steps: int
    ts_ns: int
    host_ns: int
    compiled: bool


class Span(Struct, frozen=True, kw_only=True):
    """A stage, an epoch or a part of its ledger (`lane`), one of `spans`, or what took most of a short time."""

    pass_name: str
    lane: str
    name: str
    epoch: int | None
    spans: int
    start_ns: int
    end_ns: int


class Timeline(Struct, frozen=True, kw_only=True):
    """Everything of one pass that has a place in time."""

    pass_name: str
    readings: list[ReadingSeries]
    steps: list[StepPoint]
    spans: list[Span]


def timelines(connection: duckdb.DuckDBPyConnection, passes: Sequence[str]) -> list[Timeline]:
    """Of those of `passes` of which anything is recorded."""
    readings = _readings(connection)
    steps = convert(runner.run(connection, "timeline_steps"), list[StepPoint])
    spans = convert(runner.run(connection, "timeline_spans"), list[Span])
    found = [
        Timeline(
            pass_name=name,
            readings=[one for one in readings if one.pass_name == name],
            steps=[one for one in steps if one.pass_name == name],
            spans=[one for one in spans if one.pass_name == name],
        )
        for name in passes
    ]
    return [one for one in found if one.readings or one.steps or one.spans]


def _readings(connection: duckdb.DuckDBPyConnection) -> list[ReadingSeries]:
    told: dict[tuple[object, ...], dict[str, object]] = {}
    points: defaultdict[tuple[object, ...], list[Reading]] = defaultdict(list)
    for row in runner.run(connection, "timeline_counters"):
        key = tuple(row[name] for name in ("pass_name", "source", "device", "metric"))
        points[key].append(Reading(ts_ns=row.pop("ts_ns"), value=row.pop("value")))
        told[key] = row
    return [convert(row | {"points": points[key]}, ReadingSeries) for key, row in told.items()]
