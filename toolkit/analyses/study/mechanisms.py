"""Where a difference between two sides of a claim lies, in numbers of both: one function a mechanism.

Each takes the processes of side a and of side b, and gives rows of both with one sentence, or None where neither side
tells anything of it. Single figures are medians over processes; parts are of the process in the middle, so that they
sum to its whole.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

from msgspec import Struct

from toolkit.analyses import difference_parts, differences
from toolkit.analyses.findings import mib
from toolkit.analyses.processes import METRICS, Process, of_allocators
from toolkit.analyses.statistics import ratio_interval
from toolkit.analyses.study.metrics import (
    CLAIMED,
    loss_sum,
    of_gpus,
    sampled,
    steps_an_epoch,
    without_validation,
)
from toolkit.errors import HwprofError
from toolkit.own_spec import TIME, OwnSpec
from toolkit.spec import FRAMEWORKS_SPELT

# NVML's utilisation is a mean over 1/6 to 1 s, by the part (nvmlUtilization_t's own documentation).
LEAST_WINDOW_NS, MOST_WINDOW_NS = 10**9 / 6, 10**9
# Differences of two networks that are named; the others are counted.
NAMED = 6
# Parts of a difference that its sentence names.
LARGEST = 3
LEDGER = "Epoch by ledger, time pass"

Side = Sequence[Process]
Read = Callable[[Process], float | None]


class Row(Struct, frozen=True, kw_only=True):
    """One figure of both sides in `unit` (ns, B, %, ratio, count, number, mW); null with `why`, or told in `words`."""

    what: str
    a: float | None
    b: float | None
    unit: str
    why: str | None


class Mechanism(Struct, frozen=True, kw_only=True):
    """What was looked at, in figures of both sides, and what they come to in one sentence."""

    name: str
    title: str
    says: str
    rows: list[Row]


class Teller(NamedTuple):
    """A mechanism: what it tells, for docs/studies.md, and what reads it off two sides."""

    about: str
    tell: Callable[[Side, Side], Mechanism | None]


def _row(what: str, unit: str, a: float | None, b: float | None, why: str = "not told") -> Row:
    return Row(what=what, a=a, b=b, unit=unit, why=why if a is None or b is None else None)


def _middle(side: Side, read: Read) -> float | None:
    told = [value for process in side if (value := read(process)) is not None]
    return median(told) if told else None


def _both(what: str, unit: str, sides: tuple[Side, Side], read: Read, why: str = "not told") -> Row:
    return _row(what, unit, _middle(sides[0], read), _middle(sides[1], read), why)


def _told(name: str, title: str, says: str, rows: Iterable[Row]) -> Mechanism | None:
    kept = [row for row in rows if not (row.a is None and row.b is None and row.why == "not told")]
    return Mechanism(name=name, title=title, says=says, rows=kept) if kept else None


def _ms(ns: float | None) -> str:
    return "–" if ns is None else f"{ns / 1e6:,.2f} ms"


def _signed(ns: float | None) -> str:
    return "–" if ns is None else f"{ns / 1e6:+,.2f} ms"


def _share(part: float | None, whole: float | None) -> str:
    return "–" if part is None or not whole else f"{part / whole:.1%}"


def ledger(a: Side, b: Side) -> Mechanism | None:
    """The middle epoch of the middle process of each side, by the epoch ledger; its parts sum to it exactly."""
    tables, _ = difference_parts.tables(a, b)
    found = next((table for table in tables if table.of == LEDGER), None)
    if found is None:
        return None
    rows = [_row(part.name.replace("_", " "), "ns", part.a, part.b) for part in found.parts]
    parts = ", ".join(f"{part.name.replace('_', ' ')} {_signed(part.difference)}" for part in found.parts[:LARGEST])
    says = f"An epoch of side b beside one of side a: {_signed(found.difference)}, of which {parts}."
    return _told("ledger", "An epoch by the ledger", says, [*rows, _row("whole epoch", "ns", found.a, found.b)])


def first_epoch(a: Side, b: Side) -> Mechanism | None:
    """Epoch 1 beside the later ones: tracing, compiling and warming up, which the others do not have."""
    sides = (a, b)
    later = _both("a later epoch", "ns", sides, METRICS["epoch_time"].of)
    rows = [
        _both("epoch 1", "ns", sides, METRICS["first_epoch"].of), later,
        _both("compiling in epoch 1", "ns", sides, lambda process: _part(process, "compile", first=True)),
        _both("warming up before it", "ns", sides, lambda process: _stage(process, "warmup")),
    ]  # fmt: skip
    more = [_less(one, other) for one, other in ((rows[0].a, later.a), (rows[0].b, later.b))]
    says = (
        f"Epoch 1 takes {_signed(more[0])} beside a later one on side a, {_signed(more[1])} on side b; compiling in it "
        f"are {_ms(rows[2].a)} and {_ms(rows[2].b)}."
    )
    return _told("first_epoch", "Epoch 1: tracing, compiling, warming up", says, rows)


def between_epochs(a: Side, b: Side) -> Mechanism | None:
    """The middle gap of the middle process by its parts, beside the window over which NVML averages utilisation."""
    sides = (a, b)
    mine, its = (_middle_gap(side) for side in sides)
    gap = _row("gap between epochs", "ns", _of_gap(mine), _of_gap(its))
    parts = [
        _row(f"of it {name.replace('_', ' ')}", "ns", _of_gap(mine, name), _of_gap(its, name))
        for name in dict.fromkeys(name for each in (mine, its) if each for name in each.parts)
    ]
    epoch = _both("an epoch", "ns", sides, METRICS["epoch_time"].of)
    says = (
        f"The gap is {_share(gap.a, epoch.a)} of an epoch on side a and {_share(gap.b, epoch.b)} on side b. NVML's "
        f"utilisation averages over {_ms(LEAST_WINDOW_NS)} to {_ms(MOST_WINDOW_NS)}, by the part: a's gap "
        f"{_seen(gap.a)}, b's {_seen(gap.b)}."
    )
    return _told("between_epochs", "Between epochs", says, [gap, *parts, epoch]) if gap.a or gap.b else None


def _seen(gap: float | None) -> str:
    """What a curve of utilisation can show of a gap."""
    if gap is None:
        return "is not told"
    if gap < LEAST_WINDOW_NS:
        return f"fills {gap / LEAST_WINDOW_NS:.0%} of the shortest window, and cannot show as a gap"
    return "may show, smeared" if gap < 2 * MOST_WINDOW_NS else "is long enough to show"


def validation(a: Side, b: Side) -> Mechanism | None:
    """Validation inside what is timed: with it, without it, and in side b alone."""
    sides = (a, b)
    whole = _both("all epochs with validation", "ns", sides, CLAIMED["train_time"].of)
    alone = _both("without validation", "ns", sides, without_validation)
    inside = _both("validation in an epoch", "ns", sides, lambda process: _part(process, "validation", first=False))
    if not (alone.a and alone.b and whole.b):
        return None
    ratios = [_ratio(a, b, without_validation, its) for its in (without_validation, CLAIMED["train_time"].of)]
    says = (
        f"Without validation on either side b/a is {ratios[0]}; with side b's inside its timer, as fit has it, and "
        f"side a's outside, {ratios[1]}."
    )
    return _told("validation", "Validation inside the timed interval", says, [whole, alone, inside])


def loss(a: Side, b: Side) -> Mechanism | None:
    """The mean loss and its sum over an epoch's steps, of both frameworks alike."""
    sides = (a, b)
    mean = _both("loss, mean over samples", "number", sides, CLAIMED["loss"].of)
    steps = _both("steps in an epoch", "count", sides, steps_an_epoch)
    added = _both("the same, added up over the steps", "number", sides, loss_sum)
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
    return _told("loss", "Loss: mean and sum", says, [mean, steps, added])


