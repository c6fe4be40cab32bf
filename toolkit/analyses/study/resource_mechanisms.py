"""Mechanisms of what was computed, and of what it took: losses, networks, percentages, memory, power of two sides."""

import math
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from toolkit.analyses import differences
from toolkit.analyses.findings import mib
from toolkit.analyses.processes import METRICS, Process, of_allocators
from toolkit.analyses.study.mechanism_rows import Mechanism, Side, both, number, row, share, told
from toolkit.analyses.study.metrics import CLAIMED, loss_sum, of_gpus, sampled, steps_an_epoch
from toolkit.errors import HwprofError
from toolkit.own_spec import OwnSpec
from toolkit.spec import FRAMEWORKS_SPELT

# Differences of two networks that are named; the others are counted.
NAMED = 6


def loss(a: Side, b: Side) -> Mechanism | None:
    """The mean loss and its sum over an epoch's steps, of both frameworks alike."""
    sides = (a, b)
    mean = both("loss, mean over samples", "number", sides, CLAIMED["loss"].of)
    steps = both("steps in an epoch", "count", sides, steps_an_epoch)
    added = both("the same, added up over the steps", "number", sides, loss_sum)
    spec = a[0].spec
    if mean.a is None or mean.b is None or added.b is None or added.a is None or isinstance(spec, OwnSpec):
        return None
    classes = spec.classes
    start = math.log(classes)
    factor = f", a factor of {added.a / mean.b:,.0f}" if mean.b else ""
    says = (
        f"Told alike, the losses are {mean.a:.3f} and {mean.b:.3f}; a's sum beside b's mean would be "
        f"{added.a:,.1f} beside {mean.b:.3f}{factor}, for {steps.a:,.0f} steps. "
        f"Untrained, {classes} classes have a mean of ln {classes} = {start:.3f}, "
        f"and a sum of {start * (steps.a or 0):,.1f}."
    )
    return told("loss", "Loss: mean and sum", says, [mean, steps, added])


def percentages(a: Side, b: Side) -> Mechanism | None:
    """What a percentage of processor or memory is of: each of the denominators that a reader may have in mind."""
    sides = (a, b)
    rows = [
        both("processor, of one core", "%", sides, CLAIMED["cpu_one_core"].of),
        both("processor, of all cores", "%", sides, CLAIMED["cpu_all_cores"].of),
        both("processors", "count", sides, lambda process: process.facts.get("cpus")),
        both("machine's processors, everybody's", "%", sides, lambda process: sampled(process, "machine_cpu")),
        both("most resident (RSS)", "B", sides, lambda process: sampled(process, "rss", "most")),
        both("most proportional (PSS)", "B", sides, lambda process: sampled(process, "pss", "most")),
        both("resident, of the machine's memory", "%", sides, CLAIMED["memory_share"].of),
        both("the machine's memory", "B", sides, lambda process: process.facts.get("memory_bytes")),
        both(
            "control group's use, of its limit", "%", sides, _of_limit, "the control group has no limit, or tells none"
        ),
        both(
            "GPU memory, most used on the fullest",
            "B",
            sides,
            lambda process: of_gpus(process, "memory_used", "most", max),
            "no GPU",
        ),
    ]
    one, every = rows[:2]
    says = (
        f"Side a's processor is {number(one.a)} % of one core or {number(every.a)} % of all, side b's "
        f"{number(one.b)} % or {number(every.b)} %: a percentage without its whole can be either. Resident at most "
        f"are {_mib(rows[4].a)} and {_mib(rows[4].b)}, "
        f"{number(rows[6].a)} % and {number(rows[6].b)} % of the machine's."
    )
    return told("percentages", "What the percentages are of", says, rows)


def blocks(a: Side, b: Side) -> Mechanism | None:
    """What allocators reserved and what of it was in use, and how often they asked for more."""
    sides = (a, b)
    figures = (("reserved, most", "peak_reserved_bytes", "B"), ("in use, most", "peak_in_use_bytes", "B"),
               ("times it asked for more", "growth_events", "count"))  # fmt: skip
    whys = "; ".join(dict.fromkeys(why for side in sides for why in _allocator_reasons(side)))
    rows = [
        both(what, unit, sides, of_allocators(name), whys or "no allocator told it") for what, name, unit in figures
    ]
    rows.append(both("most resident (RSS)", "B", sides, lambda process: sampled(process, "rss", "most")))
    kept, used = rows[0], rows[1]
    if kept.a is not None and kept.b is not None:
        says = f"In use are {share(used.a, kept.a)} of what side a reserved, {share(used.b, kept.b)} of side b's."
    else:
        says = (
            "What is reserved and what is in use, which a graph of used memory cannot tell apart, is not told here"
            f"{f': {whys}' if whys else ''}."
        )
    return told("blocks", "Memory reserved and in use", says, rows)


def network(a: Side, b: Side) -> Mechanism | None:
    """What the two sides really ran, by their own descriptions: sizes, FLOPs, and how much else differs."""
    try:
        found = differences.compare(*(differences.of_run(side[0].folder) for side in (a, b)))
    except HwprofError:
        return None
    apart = {(one.part, one.what): (one.a, one.b) for one in found.differences}
    descriptions = [differences.of_run(side[0].folder).sections.get("network", {}) for side in (a, b)]
    rows = [
        row(what, "count", _count(descriptions[0].get(what)), _count(descriptions[1].get(what)))
        for what in ("parameters", "FLOPs a sample")
    ]
    named = [f"{part}: {what} {_value(mine)} and {_value(its)}" for (part, what), (mine, its) in apart.items()][:NAMED]
    says = f"{len(found.differences)} differences between what the sides run" + (
        f", such as {'; '.join(named)}." if named else "."
    )
    return told("network", "What differs in what runs", says, rows)


def power(a: Side, b: Side) -> Mechanism | None:
    """Mean power of the GPUs in use, and images a joule."""
    sides = (a, b)
    why = next((reason for process in (*a, *b) if (reason := _unavailable(process, "nvml"))), "no GPU in use told it")
    rows = [
        both("mean power", "mW", sides, CLAIMED["power"].of, why),
        both("images a joule", "number", sides, METRICS["images_per_joule"].of, why),
        both("samples a second", "number", sides, METRICS["throughput"].of),
        both("mean GPU utilisation", "%", sides, lambda process: of_gpus(process, "utilisation", "mean", fmean), why),
    ]
    says = "Power by NVML's sensor, with its window and stated bound in each run's own report."
    return told("power", "Power", says if rows[0].a else f"There is no power here: {why}.", rows)


def _mib(count: float | None) -> str:
    return "–" if count is None else mib(count)


def _of_limit(process: Process) -> float | None:
    used, limit = sampled(process, "cgroup_memory", "most"), sampled(process, "cgroup_memory_limit", "most")
    return 100 * used / limit if used is not None and limit else None


def _allocator_reasons(side: Side) -> Iterator[str]:
    for process in side:
        for entry in process.summary.allocators:
            if entry.peak_reserved_bytes is None and (why := entry.reasons.get("peak_reserved_bytes")):
                yield f"{FRAMEWORKS_SPELT[process.spec.framework]}: {why}"


def _unavailable(process: Process, source: str) -> str | None:
    return next((entry.reason for entry in process.summary.unavailable if entry.source == source), None)


def _count(value: Any) -> float | None:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _value(value: Any) -> str:
    return "–" if value is None else str(value)
