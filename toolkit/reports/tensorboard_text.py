"""What TensorBoard's text tab says of a run: what it was, how it ended, where its time went, and how to read on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from toolkit.analyses import matched
from toolkit.capture import runs
from toolkit.own_spec import TIMED, OwnSpec
from toolkit.reports import own, shipped, variants
from toolkit.reports.ledger import PARTS
from toolkit.reports.matched import sentence
from toolkit.reports.tables import milliseconds

HOW_TO_READ = """\
### How to read it

- **Scalars**: the run `{name}` is the *time* pass, which no profiler disturbs; the run `{name}/profile` is the
  *profile* pass, whose steps are slower by the profiler's cost. The charts `host/…` and `gpu…/…` have milliseconds
  since their pass began on the step axis.
- **HPARAMS** puts the runs beside each other: their settings, and under `result/…` what each came to.
- **PYTORCH_PROFILER** shows the native trace of a PyTorch run, **PROFILE** (XProf) that of a TensorFlow or JAX run.
  Both draw with Google Charts, which the browser loads from www.gstatic.com; where it cannot, the PyTorch tab stays
  empty and XProf lacks its charts.
- `hwprof show {name}` has every figure, and needs no network."""


class _Warning(msgspec.Struct):
    code: str
    count: int
    message: str


class _Cost(msgspec.Struct):
    ratio: float


class _Epoch(msgspec.Struct):
    pass_name: str
    epoch: int
    parts_ns: dict[str, int]


class _Finding(msgspec.Struct):
    title: str
    share: float
    share_of: str
    remedy: str


class _Summary(msgspec.Struct):
    """What the text takes from summary.json."""

    trusted: bool
    warnings: list[_Warning]
    profiler_cost: _Cost | None
    epochs: list[_Epoch] = []
    findings: list[_Finding] = []


def text(run: Path) -> str:
    """What a run is, how it ended, what to doubt in it and how to read it, in Markdown."""
    spec = json.loads((run / runs.SPEC).read_text(encoding="utf-8"))
    head = f"## {_plain(spec['framework'])} {_plain(spec['model'])}, {_plain(spec['task'])}"
    settings = "\n".join(f"| {_plain(name)} | {_plain(value)} |" for name, value in spec.items())
    table = f"### What was run\n\n| setting | value |\n|---|---|\n{settings}"
    how_to_read = HOW_TO_READ.format(name=run.resolve().name)
    return "\n\n".join([head, _status(run), *_same(run), *_read(run), how_to_read, table, *_settled(run)])


def _status(run: Path) -> str:
    status = runs.status_of(run)
    reason = f": {_plain(status['reason'])}" if status["reason"] else ""
    return f"Status: **{_plain(status['status'])}**{reason}"


def _same(run: Path) -> Iterator[str]:
    claim, spec = matched.read(run), runs.spec_of(run)
    if isinstance(spec, OwnSpec):
        yield _plain(own.sentence(spec))
        return
    if claim:
        yield _plain(sentence(spec, claim).plain)
    if not spec.matched:
        yield _plain(shipped.sentence(spec))
    yield from map(_plain, variants.sentences(spec))


def _read(run: Path) -> Iterator[str]:
    """What the analyses say of it, once they have run."""
    path = run / "summary.json"
    if not path.exists():
        yield f"Its records have not been read yet: `hwprof show {run.resolve().name}` does."
        return
    summary = msgspec.json.decode(path.read_bytes(), type=_Summary)
    yield from _trust(summary)
    yield from _breakdown(summary)


def _trust(summary: _Summary) -> Iterator[str]:
    yield "Trusted: **yes**" if summary.trusted else "Trusted: **NO**"
    if summary.warnings:
        yield "\n".join(f"- {_plain(each.code)} ×{each.count}: {_plain(each.message)}" for each in summary.warnings)
    if summary.profiler_cost:
        yield f"Profiler cost: ×{summary.profiler_cost.ratio:.2f} on the median step"


def _breakdown(summary: _Summary) -> Iterator[str]:
    """Where the time of the time pass's epochs went, in ms, and what of it costs much."""
    epochs = [each for each in summary.epochs if each.pass_name in TIMED]
    if epochs:
        told = {part for each in epochs for part in each.parts_ns}
        parts = [*(part for part in PARTS if part in told), *sorted(told - set(PARTS))]
        rows = [
            [_plain(part.replace("_", " ")), *(milliseconds(each.parts_ns.get(part)) for each in epochs)]
            for part in parts
        ]  # fmt: skip
        wall = ["**wall**", *(f"**{milliseconds(sum(each.parts_ns.values()))}**" for each in epochs)]
        head = [["ms", *(f"epoch {each.epoch}" for each in epochs)], ["---", *("---:" for _ in epochs)]]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in [*head, *rows, wall])
        yield f"### Where the time went\n\n{table}"
    if summary.findings:
        listed = (
            f"1. **{_plain(each.title)}**, {each.share:.1%} of {_plain(each.share_of)}. {_plain(each.remedy)}"
            for each in summary.findings
        )
        yield "### Findings\n\n" + "\n".join(listed)


def _settled(run: Path) -> Iterator[str]:
    """What became of the settings that were left to hwprof, such as device=auto."""
    path = run / runs.LAUNCH
    if path.exists():
        yield "\n".join(f"- {_plain(note)}" for note in json.loads(path.read_text(encoding="utf-8"))["notes"])
    runtime = runs.launched(run, "runtime") or {}
    rows = "\n".join(f"| {_plain(name)} | {_plain(value)} |" for name, value in runtime.items() if value)
    if rows:
        yield f"### Where it ran\n\n| what | which |\n|---|---|\n{rows}"


def _plain(value: Any) -> str:
    """A value as Markdown that shows it as it is, on one line."""
    shown = " ".join((value if isinstance(value, str) else json.dumps(value)).split())
    return "".join(letter if letter.isalnum() or letter in " .,:;-/" else f"&#{ord(letter)};" for letter in shown)
