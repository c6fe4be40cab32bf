"""Mechanisms of time: where epochs, gaps, requests and steps of two sides differ. Parts sum to their whole."""

from statistics import median

from toolkit.analyses import difference_parts
from toolkit.analyses.processes import METRICS, Process
from toolkit.analyses.statistics import ratio_interval
from toolkit.analyses.study.mechanism_rows import Mechanism, Read, Side, both, ms, number, row, share, signed, told
from toolkit.analyses.study.metrics import CLAIMED, without_validation
from toolkit.own_spec import TIME

# NVML's utilisation is a mean over 1/6 to 1 s, by the part (nvmlUtilization_t's own documentation).
LEAST_WINDOW_NS, MOST_WINDOW_NS = 10**9 / 6, 10**9
# Parts of a difference that its sentence names.
LARGEST = 3
LEDGER = "Epoch by ledger, time pass"


def ledger(a: Side, b: Side) -> Mechanism | None:
    """The middle epoch of the middle process of each side, by the epoch ledger; its parts sum to it exactly."""
    tables, _ = difference_parts.tables(a, b)
    found = next((table for table in tables if table.of == LEDGER), None)
    if found is None:
        return None
    rows = [row(part.name.replace("_", " "), "ns", part.a, part.b) for part in found.parts]
    parts = ", ".join(f"{part.name.replace('_', ' ')} {signed(part.difference)}" for part in found.parts[:LARGEST])
    says = f"An epoch of side b beside one of side a: {signed(found.difference)}, of which {parts}."
    return told("ledger", "An epoch by the ledger", says, [*rows, row("whole epoch", "ns", found.a, found.b)])


def first_epoch(a: Side, b: Side) -> Mechanism | None:
    """Epoch 1 beside the later ones: tracing, compiling and warming up, which the others do not have."""
    sides = (a, b)
    later = both("a later epoch", "ns", sides, METRICS["epoch_time"].of)
    rows = [
        both("epoch 1", "ns", sides, METRICS["first_epoch"].of), later,
        both("compiling in epoch 1", "ns", sides, lambda process: _part(process, "compile", first=True)),
        both("warming up before it", "ns", sides, lambda process: _stage(process, "warmup")),
    ]  # fmt: skip
    more = [_less(one, other) for one, other in ((rows[0].a, later.a), (rows[0].b, later.b))]
    says = (
        f"Epoch 1 takes {signed(more[0])} beside a later one on side a, {signed(more[1])} on side b; compiling in it "
        f"are {ms(rows[2].a)} and {ms(rows[2].b)}."
    )
    return told("first_epoch", "Epoch 1: tracing, compiling, warming up", says, rows)


def between_epochs(a: Side, b: Side) -> Mechanism | None:
    """The middle gap of the middle process by its parts, beside the window over which NVML averages utilisation."""
    sides = (a, b)
    mine, its = (_middle_gap(side) for side in sides)
    gap = row("gap between epochs", "ns", _of_gap(mine), _of_gap(its))
    parts = [
        row(f"of it {name.replace('_', ' ')}", "ns", _of_gap(mine, name), _of_gap(its, name))
        for name in dict.fromkeys(name for each in (mine, its) if each for name in each.parts)
    ]
    epoch = both("an epoch", "ns", sides, METRICS["epoch_time"].of)
    says = (
        f"The gap is {share(gap.a, epoch.a)} of an epoch on side a and {share(gap.b, epoch.b)} on side b. NVML's "
        f"utilisation averages over {ms(LEAST_WINDOW_NS)} to {ms(MOST_WINDOW_NS)}, by the part: a's gap "
        f"{_seen(gap.a)}, b's {_seen(gap.b)}."
    )
    return told("between_epochs", "Between epochs", says, [gap, *parts, epoch]) if gap.a or gap.b else None


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
    whole = both("all epochs with validation", "ns", sides, CLAIMED["train_time"].of)
    alone = both("without validation", "ns", sides, without_validation)
    inside = both("validation in an epoch", "ns", sides, lambda process: _part(process, "validation", first=False))
    if not (alone.a and alone.b and whole.b):
        return None
    ratios = [_ratio(a, b, without_validation, its) for its in (without_validation, CLAIMED["train_time"].of)]
    says = (
        f"Without validation on either side b/a is {ratios[0]}; with side b's inside its timer, as fit has it, and "
        f"side a's outside, {ratios[1]}."
    )
    return told("validation", "Validation inside the timed interval", says, [whole, alone, inside])


def tracing(a: Side, b: Side) -> Mechanism | None:
    """Inference: a request of the smallest batch, and what the stage took beside its timed requests."""
    sides = (a, b)
    request = both("median request, smallest batch", "ns", sides, METRICS["latency"].of)
    beside = both("beside the timed requests: tracing, compiling, untimed ones", "ns", sides, _beside_requests)
    image = both("an image of it", "ns", sides, CLAIMED["image_latency"].of)
    if not (request.a and request.b):
        return None
    times = [number(one and one / other, 0) for one, other in ((beside.a, request.a), (beside.b, request.b))]
    says = (
        f"What comes before the first timed request is worth {times[0]} requests on side a and {times[1]} on side b: "
        f"a timer around a first or single call reads that."
    )
    return told("tracing", "A request, and what comes before", says, [request, image, beside])


def scaling(a: Side, b: Side) -> Mechanism | None:
    """Replicas beside each other: samples a second of all of them, and of how many processors they have."""
    sides = (a, b)
    rate = both("samples a second, all replicas", "number", sides, METRICS["throughput"].of)
    replicas = both("replicas", "count", sides, lambda process: getattr(process.spec, "replicas", 1))
    rows = [
        rate, replicas,
        both("processors", "count", sides, lambda process: process.facts.get("cpus")),
        both("processor time, of one core", "%", sides, CLAIMED["cpu_one_core"].of),
        both("a step", "ns", sides, METRICS["step_time"].of),
    ]  # fmt: skip
    if not (rate.a and rate.b):
        return None
    devices = "GPUs" if a[0].device == "cuda" else "processes of one processor, not two GPUs"
    says = f"b gives ×{rate.b / rate.a:.2f} the samples a second of a, by {number(replicas.b)} replicas as {devices}."
    return told("scaling", "Replicas beside each other", says, rows)


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
