"""The report that people read at a glance in a terminal: rich tables of one summary."""

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.analyses.processes import samples_per_s, step_ns, unprofiled
from toolkit.analyses.summary import Summary
from toolkit.errors import printable
from toolkit.own_spec import TIMED, OwnSpec, Spec
from toolkit.reports import own, shipped, variants
from toolkit.reports.allocators import allocator_tables
from toolkit.reports.energy import energy_sections
from toolkit.reports.findings import finding_sections
from toolkit.reports.inference import inference_tables
from toolkit.reports.ledger import ledger_tables
from toolkit.reports.matched import sentence
from toolkit.reports.own import workload
from toolkit.reports.sections import trace_sections
from toolkit.reports.stacks import stack_tables
from toolkit.reports.tables import UNKNOWN, mebibytes, milliseconds, table
from toolkit.reports.utilisation import utilisation_lines
from toolkit.reports.where import where_it_ran

SHOWN_METRICS = {"cpu", "rss", "pss", "cgroup_memory", "power", "memory_used", "utilisation", "temperature"}


def report(name: str, spec: Spec, status: dict[str, Any], summary: Summary) -> RenderableType:
    """The whole report of one run."""
    return Group(*_sections(name, spec, status, summary))


def _sections(name: str, spec: Spec, status: dict[str, Any], summary: Summary) -> Iterable[RenderableType]:
    yield _headline(name, spec, status)
    if summary.runtime:
        yield from where_it_ran(summary.runtime)
    yield from _of_what(spec, summary)
    yield _trust(summary)
    yield from finding_sections(summary.findings)
    yield from _timing(spec, summary)
    yield from utilisation_lines(summary.utilisation)
    for pass_name in spec.passes:
        epochs = [epoch for epoch in summary.epochs if epoch.pass_name == pass_name]
        if epochs:
            yield from ledger_tables(summary, pass_name, epochs)
    for pass_name in sorted({entry.pass_name for entry in summary.inference}, reverse=True):
        yield from inference_tables([entry for entry in summary.inference if entry.pass_name == pass_name])
    for trace in summary.traces:
        yield Text(f"\nProfiled window, {trace.pass_name} pass, by {trace.format}", "bold")
        yield from trace_sections(trace)
    for pass_name in spec.passes:
        yield from energy_sections(summary, pass_name)
    yield from allocator_tables(summary.allocators)
    yield from stack_tables(summary.stacks)
    if summary.samples:
        yield _samples(spec, summary)
    yield from _missing(summary)
    if status["reason"]:
        # last, where the terminal stays
        yield Text(f"{status['status']}: {status['reason']}", "bold red")


def _headline(name: str, spec: Spec, status: dict[str, Any]) -> Text:
    good = status["status"] == "complete"
    line = Text.assemble(
        (f"{spec.framework} {printable(spec.model)}", "bold"),
        f" · {' · '.join(workload(spec))} · ",
        (status["status"], "green" if good else "bold red"),
    )
    return line.append(f"\n{name}", "dim")


def _of_what(spec: Spec, summary: Summary) -> Iterable[Text]:
    """Whether the workload is the other frameworks' too, and in what it is no usual one."""
    if isinstance(spec, OwnSpec):
        yield Text(own.sentence(spec), "dim")
        return
    if summary.matched:
        yield sentence(spec, summary.matched)
    if not spec.matched:
        yield Text(shipped.sentence(spec), "yellow")
    for said in variants.sentences(spec):
        yield Text(said, "dim")


def _trust(summary: Summary) -> Text:
    text = Text("trusted", "green") if summary.trusted else Text("NOT TRUSTED", "bold red")
    for entry in summary.alignment:
        residual = "no residual" if entry.median_residual_ns is None else (
            f"residual {_us(entry.median_residual_ns)} median, {_us(entry.worst_residual_ns)} worst"
        )  # fmt: skip
        text.append(f" · clock: {entry.brackets} brackets, {residual}, {entry.violations} violations", "default")
    for warning in summary.warnings:
        text.append(f"\n  {warning.code} ×{warning.count}: {warning.message}", "yellow")
    return text


