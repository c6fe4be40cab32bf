"""The terminal report on traces that people bring."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from toolkit.analyses.ranks import Analysis
from toolkit.analyses.traces import TraceAnalysis
from toolkit.errors import printable
from toolkit.reports.findings import finding_sections
from toolkit.reports.pointers import pointers
from toolkit.reports.ranks import job_sections
from toolkit.reports.sections import trace_sections
from toolkit.reports.tables import UNKNOWN, Cropped, milliseconds, percent, share, table

ENDINGS = re.compile(r"(\.pt\.trace)?\.json(\.gz)?$|\.xplane\.pb$|\.pickle$")


def report(analysis: Analysis) -> RenderableType:
    """Several traces: an overview and the ranks first. Then each: whether to trust it, where to look, every table."""
    several = len(analysis.traces) > 1
    parts: list[RenderableType] = [Text(analysis.forced, "bold red")] if analysis.forced else []
    parts += [_overview(analysis.traces), *job_sections(analysis.jobs)] if several else []
    for trace in analysis.traces:
        parts += [Rule(style="dim"), *_trace(trace)] if several else _trace(trace)
    return Group(*parts)


def _overview(traces: Sequence[TraceAnalysis]) -> Table:
    found = table("Traces, ms", "trace", "trusted", "rank", "devices", "span", "idle", "warnings")
    if any(len(trace.devices) > 1 for trace in traces):
        found.note = "span, idle: of all devices of the trace together"
    for trace, name in zip(traces, _names(traces), strict=True):
        spans, idles = (sum(getattr(device, what) for device in trace.devices) for what in ("span_ns", "idle_ns"))
        verdict = Text("yes", "green") if trace.trusted else Text("NO", "bold red")
        rank = UNKNOWN if trace.rank is None else str(trace.rank)
        times = (milliseconds(spans), percent(share(idles, spans))) if trace.devices else (UNKNOWN, UNKNOWN)
        found.add_row(name, verdict, rank, str(len(trace.devices)), *times, str(len(trace.warnings)))
    return found


def _names(traces: Sequence[TraceAnalysis]) -> list[Cropped]:
    """The files' own names without their formats' endings, with their folders where those alone tell them apart."""
    names = [ENDINGS.sub("", Path(trace.path).name) for trace in traces]
    return [Cropped(name if names.count(name) == 1 else trace.path) for name, trace in zip(names, traces, strict=True)]


def _trace(trace: TraceAnalysis) -> Iterable[RenderableType]:
    verdict = Text("trusted", "green") if trace.trusted else Text("NOT TRUSTED", "bold red")
    world = "" if trace.world_size is None else f" of {trace.world_size}"
    rank = "" if trace.rank is None else f" · rank {trace.rank}{world}"
    yield Text(printable(trace.path), "bold", overflow="fold")
    gpus = "" if trace.gpu_model is None else f" · {trace.gpus} × {printable(trace.gpu_model)}"
    yield Text.assemble(verdict, f" · {trace.format}{rank}{gpus} · {trace.events:,} events")
    for warning in trace.warnings:
        yield Text(f"  {printable(warning)}", "red" if warning in trace.doubts else "yellow", overflow="fold")
    found = list(finding_sections(trace.findings)) if trace.devices or trace.findings else []
    next_: list[RenderableType] = (
        [Text("Look next at", "bold"), _numbered(sentences)] if (sentences := pointers(trace)) else []
    )
    # doubts are the first thing to look at, and speak of the findings too
    yield from (*next_, *found) if trace.doubts else (*found, *next_)
    yield Text()
    yield from trace_sections(trace)


def _numbered(sentences: Sequence[str]) -> Table:
    lines = Table.grid(padding=(0, 1))
    for number, sentence in enumerate(sentences, start=1):
        lines.add_row(f" {number}.", sentence)
    return lines