def percentages(a: Side, b: Side) -> Mechanism | None:
    """What a percentage of processor or memory is of: each of the denominators that a reader may have in mind."""
    sides = (a, b)
    rows = [
        _both("processor, of one core", "%", sides, CLAIMED["cpu_one_core"].of),
        _both("processor, of all cores", "%", sides, CLAIMED["cpu_all_cores"].of),
        _both("processors", "count", sides, lambda process: process.facts.get("cpus")),
        _both("machine's processors, everybody's", "%", sides, lambda process: sampled(process, "machine_cpu")),
        _both("most resident (RSS)", "B", sides, lambda process: sampled(process, "rss", "most")),
        _both("most proportional (PSS)", "B", sides, lambda process: sampled(process, "pss", "most")),
        _both("resident, of the machine's memory", "%", sides, CLAIMED["memory_share"].of),
        _both("the machine's memory", "B", sides, lambda process: process.facts.get("memory_bytes")),
        _both(
            "control group's use, of its limit", "%", sides, _of_limit, "the control group has no limit, or tells none"
        ),
        _both(
            "GPU memory, most used on the fullest",
            "B",
            sides,
            lambda process: of_gpus(process, "memory_used", "most", max),
            "no GPU",
        ),
    ]
    one, every = rows[:2]
    says = (
        f"Side a's processor is {_number(one.a)} % of one core or {_number(every.a)} % of all, side b's "
        f"{_number(one.b)} % or {_number(every.b)} %: a percentage without its whole can be either. Resident at most "
        f"are {_mib(rows[4].a)} and {_mib(rows[4].b)}, "
        f"{_number(rows[6].a)} % and {_number(rows[6].b)} % of the machine's."
    )
    return _told("percentages", "What the percentages are of", says, rows)


