"""What hwprof's own options cost: step times of fresh processes with each, held to those of processes without any."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from toolkit.analyses import runner
from toolkit.analyses.statistics import Interval, Verdict, median_interval, ratio_interval, verdict
from toolkit.ingest import records
from toolkit.ingest.store import StoreWriter, connect


class OptionCost(Struct, frozen=True, kw_only=True):
    """One option: step times, one a process, and their ratio to those without profiler and samplers.

    `added` is the ratio to the option `over`, which it is on top of; null where that is `off`, whose `ratio` it would
    repeat. `reason` says why there are no figures: the framework has no such option, or its process failed.
    """

    option: str
    over: str
    step_ns: list[float]
    median: Interval | None
    ratio: Interval | None
    verdict: Verdict | None
    added: Interval | None
    reason: str | None


class Overhead(Struct, frozen=True, kw_only=True):
    """What the options cost one framework in training one model, by `repeats` processes of `steps` steps for each."""

    framework: str
    model: str
    mode: str
    batch: int
    device: str
    runtime: str
    steps: int
    repeats: int
    options: list[OptionCost]


def step_ns(raw: Path, *, device: str) -> float | None:
    """The time of a training step of a pass, by its folder; None where no two steps were recorded.

    On a processor the median from one step's start to the next's; on a GPU, where a step's mark ends when its work is
    asked for, the epoch's steps together, by their number.
    """
    with TemporaryDirectory(prefix="hwprof-overhead-") as name:
        with StoreWriter(Path(name)) as store:
            records.read(raw / "worker.jsonl", pass_name=raw.name, store=store)
        with connect(Path(name)) as connection:
            periods = runner.run(connection, "step_periods")
            epochs = runner.run(connection, "training")
    if device == "cuda":
        return next((row["ns"] / row["steps"] for row in epochs if row["steps"]), None)
    return next((float(row["median_ns"]) for row in periods), None)


def costs(
    over: Mapping[str, str], measured: Mapping[str, Sequence[float]], reasons: Mapping[str, str], *, off: str
) -> list[OptionCost]:
    """Of each option of `over`, which names what it is on top of, by step times in ns, one a process."""
    return [
        _cost(option, base, measured, reasons.get(option), off=off)
        for option, base in over.items()
    ]  # fmt: skip


def _cost(
    option: str, over: str, measured: Mapping[str, Sequence[float]], reason: str | None, *, off: str
) -> OptionCost:
    mine, free, base = (list(measured.get(name, ())) for name in (option, off, over))
    ratio = ratio_interval(free, mine) if mine and free and option != off else None
    return OptionCost(
        option=option,
        over=over,
        step_ns=mine,
        median=median_interval(mine) if mine else None,
        ratio=ratio,
        verdict=verdict(ratio) if ratio else None,
        added=ratio_interval(base, mine) if mine and base and over != off else None,
        reason=reason,
    )
