"""Energy of a training step, and images for a joule, over the training steps of an epoch together."""

from collections.abc import Iterable
from itertools import groupby
from typing import Annotated

import duckdb
from msgspec import Meta, Struct

from toolkit.analyses.energy import Energy
from toolkit.analyses.training import Training

MaybeMj = Annotated[float | None, Meta(description="millijoules; null where unknown")]


class Efficiency(Struct, frozen=True, kw_only=True):
    """The training steps of one epoch on the GPUs that the run was given, by their counters, or else their integrals.

    `bound` is the share by which `step_mj` may be wrong for want of values between those there are; how far `source`
    itself is wrong is not in it. `resolved_steps` are the steps that have a figure of their own, on every GPU;
    `energy` lists them.
    """

    pass_name: str
    epoch: int
    devices: list[str]
    steps: int
    resolved_steps: int
    source: str | None
    step_mj: MaybeMj
    images_per_joule: float | None
    bound: float | None
    reason: str | None


def efficiencies(
    connection: duckdb.DuckDBPyConnection, energies: Iterable[Energy], trainings: Iterable[Training]
) -> list[Efficiency]:
    """Of each epoch; no images for a joule where its samples are not known."""
    samples = {(training.pass_name, training.epoch): training.samples for training in trainings}
    used = set(connection.execute("SELECT pass_name, device FROM used_gpus").fetchall())
    mine = [energy for energy in energies if (energy.pass_name, energy.device) in used and energy.epoch is not None]
    resolved = _resolved([energy for energy in mine if energy.kind == "step"])
    training = sorted((energy for energy in mine if energy.kind == "training"), key=_epoch)
    return [
        _efficiency(list(group), resolved.get(key, 0), samples[key]) for key, group in groupby(training, key=_epoch)
    ]  # fmt: skip


def _epoch(energy: Energy) -> tuple[str, int]:
    return energy.pass_name, energy.epoch or 0


def _resolved(steps: list[Energy]) -> dict[tuple[str, int], int]:
    """Steps by pass and epoch that have a figure on every GPU."""
    ordered = sorted(steps, key=lambda energy: (_epoch(energy), energy.step or 0))
    counts: dict[tuple[str, int], int] = {}
    for (epoch, _), group in groupby(ordered, key=lambda energy: (_epoch(energy), energy.step)):
        counts[epoch] = counts.get(epoch, 0) + all(energy.told for energy in group)
    return counts


def _efficiency(gpus: list[Energy], resolved: int, samples: int | None) -> Efficiency:
    figures = [(gpu.counter_mj, gpu.counter_bound_mj) for gpu in gpus]
    source, reason = "counter", next((gpu.counter_reason for gpu in gpus if gpu.counter_reason), None)
    if reason:
        figures = [(gpu.integral_mj, gpu.integral_bound_mj) for gpu in gpus]
        source, reason = "integral", next((gpu.integral_reason for gpu in gpus if gpu.integral_reason), None)
    told = [(mj, bound) for mj, bound in figures if mj is not None and bound is not None]
    steps, known = gpus[0].steps or 0, len(told) == len(gpus)
    whole_mj = sum(mj for mj, _ in told)
    return Efficiency(
        pass_name=gpus[0].pass_name,
        epoch=gpus[0].epoch or 0,
        devices=[gpu.device for gpu in gpus],
        steps=steps,
        resolved_steps=resolved,
        source=source if known else None,
        step_mj=whole_mj / steps if known else None,
        images_per_joule=1000 * samples / whole_mj if known and samples else None,
        bound=sum(bound for _, bound in told) / whole_mj if known else None,
        reason=None if known else reason,
    )