def blocks(a: Side, b: Side) -> Mechanism | None:
    """What allocators reserved and what of it was in use, and how often they asked for more."""
    sides = (a, b)
    figures = (("reserved, most", "peak_reserved_bytes", "B"), ("in use, most", "peak_in_use_bytes", "B"),
               ("times it asked for more", "growth_events", "count"))  # fmt: skip
    whys = "; ".join(dict.fromkeys(why for side in sides for why in _allocator_reasons(side)))
    rows = [
        _both(what, unit, sides, of_allocators(name), whys or "no allocator told it") for what, name, unit in figures
    ]
    rows.append(_both("most resident (RSS)", "B", sides, lambda process: sampled(process, "rss", "most")))
    kept, used = rows[0], rows[1]
    if kept.a is not None and kept.b is not None:
        says = f"In use are {_share(used.a, kept.a)} of what side a reserved, {_share(used.b, kept.b)} of side b's."
    else:
        says = (
            "What is reserved and what is in use, which a graph of used memory cannot tell apart, is not told here"
            f"{f': {whys}' if whys else ''}."
        )
    return _told("blocks", "Memory reserved and in use", says, rows)


def network(a: Side, b: Side) -> Mechanism | None:
    """What the two sides really ran, by their own descriptions: sizes, FLOPs, and how much else differs."""
    try:
        found = differences.compare(*(differences.of_run(side[0].folder) for side in (a, b)))
    except HwprofError:
        return None
    apart = {(one.part, one.what): (one.a, one.b) for one in found.differences}
    descriptions = [differences.of_run(side[0].folder).sections.get("network", {}) for side in (a, b)]
    rows = [
        _row(what, "count", _count(descriptions[0].get(what)), _count(descriptions[1].get(what)))
        for what in ("parameters", "FLOPs a sample")
    ]
    named = [f"{part}: {what} {_value(mine)} and {_value(its)}" for (part, what), (mine, its) in apart.items()][:NAMED]
    says = f"{len(found.differences)} differences between what the sides run" + (
        f", such as {'; '.join(named)}." if named else "."
    )
    return _told("network", "What differs in what runs", says, rows)


def tracing(a: Side, b: Side) -> Mechanism | None:
    """Inference: a request of the smallest batch, and what the stage took beside its timed requests."""
    sides = (a, b)
    request = _both("median request, smallest batch", "ns", sides, METRICS["latency"].of)
    beside = _both("beside the timed requests: tracing, compiling, untimed ones", "ns", sides, _beside_requests)
    image = _both("an image of it", "ns", sides, CLAIMED["image_latency"].of)
    if not (request.a and request.b):
        return None
    times = [f"{(one or 0) / other:,.0f}" for one, other in ((beside.a, request.a), (beside.b, request.b))]
    says = (
        f"What comes before the first timed request is worth {times[0]} requests on side a and {times[1]} on side b: "
        f"a timer around a first or single call reads that."
    )
    return _told("tracing", "A request, and what comes before", says, [request, image, beside])


def power(a: Side, b: Side) -> Mechanism | None:
    """Mean power of the GPUs in use, and images a joule."""
    sides = (a, b)
    why = next((told for process in (*a, *b) if (told := _unavailable(process, "nvml"))), "no GPU in use told it")
    rows = [
        _both("mean power", "mW", sides, CLAIMED["power"].of, why),
        _both("images a joule", "number", sides, METRICS["images_per_joule"].of, why),
        _both("samples a second", "number", sides, METRICS["throughput"].of),
        _both("mean GPU utilisation", "%", sides, lambda process: of_gpus(process, "utilisation", "mean", fmean), why),
    ]
    says = "Power by NVML's sensor, with its window and stated bound in each run's own report."
    return _told("power", "Power", says if rows[0].a else f"There is no power here: {why}.", rows)


