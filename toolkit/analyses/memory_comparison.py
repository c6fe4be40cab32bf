"""Why two runs differ in memory: their allocators' rows split into the same parts, whose differences sum to the whole.

A run's memory is a stack of levels, each at least the one below: live tensors; what was in use beside them at the
most; what fragmentation keeps from use; what the allocator reserved; what the device had. A part is what one level has
over the one below. A level that is not known of both runs is left out, and its part is told together with the next one.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from toolkit.analyses.allocator_memory import CPU, AllocatorMemory
from toolkit.errors import HwprofError
from toolkit.own_spec import ALL_PASSES, OwnSpec, Spec
from toolkit.spec import FRAMEWORKS_SPELT

LIVE = "live tensors"
WORKSPACE = "workspace"
FRAGMENTATION = "fragmentation"
RESERVATION = "reservation policy"
OUTSIDE = "context and unexplained"
PARTS = (LIVE, WORKSPACE, FRAGMENTATION, RESERVATION, OUTSIDE)
# What the host's allocators free goes back to the system, so that no more than this can be told apart there.
HOST_PARTS = (LIVE, OUTSIDE)
MEANINGS = {
    LIVE: "in use when the allocator last told: weights, optimizer state, what the loop keeps",
    WORKSPACE: "in use beside them at the most: activations, gradients, temporaries, libraries' workspaces",
    FRAGMENTATION: "free and beyond the peak, in pieces that the allocator's own definition counts as fragmented",
    RESERVATION: "reserved beyond that, for later",
    OUTSIDE: "on the device beyond that: context, libraries' code, others; on the host also interpreter and pools",
}
# What a level at the top is called, by the part below it.
WHOLES = {
    LIVE: "in use", WORKSPACE: "in use at the most", FRAGMENTATION: "in use at the most", RESERVATION: "reserved",
    OUTSIDE: "on the device",
}  # fmt: skip
# The figure without which a part cannot be told.
FIGURES = {
    LIVE: "in_use_bytes", WORKSPACE: "peak_in_use_bytes", FRAGMENTATION: "fragmented_bytes",
    RESERVATION: "reserved_bytes", OUTSIDE: "device_bytes",
}  # fmt: skip
# An advice wants a difference of at least this share of the larger whole, and this many bytes.
LEAST_SHARE, LEAST_BYTES = 0.02, 1 << 20


class MemoryPart(Struct, frozen=True, kw_only=True):
    """One part of both runs' memory; `difference_bytes` is b - a. `name` joins the parts that cannot be told apart."""

    name: str
    a_bytes: int
    b_bytes: int
    difference_bytes: int


class Advice(Struct, frozen=True, kw_only=True):
    """What would reduce `part` of run `run`, a or b; `figure_bytes` is what that run has more of it than the other."""

    run: str
    part: str
    figure_bytes: int
    text: str


class MemoryComparison(Struct, frozen=True, kw_only=True):
    """Two runs' memory in one pass: `parts` sum to `whole`, in each run and in the difference, exactly.

    `whole` says what that is: the highest level that both tell. `peak_difference_bytes` is b - a of what was in use at
    the most; null where one does not tell. `notes` say what could not be told, and why. `forced` as matched.check says.
    """

    runs: list[str]
    allocators: list[str]
    pass_name: str
    device: str | None
    forced: str | None
    whole: str
    a_bytes: int
    b_bytes: int
    difference_bytes: int
    parts: list[MemoryPart]
    peak_difference_bytes: int | None
    advice: list[Advice]
    notes: list[str]


class Side(Struct, frozen=True, kw_only=True):
    """One of the two runs: its name, what was asked of it, and its allocators."""

    name: str
    spec: Spec
    allocators: list[AllocatorMemory]