def _timing(spec: Spec, summary: Summary) -> Iterable[Text]:
    yield from _throughput(summary)
    for steps in summary.steps:
        if steps.pass_name in TIMED and steps.epoch is None and steps.median_ns:
            spread = (
                f"{milliseconds(steps.p10_ns)} to {milliseconds(steps.p90_ns)} from p10 to p90, {steps.steps} steps"
            )
            line = Text.assemble(
                "step on the host ", (f"{milliseconds(steps.median_ns)} ms", "bold"), f" median ({spread})"
            )
            if steps.compiled_steps:
                line.append(f" · {steps.compiled_steps} steps that compiled left out")
            if steps.profiled_steps:
                line.append(f" · {steps.profiled_steps} under the profiler left out")
            yield line
    cost = summary.profiler_cost
    if cost:
        under, without = milliseconds(cost.profile_median_ns), milliseconds(cost.time_median_ns)
        medians = f"median step {under} ms under it, {without} ms without"
        processes = "other steps of one process" if isinstance(spec, OwnSpec) else "one process each"
        yield Text(f"profiler cost ×{cost.ratio:.2f} ({medians}; {processes})")
    figures = [f"{scalar.name} {_figure(scalar.value)}" for scalar in _last_scalars(summary)]
    if figures:
        yield Text(" · ".join(figures))


def _throughput(summary: Summary) -> Iterable[Text]:
    """Of the time pass's last epochs; of the first one only where there is no other, and said so."""
    later = unprofiled(summary)
    if step := step_ns(later):
        rate = samples_per_s(later)
        figure = f"{1e9 / step:,.2f} steps/s" if rate is None else f"{rate:,.0f} samples/s"
        which = "epoch 1" if later[0].epoch == 1 else "after epoch 1"
        told = f" in training, {milliseconds(step)} ms a step, {which}, the device waited for"
        line = Text.assemble((figure, "bold"), told)
        compiled = sum(entry.compiled_steps for entry in later)
        yield line.append(f" · {compiled} steps compiled" if compiled else "")


def _last_scalars(summary: Summary) -> Iterable[Any]:
    """Each scalar's last value in the time pass, or in the only pass there is."""
    passes = {scalar.pass_name for scalar in summary.scalars}
    wanted = next((name for name in (*TIMED, *passes) if name in passes), None)
    return {scalar.name: scalar for scalar in summary.scalars if scalar.pass_name == wanted}.values()


def _samples(spec: Spec, summary: Summary) -> Table:
    """Each metric of the unprofiled pass where there is one: over the whole pass, and its mean by epoch."""
    shown = next(name for name in (*TIMED, *spec.passes) if name in spec.passes)
    found = table(f"Samplers, {shown} pass", "reading", "mean", "least", "most", "readings", "mean by epoch")
    wanted = [entry for entry in summary.samples if entry.pass_name == shown and entry.metric in SHOWN_METRICS]
    for whole in (entry for entry in wanted if entry.epoch is None):
        mine = [entry for entry in wanted if (entry.device, entry.metric) == (whole.device, whole.metric)]
        epochs = ", ".join(_reading(entry.mean, entry.unit) for entry in mine if entry.epoch is not None)
        name = f"gpu {whole.device} {whole.metric}" if whole.device else whole.metric
        unit = "MiB" if whole.unit == "B" else whole.unit
        figures = [_reading(value, whole.unit) for value in (whole.mean, whole.least, whole.most)]
        found.add_row(f"{name}, {unit}", *figures, str(whole.readings), epochs)
    return found


def _missing(summary: Summary) -> Iterable[Text]:
    """Each once, with its device where it is of one GPU; and from its moment on, what had been told before."""
    reasons = dict.fromkeys(
        f"{entry.source} {f'gpu {entry.device} ' if entry.source == 'nvml' and entry.device else ''}{entry.metric}:"
        f" {entry.reason}{'' if entry.since_ns is None else ', from a moment of the run on'}"
        for entry in summary.unavailable
    )
    if reasons:
        yield Text("Unavailable here: " + "; ".join(reasons), "dim")


def _figure(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.3f}"


def _us(ns: int | None) -> str:
    return UNKNOWN if ns is None else f"{ns / 1e3:,.1f} µs"


def _reading(value: float | None, unit: str) -> str:
    if value is None:
        return UNKNOWN
    return mebibytes(value) if unit == "B" else f"{value:,.1f}"
