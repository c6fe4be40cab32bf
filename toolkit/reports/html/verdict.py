"""Verdict and trust, first on the page: how the run ended, whether its figures can be trusted, and the main ones."""

from collections.abc import Iterator
from typing import Any

from toolkit.analyses.summary import Summary
from toolkit.analyses.utilisation import TRAINING
from toolkit.errors import printable
from toolkit.own_spec import TIMED, OwnSpec, Spec
from toolkit.reports import matched, own, shipped, variants
from toolkit.reports.html.content import Block, Cell, Facts, Note, Section, Table, Told

COMPLETE = "complete"


def section(spec: Spec, status: dict[str, Any], summary: Summary, told: Told) -> Section:
    """Of one run."""
    return Section("verdict", "Verdict and trust", [*_blocks(spec, status, summary, told)])


def _blocks(spec: Spec, status: dict[str, Any], summary: Summary, told: Told) -> Iterator[Block]:
    if status["status"] != COMPLETE:
        yield Note(f"{status['status']}: {printable(status['reason'] or 'no reason is recorded')}", "bad")
    doubts = sum(warning.untrusted for warning in summary.warnings)
    if summary.trusted:
        yield Note("Trusted: nothing contradicts these figures, and nothing of them is known to be missing.", "good")
    else:
        yield Note(
            f"NOT TRUSTED, for {doubts} {'reason' if doubts == 1 else 'reasons'}: see the warnings below.", "bad"
        )
    yield from _of_what(spec, summary)
    for fallback in summary.runtime.fallbacks if summary.runtime else ():
        yield Note(f"fallback: {printable(fallback)}", "warn")
    if rows := [*_main(summary, told)]:
        yield Facts(rows, large=True)
    if summary.warnings:
        yield _warnings(summary, told)
    if summary.alignment:
        yield _alignment(summary, told)


def _of_what(spec: Spec, summary: Summary) -> Iterator[Block]:
    if isinstance(spec, OwnSpec):
        yield Note(own.sentence(spec), "plain")
        return
    if summary.matched:
        yield Note(matched.sentence(spec, summary.matched).plain, "good" if summary.matched.agrees else "plain")
    if not spec.matched:
        yield Note(shipped.sentence(spec), "warn")
    for sentence in variants.sentences(spec):
        yield Note(sentence, "plain")


def _main(summary: Summary, told: Told) -> Iterator[tuple[str, Cell]]:
    """Of the unprofiled pass, and of its last epoch where a figure is of one."""
    work = [place for place, one in enumerate(summary.utilisation) if one.pass_name in TIMED and one.what == TRAINING]
    if work:
        one = summary.utilisation[work[-1]]
        yield f"samples/s in training, epoch {one.epoch}", told("number", "utilisation", work[-1], "samples_per_s")
    for place, steps in enumerate(summary.steps):
        if steps.pass_name in TIMED and steps.epoch is None:
            yield "step on the host, median, ms", told("ms", "steps", place, "median_ns")
    if summary.profiler_cost:
        yield "profiler cost", told("ratio", "profiler_cost", "ratio")
    if work:
        one = summary.utilisation[work[-1]]
        yield "MFU", told("share", "utilisation", work[-1], "mfu", why=one.reason)
    after = [place for place, one in enumerate(summary.efficiency) if one.pass_name in TIMED]
    if after:
        place = after[-1]
        reason = summary.efficiency[place].reason
        yield (
            f"images/J, epoch {summary.efficiency[place].epoch}",
            told("number", "efficiency", place, "images_per_joule", why=reason),
        )
    latest = {entry.name: place for place, entry in enumerate(summary.scalars) if entry.pass_name in TIMED}
    for name, place in latest.items():
        yield name.replace("_", " "), told("scalar", "scalars", place, "value", why="it was no number")


def _warnings(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = []
    for place, warning in enumerate(summary.warnings):
        harm = "makes it untrusted" if warning.untrusted else "to know"
        rows.append(
            [printable(warning.code), told("count", "warnings", place, "count"), harm, printable(warning.message)]
        )
    return Table("Warnings", ["warning", "times", "what it does", "why"], rows)


def _alignment(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = [
        [
            f"trace {entry.trace}, {entry.pass_name} pass",
            *(told("count", "alignment", place, name) for name in ("brackets", "missing", "violations")),
            *(told("us", "alignment", place, name, why="no annotation was found")
              for name in ("median_residual_ns", "worst_residual_ns")),
        ]
        for place, entry in enumerate(summary.alignment)
    ]  # fmt: skip
    headers = ["trace", "brackets", "missing", "violations", "median residual, µs", "worst residual, µs"]
    return Table("The traces' clocks held against the worker's", headers, rows)