def compare(a: Side, b: Side, *, forced: str | None) -> MemoryComparison:
    """Explains b's memory by a's. HwprofError where they have no figure in common."""
    rows = _chosen(a, b)
    stacks = [_levels(row) for row in rows]
    notes = list(_notes(rows, stacks))
    if _basis(rows[0]) != _basis(rows[1]):
        for stack in stacks:
            for part in (LIVE, WORKSPACE):
                stack.pop(part, None)
    order = HOST_PARTS if rows[0].device == CPU else PARTS
    common = [part for part in order if all(part in stack for stack in stacks)]
    if not common:
        reasons = "; ".join(f"{side.name}: {_reason(row)}" for side, row in zip((a, b), rows, strict=True))
        raise HwprofError(f"The runs tell no figure of memory in common ({reasons}).", remedy="Compare other runs.")
    parts = _parts(stacks, common, order)
    whole_a, whole_b = (stack[common[-1]] for stack in stacks)
    if (sum(part.a_bytes for part in parts), sum(part.b_bytes for part in parts)) != (whole_a, whole_b):
        raise AssertionError(f"parts {parts} do not make up {whole_a} and {whole_b}")
    peaks = [row.peak_in_use_bytes for row in rows]
    known = _basis(rows[0]) == _basis(rows[1]) and None not in peaks
    return MemoryComparison(
        runs=[a.name, b.name], allocators=[row.allocator for row in rows], pass_name=rows[0].pass_name,
        device=rows[0].device, forced=forced, whole=WHOLES[common[-1]], a_bytes=whole_a, b_bytes=whole_b,
        difference_bytes=whole_b - whole_a, parts=parts,
        peak_difference_bytes=(peaks[1] or 0) - (peaks[0] or 0) if known else None,
        advice=list(_advice(parts, (a, b), max(whole_a, whole_b))), notes=notes,
    )  # fmt: skip


def _chosen(a: Side, b: Side) -> list[AllocatorMemory]:
    """The row of each that tells most: the unprofiled pass's where both tell there, of a GPU before the host."""
    for pass_name in ALL_PASSES:
        rows = [[row for row in side.allocators if row.pass_name == pass_name and row.told_by] for side in (a, b)]
        if all(rows):
            break
    else:
        silent = next(side for side in (a, b) if not any(row.told_by for row in side.allocators))
        problem = f"{silent.name} tells nothing of its memory" + (
            f": {_reason(silent.allocators[0])}." if silent.allocators else "."
        )
        raise HwprofError(problem, remedy="Run it with passes=time,profile and profile_memory=true.")
    chosen = [
        max(each, key=lambda row: (row.device != CPU, row.peak_in_use_bytes or row.in_use_bytes or 0)) for each in rows
    ]
    if len({row.device == CPU for row in chosen}) > 1:
        raise HwprofError(
            "One run's memory is a GPU's and the other's the host's: they are not held against each other.",
            remedy="Compare runs of one kind of device.",
        )
    return chosen


def _levels(row: AllocatorMemory) -> dict[str, int]:
    """Part -> the level up to which it reaches, for those known; none is below the one before it."""
    levels: dict[str, int] = {}
    top, reserved, peak = row.in_use_bytes, row.reserved_bytes, row.peak_in_use_bytes
    if top is not None:
        levels[LIVE] = top
    # What a pool has had in use it keeps; on the host the system has it back at once.
    if top is not None and peak is not None and row.device != CPU:
        top = levels[WORKSPACE] = max(top, peak if reserved is None else min(peak, reserved))
    if reserved is not None:
        same_moment = row.told_by.get("fragmented_bytes") == row.told_by["reserved_bytes"]
        if row.fragmented_bytes is not None and WORKSPACE in levels and same_moment:
            levels[FRAGMENTATION] = levels[WORKSPACE] + min(row.fragmented_bytes, max(reserved - levels[WORKSPACE], 0))
        levels[RESERVATION] = max(reserved, top or 0)
    if row.device_bytes is not None and row.device_bytes >= max(levels.values(), default=0):
        levels[OUTSIDE] = row.device_bytes
    return levels


