"""What a run's own figures show of lost time and memory; one rule each. The unprofiled pass tells where there is one.

What comes back each epoch is looked for in the epochs after the first, or in the first where it is the only one.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from toolkit.analyses.findings import (
    NOTABLE,
    RECOMPILED,
    UNUSED,
    Finding,
    Rule,
    Stake,
    counted,
    findings,
    mib,
    ms,
    ranked,
    unused,
)
from toolkit.own_spec import TIMED

if TYPE_CHECKING:
    from toolkit.analyses.summary import Epoch, Summary

# Growth counts as steady where it comes in each of so many epochs, none of them twice or half the median.
EPOCHS, STEADY = 3, 2
# Allocators and interpreters settle for a while: less than this share of the level an epoch is not told from that.
GROWTH, GROWTH_BYTES = 0.01, 1 << 20
# Reasons of NVML's for which clocks are lower than they could be though there is work.
HELD_DOWN = {
    "sw_power_cap": "the power limit",
    "hw_slowdown": "the hardware's slowdown",
    "sw_thermal_slowdown": "its temperature",
    "hw_thermal_slowdown": "its temperature",
    "hw_power_brake_slowdown": "the power brake",
    "board_limit": "the board's limit",
    "reliability": "its voltage",
}
COMPUTE = ("compute", "compile")
# Steps that a finding names; of more it tells the number.
NAMED = 3


class _Steady(NamedTuple):
    """The epochs in which what comes back is looked for."""

    pass_name: str
    epochs: "list[Epoch]"

    @property
    def wall_ns(self) -> int:
        return sum(epoch.wall_ns for epoch in self.epochs)

    @property
    def words(self) -> str:
        first, last = self.epochs[0].epoch, self.epochs[-1].epoch
        which = f"epoch {first}" if first == last else f"epochs {first} to {last}"
        return f"{which} of the {self.pass_name} pass"

    def holds(self, pass_name: str, epoch: int) -> bool:
        return pass_name == self.pass_name and epoch in {own.epoch for own in self.epochs}

    def part_ns(self, *parts: str) -> int:
        return sum(epoch.parts_ns.get(part, 0) for epoch in self.epochs for part in parts)


def diagnosis(summary: "Summary") -> list[Finding]:
    """All findings of a run, its traces' among them where no rule of the run's own looks for the same."""
    own = {rule.code for rule in RULES}
    traced = [finding for trace in summary.traces for finding in trace.findings if finding.code not in own]
    return ranked([*findings(RULES, summary), *traced])


def _steady(summary: "Summary") -> _Steady | None:
    whole = [epoch for epoch in summary.epochs if epoch.complete]
    passes = {epoch.pass_name for epoch in whole}
    if not passes:
        return None
    pass_name = next((name for name in TIMED if name in passes), min(passes))
    own = [epoch for epoch in whole if epoch.pass_name == pass_name]
    return _Steady(pass_name, own[1:] or own)


def _input_bound(summary: "Summary") -> Iterator[Stake]:
    steady = _steady(summary)
    if steady is None:
        return
    waited, why = steady.part_ns("data_wait"), "data_wait of the ledger"
    around = [row.around_ns for row in summary.data_waits if steady.holds(row.pass_name, row.epoch)]
    if sum(around) > waited / 2:
        why += f", {ms(sum(around) / len(around))} of it an epoch for the pipeline to start and to end"
    idle = _idle_share(summary)
    if idle is not None:
        waited, why = round(waited * idle), f"{why}, of which the device idled {idle:.0%} in the profiled window"
    for fetch in summary.fetches_in_compute:
        share = fetch.fetch_ns / fetch.compute_ns
        waited += round(share * steady.part_ns(*COMPUTE))
        why += f", and {share:.1%} of compute, which was IteratorGetNext in the profiled window"
    if waited >= NOTABLE * steady.wall_ns:
        yield Stake(
            title=f"Input-bound: {ms(waited / len(steady.epochs))} of each epoch is waiting for batches",
            evidence=f"{steady.words}: {why}",
            part=waited,
            whole=steady.wall_ns,
            of=steady.words,
        )


def _idle_share(summary: "Summary") -> float | None:
    """Of the data_wait in the profiled window, the share in which the busiest device idled; None without a device."""
    # what lies between epochs is in the epochs' own rows as well
    waits = [row for row in summary.ledger_devices if row.part == "data_wait" and not row.between]
    shares = []
    for device in {row.device for row in waits}:
        own = [row for row in waits if row.device == device]
        idle, worked = sum(row.idle_ns for row in own), sum(row.worked_ns for row in own)
        if idle + worked:
            shares.append(idle / (idle + worked))
    return min(shares, default=None)


def _part(part: str, words: str) -> Callable[["Summary"], Iterator[Stake]]:
    def find(summary: "Summary") -> Iterator[Stake]:
        steady = _steady(summary)
        ns = steady.part_ns(part) if steady else 0
        if steady and ns >= NOTABLE * steady.wall_ns > 0:
            yield Stake(
                title=f"{words}: {ms(ns / len(steady.epochs))} of each epoch",
                evidence=f"{steady.words}: {part} of the ledger, marks and annotations hwprof.{part}.*",
                part=ns,
                whole=steady.wall_ns,
                of=steady.words,
            )

    return find


def _first_compile(summary: "Summary") -> Iterator[Stake]:
    yield from _compiled(summary, first=True, threshold=NOTABLE)


def _recompiled(summary: "Summary") -> Iterator[Stake]:
    yield from _compiled(summary, first=False, threshold=RECOMPILED)


def _compiled(summary: "Summary", *, first: bool, threshold: float) -> Iterator[Stake]:
    steady = _steady(summary)
    if steady is None:
        return
    whole = sum(epoch.wall_ns for epoch in summary.epochs if epoch.pass_name == steady.pass_name and epoch.complete)
    steps = [row for row in summary.compiled_steps if row.pass_name == steady.pass_name]
    steps = [row for row in steps if ((row.epoch, row.step) == (1, 1)) == first]
    # where every step compiled, the shortest is the best that is known
    usual = next((row.usual_ns for row in steps if row.usual_ns is not None), min((row.ns for row in steps), default=0))
    ns = sum(max(row.ns - usual, 0) for row in steps)
    if ns < threshold * whole or not ns:
        return
    where = ", ".join(f"step {row.step} of epoch {row.epoch}" for row in steps[:NAMED])
    more = f" and {len(steps) - NAMED} more" if len(steps) > NAMED else ""
    title = f"Compiled in mid-run: {ms(ns)} in {counted(len(steps), 'step')}"
    title = f"Compiled in the first step: {ms(ns)}" if first else title
    evidence = f"{steady.pass_name} pass, {where}{more}: phase compile; the usual step takes {ms(usual)}"
    yield Stake(title, evidence, ns, whole, f"all epochs of the {steady.pass_name} pass")


def _growing(summary: "Summary") -> Iterator[Stake]:
    for what, levels in _levels(summary):
        steps = [after - before for before, after in pairwise(levels)]
        if len(steps) < EPOCHS:
            continue
        median = sorted(steps)[len(steps) // 2]
        steady = min(steps) * STEADY >= median and max(steps) <= median * STEADY
        if steady and median >= max(GROWTH * levels[0], GROWTH_BYTES):
            grown = levels[-1] - levels[0]
            yield Stake(
                title=f"Memory grows: {mib(grown / len(steps))} each epoch, {what}",
                evidence=f"{mib(levels[0])} at the first epoch's end, {mib(levels[-1])} {len(steps)} epochs later",
                part=grown,
                whole=levels[-1],
                of=f"{what} at the end",
                counts_bytes=True,
            )
            return


def _levels(summary: "Summary") -> Iterator[tuple[str, list[int]]]:
    """What was in use as each epoch ended, by those who count most exactly first, in the unprofiled pass."""
    passes = [epoch.pass_name for epoch in summary.epochs]
    wanted = next((name for name in (*TIMED, *passes) if name in passes), None)
    for metric in ("in_use", "live_arrays"):
        rows = [row for row in summary.framework_memory if (row.metric, row.pass_name) == (metric, wanted)]
        for device in sorted({row.device or "" for row in rows}):
            yield f"{metric} of device {device}", [row.bytes for row in rows if (row.device or "") == device]
    yield "resident of the worker", [row.bytes for row in summary.resident if row.pass_name == wanted]


def _unused(summary: "Summary") -> Iterator[Stake]:
    found = [row for row in summary.allocators if row.peak_reserved_bytes and row.peak_in_use_bytes]
    for row in found[:1]:
        reserved, in_use = row.peak_reserved_bytes or 0, row.peak_in_use_bytes or 0
        yield from unused(row.device, reserved, in_use, f"in the {row.pass_name} pass by {row.allocator}")


def _throttled(summary: "Summary") -> Iterator[Stake]:
    steady = _steady(summary)
    held = [
        row for row in summary.throttling if steady and row.pass_name == steady.pass_name and row.reason in HELD_DOWN
    ]
    if not held:
        return
    worst = max(held, key=lambda row: row.share)
    whole = sum(stage.ns for stage in summary.stages if stage.pass_name == worst.pass_name)
    if worst.share >= NOTABLE and whole:
        by = HELD_DOWN[worst.reason]
        yield Stake(
            title=f"Throttled: {by} held GPU {worst.device} down for {worst.share:.0%} of the pass",
            evidence=f"{worst.pass_name} pass: {worst.reason} in {worst.readings:,} readings of throttle_reasons",
            part=round(worst.share * whole),
            whole=whole,
            of=f"the {worst.pass_name} pass",
        )


RULES = (
    Rule(
        "input_bound",
        _input_bound,
        "data_wait of the ledger; on a GPU times the share of it in which the device idled in the profiled window;"
        " under TensorFlow's fit also the share of compute that was IteratorGetNext there",
        f"{NOTABLE:.0%} of those epochs: less is within reach of a noisy machine",
        "Load in processes beside the loop (loader_workers; tf.data prefetch and num_parallel_calls), cache what is"
        " decoded, or do less for each sample. Where it is the pipeline's start: keep it over the epochs"
        " (persistent_workers, repeat() with steps_per_epoch), or turn off tf.data's autotuner, which may be waited for"
        " as the epoch's iterator ends (Options.autotune.enabled).",
    ),
    Rule(
        "transfer",
        _part("host_to_device", "Handing batches to the device"),
        "host_to_device of the ledger",
        f"{NOTABLE:.0%} of those epochs",
        "Pin the host's side, copy without waiting, copy bytes and convert on the device, prefetch to the device.",
    ),
    Rule(
        "validation",
        _part("validation", "Validation inside the epochs (fit's own, where fit runs them)"),
        "validation of the ledger",
        f"{NOTABLE:.0%} of those epochs: forward passes over a fifth of the samples take about 7 %",
        "Validate every few epochs (validation_freq in fit), on fewer samples or in larger batches; leave it out of"
        " what is compared as training time.",
    ),
    Rule(
        "callbacks",
        _part("callbacks", "Callbacks and metrics"),
        "callbacks of the ledger: metrics read, counters, what fit does between its steps",
        f"{NOTABLE:.0%} of those epochs",
        "Read metrics once an epoch, use fewer callbacks, or steps_per_execution in fit.",
    ),
    Rule(
        "checkpoint",
        _part("checkpoint", "Writing checkpoints"),
        "checkpoint of the ledger",
        f"{NOTABLE:.0%} of those epochs",
        "Write fewer, or in the background (torch.distributed.checkpoint.async_save, orbax).",
    ),
    Rule(
        "first_epoch_compile",
        _first_compile,
        "the first step's duration less the usual step's, where it traced or compiled",
        f"{NOTABLE:.0%} of all epochs",
        "Warm up before what is timed (warmup_steps), train longer, or keep what is compiled"
        " (jax_compilation_cache_dir, TORCHINDUCTOR_FX_GRAPH_CACHE).",
    ),
    Rule(
        "recompilation",
        _recompiled,
        "the durations of later steps that traced or compiled, less the usual step's",
        f"{RECOMPILED:.0%} of all epochs: the margin of every comparison",
        "Keep shapes constant: drop or pad the last part batch, an input_signature with None in tf.function,"
        " dynamic=True in torch.compile; no Python numbers as arguments.",
    ),
    Rule(
        "memory_growth",
        _growing,
        "what was in use at the last epoch's end less at the first one's, by the framework's counters, else resident",
        f"{EPOCHS} epochs after the first that grow by at least {GROWTH:.0%} and 1 MiB, none by twice or half the"
        f" median",
        "Find who holds it: the allocator snapshot, JAX's memory profile; usually a list of losses that keep their"
        " graphs (append loss.item() or loss.detach()).",
    ),
    Rule(
        "reserved_unused",
        _unused,
        "most reserved by the allocator less most in use",
        f"{UNUSED:.0%} of what was reserved, and 1 GiB",
        "ALLOCATOR=growth or expandable_segments; hwprof compare --memory shows what each setting changes.",
    ),
    Rule(
        "throttling",
        _throttled,
        "the share of NVML's readings with the reason that held most often, of the pass's time",
        f"{NOTABLE:.0%} of the pass",
        "Better cooling or a higher power limit; compare runs at locked clocks.",
    ),
)