def scaling(a: Side, b: Side) -> Mechanism | None:
    """Replicas beside each other: samples a second of all of them, and of how many processors they have."""
    sides = (a, b)
    rate = _both("samples a second, all replicas", "number", sides, METRICS["throughput"].of)
    replicas = _both("replicas", "count", sides, lambda process: getattr(process.spec, "replicas", 1))
    rows = [
        rate, replicas,
        _both("processors", "count", sides, lambda process: process.facts.get("cpus")),
        _both("processor time, of one core", "%", sides, CLAIMED["cpu_one_core"].of),
        _both("a step", "ns", sides, METRICS["step_time"].of),
    ]  # fmt: skip
    if not (rate.a and rate.b):
        return None
    devices = "GPUs" if a[0].device == "cuda" else "processes of one processor, not two GPUs"
    says = f"b gives ×{rate.b / rate.a:.2f} the samples a second of a, by {_number(replicas.b)} replicas as {devices}."
    return _told("scaling", "Replicas beside each other", says, rows)


def _ratio(a: Side, b: Side, mine: Read, its: Read) -> str:
    sides = [[v for p in side if (v := read(p))] for side, read in ((a, mine), (b, its))]
    if not all(sides):
        return "not told"
    found = ratio_interval(*sides)
    ends = "" if found.low is None or found.high is None else f" ({found.low:.3f} to {found.high:.3f})"
    return f"×{found.estimate:.3f}{ends}"


def _part(process: Process, part: str, *, first: bool) -> float | None:
    """A part of epoch 1, or the median of the later ones, of the first where there is no other."""
    epochs = [entry for entry in process.summary.epochs if entry.pass_name == TIME and entry.complete]
    chosen = epochs[:1] if first else epochs[1:] or epochs
    return median(entry.parts_ns.get(part, 0) for entry in chosen) if chosen else None


def _stage(process: Process, stage: str) -> float | None:
    found = (entry.ns for entry in process.summary.stages if (entry.pass_name, entry.stage) == (TIME, stage))
    return next((float(ns) for ns in found), None)


def _gap(process: Process) -> difference_parts.Whole | None:
    """The gap in the middle, by its parts."""
    gaps = sorted((gap for gap in process.summary.gaps if gap.pass_name == TIME), key=lambda gap: gap.gap_ns)
    return difference_parts.Whole(gaps[(len(gaps) - 1) // 2].parts_ns) if gaps else None


def _middle_gap(side: Side) -> difference_parts.Whole | None:
    found = difference_parts.middle(side, _gap)
    return found[1] if found else None


def _of_gap(gap: difference_parts.Whole | None, part: str | None = None) -> float | None:
    """All of it, or a part, of which there may be none."""
    if gap is None:
        return None
    return float(gap.whole if part is None else gap.parts.get(part, 0))


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}".removesuffix(".0")


def _mib(count: float | None) -> str:
    return "–" if count is None else mib(count)


def _of_limit(process: Process) -> float | None:
    used, limit = sampled(process, "cgroup_memory", "most"), sampled(process, "cgroup_memory_limit", "most")
    return 100 * used / limit if used is not None and limit else None


def _allocator_reasons(side: Side) -> Iterator[str]:
    for process in side:
        for row in process.summary.allocators:
            if row.peak_reserved_bytes is None and (why := row.reasons.get("peak_reserved_bytes")):
                yield f"{FRAMEWORKS_SPELT[process.spec.framework]}: {why}"


def _unavailable(process: Process, source: str) -> str | None:
    return next((entry.reason for entry in process.summary.unavailable if entry.source == source), None)


def _beside_requests(process: Process) -> float | None:
    """The stage less its requests, with the transfer and without."""
    stage = _stage(process, "inference")
    timed = [entry for entry in process.summary.inference if entry.pass_name == TIME]
    if stage is None or not timed:
        return None
    requests = sum(
        entry.p50_ns * entry.requests + (entry.resident_p50_ns or 0) * entry.resident_requests for entry in timed
    )
    return max(stage - requests, 0.0)


def _count(value: Any) -> float | None:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _value(value: Any) -> str:
    return "–" if value is None else str(value)


MECHANISMS: Mapping[str, Teller] = {
    "ledger": Teller("the parts of an epoch, which sum to it", ledger),
    "first_epoch": Teller("epoch 1 beside the later ones, and what of it is compiling", first_epoch),
    "between_epochs": Teller("the gap between epochs, beside what a sensor of utilisation can see", between_epochs),
    "validation": Teller("validation inside what is timed, and the ratio without it", validation),
    "loss": Teller("the mean loss and its sum over an epoch, of both sides alike", loss),
    "percentages": Teller("what percentages of processor and memory are of", percentages),
    "blocks": Teller("memory reserved and in use, and how often more was asked for", blocks),
    "network": Teller("what differs in what runs, by its own description", network),
    "tracing": Teller("a request, and what comes before the first timed one", tracing),
    "power": Teller("power, images a joule and utilisation of the GPU", power),
    "scaling": Teller("samples a second of replicas beside each other", scaling),
}