def _parts(stacks: Sequence[dict[str, int]], common: Sequence[str], order: Sequence[str]) -> list[MemoryPart]:
    """What each common level has over the one below; its name has the parts in between whose levels are not known."""
    parts = []
    for before, part in pairwise([None, *common]):
        start = order.index(before) + 1 if before else 0
        names = order[start : order.index(part or "") + 1]
        a, b = (stack[part or ""] - (stack[before] if before else 0) for stack in stacks)
        parts.append(MemoryPart(name=", ".join(names), a_bytes=a, b_bytes=b, difference_bytes=b - a))
    return parts


def _advice(parts: Sequence[MemoryPart], sides: Sequence[Side], whole: int) -> Iterator[Advice]:
    """For the run that has more of a part, where the difference is worth one: what is known to reduce it there."""
    for part in parts:
        more = sides[part.difference_bytes > 0]
        figure = abs(part.difference_bytes)
        if figure < max(LEAST_BYTES, whole * LEAST_SHARE):
            continue
        for text in _remedies(part.name, more.spec, sides[part.difference_bytes <= 0].spec):
            yield Advice(run="ab"[part.difference_bytes > 0], part=part.name, figure_bytes=figure, text=text)


def _remedies(names: str, spec: Spec, other: Spec) -> Iterator[str]:
    """Settings of `spec` that are not set and reduce what is named; of people's own loops none is known."""
    if isinstance(spec, OwnSpec) or isinstance(other, OwnSpec):
        return
    pooled = spec.allocator in ("auto", "preallocate")
    if names == LIVE and spec.optimizer == "adam" and other.optimizer != "adam":
        yield "optimizer=sgd: Adam keeps two more tensors for each weight"
    if LIVE in names:
        # the figure is not one of any of the others alone
        return
    if WORKSPACE in names and spec.batch > other.batch:
        yield f"batch={other.batch}: activations grow with the batch, which is {spec.batch}"
    if WORKSPACE in names and spec.precision in ("fp32", "tf32") and other.precision == "bf16":
        yield "precision=bf16: activations of half the size"
    if FRAGMENTATION in names or RESERVATION in names:
        if spec.framework == "torch" and spec.allocator == "auto":
            yield "allocator=expandable_segments: segments grow in place, so less is set aside and split"
        if FRAGMENTATION in names and spec.framework == "torch" and not spec.max_split_size_mb and pooled:
            yield "max_split_size_mb=N: large free blocks are not split, and can be given back whole"
    if RESERVATION in names and spec.framework in ("tf", "jax") and pooled:
        framework = FRAMEWORKS_SPELT[spec.framework]
        yield f"allocator=growth: {framework} takes most of the GPU beforehand unless told otherwise"


def _basis(row: AllocatorMemory) -> str | None:
    """What in use counts from; a snapshot that is counted back is a total too."""
    return "total" if row.basis == "placed" else row.basis


def _notes(rows: Sequence[AllocatorMemory], stacks: Sequence[dict[str, int]]) -> Iterator[str]:
    if _basis(rows[0]) != _basis(rows[1]):
        yield "what is in use counts from different beginnings, so that it is told together with the rest"
    elif rows[0].basis == "growth":
        yield "live tensors: growth since the profiler began; what was in use before is told with the rest"
    for letter, row, stack in zip("ab", rows, stacks, strict=True):
        if row.device_bytes is not None and OUTSIDE not in stack:
            yield f"{letter}: the sampler read less on the device than the allocator holds, so it is left out"
        for part, figure in FIGURES.items():
            if part not in stack and figure in row.reasons and (row.device != CPU or part in HOST_PARTS):
                yield f"{letter}: {part} not told apart: {row.reasons[figure]}"


def _reason(row: AllocatorMemory) -> str:
    return next(iter(row.reasons.values()), "it tells no level")
