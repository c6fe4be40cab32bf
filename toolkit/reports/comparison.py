"""What a comparison comes to, as grids of text: drawn for a terminal, or written as Markdown for a pull request."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from toolkit.analyses.comparison import Comparison, Measured, Pair, Ratio, Told
from toolkit.analyses.difference_parts import PartTable
from toolkit.analyses.gate import Gate, Judged
from toolkit.analyses.memory_comparison import MemoryComparison
from toolkit.analyses.processes import METRICS
from toolkit.analyses.statistics import NOT_TESTABLE, Interval, bounds
from toolkit.errors import printable
from toolkit.reports.tables import UNKNOWN, share, shown, table

MIB = 1 << 20
# How a unit is shown: under which name, and how many of it are one of those.
SHOWN = {"ns": ("ms", 1e6), "B": ("MiB", MIB), "bytes": ("MiB", MIB), "mJ": ("mJ", 1), "uJ": ("mJ", 1e3)}
MARKED = {"worse": "bold red", "better": "green"}


class Grid(NamedTuple):
    """Rows of words under headers; the first column is text, others are figures. A row's `styles` are a terminal's."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    styles: Sequence[str]
    note: str | None = None


Piece = Grid | str


def report(found: Comparison) -> RenderableType:
    """For a terminal."""
    return Group(*(_drawn(piece) for piece in _pieces(found)))


def markdown(found: Comparison) -> str:
    """For a pull request. Names are data there too: they open no tag and end no cell."""
    return "\n\n".join(_written(piece) for piece in _pieces(found)) + "\n"


def _pieces(found: Comparison) -> Iterator[Piece]:
    if found.gate:
        yield _gate(found.gate)
    if found.forced:
        yield f"**{found.forced}**"
    yield from (f"note: {note}" for note in found.notes)
    for side in found.sides:
        yield from _side(side)
    yield _medians(found.sides)
    sides = {side.label: side for side in found.sides}
    for pair in found.pairs:
        yield _ratios(pair, sides[pair.a], sides[pair.b], found.margin)
        yield from (_parts(parts, pair) for parts in pair.parts)
        if pair.memory:
            yield from _memory(pair.memory, pair)
        yield from (f"note: {note}" for note in pair.notes)


def _side(side: Told) -> Iterator[str]:
    number = len(side.runs)
    yield f"**{side.label}** {number} {'process' if number == 1 else 'processes'}: {', '.join(side.runs)}"
    ends = sorted(each.warmup_steps for each in side.warming_up if each.warmup_steps is not None)
    if ends:
        steps = side.warming_up[0].steps
        yield f"warmed up after {_range(ends)} of {steps} steps, by change-points, in {len(ends)} of {number}"
    if side.untrusted:
        yield f"**NOT TRUSTED: {', '.join(side.untrusted)}; `hwprof show` says why**"
    far: dict[str, list[str]] = {}
    for measured in side.metrics:
        for run in measured.outliers:
            far.setdefault(run, []).append(measured.metric)
    for run, metrics in far.items():
        yield f"outlier, left in every figure: {run} ({', '.join(metrics)})"


def _range(ends: Sequence[int]) -> str:
    return str(ends[0]) if ends[0] == ends[-1] else f"{ends[0]} to {ends[-1]}"


def _ratios(pair: Pair, a: Told, b: Told, margin: float) -> Grid:
    mine, its = ({each.metric: each for each in side.metrics} for side in (a, b))
    level = min((each.ratio.level for each in pair.ratios if each.ratio.level), default=None)
    interval = "interval" if level is None else f"{level:.1%} interval"
    least, most = bounds(margin)
    settings = "; ".join(f"{name} {first} → {second}" for name, (first, second) in pair.settings.items())
    return Grid(
        title=f"{pair.b} beside {pair.a}: medians over processes" + (f" ({settings})" if settings else ""),
        headers=["metric", pair.a, pair.b, "ratio", interval, "verdict"],
        rows=[_ratio(each, mine[each.metric], its[each.metric]) for each in pair.ratios],
        styles=[MARKED.get(each.effect or "", "") for each in pair.ratios],
        note=f"A difference is claimed where the whole interval lies outside {least:.3f} to {most:.3f}.",
    )


def _ratio(each: Ratio, a: Measured, b: Measured) -> list[str]:
    unit, one = _unit(each.metric)
    medians = [_figure(side.median.estimate / one) for side in (a, b)]
    return [f"{each.metric}, {unit}", *medians, f"{each.ratio.estimate:.3f}", _interval(each.ratio), _said(each)]


def _unit(metric: str) -> tuple[str, float]:
    return SHOWN.get(METRICS[metric].unit, (METRICS[metric].unit, 1))


def _interval(found: Interval) -> str:
    return UNKNOWN if found.low is None else f"{found.low:.3f} to {found.high:.3f}"


def _medians(sides: Sequence[Told]) -> Grid:
    told = {(side.label, each.metric): each.median for side in sides for each in side.metrics}
    rows = [
        _median(name, label, told[label, name])
        for name in METRICS
        for label in (side.label for side in sides)
        if (label, name) in told
    ]
    return Grid(
        title="Medians over processes, each with its interval at the level that so many processes reach",
        headers=["metric", "side", "processes", "median", "interval", "level"],
        rows=rows,
        styles=["" for _ in rows],
    )


def _median(metric: str, label: str, found: Interval) -> list[str]:
    unit, one = _unit(metric)
    reach, level = UNKNOWN, UNKNOWN
    if found.low is not None and found.high is not None and found.level is not None:
        reach, level = f"{_figure(found.low / one)} to {_figure(found.high / one)}", f"{found.level:.1%}"
    return [f"{metric}, {unit}", label, str(found.processes[0]), _figure(found.estimate / one), reach, level]


def _figure(value: float) -> str:
    """With four digits at least."""
    return f"{value:,.{1 if abs(value) >= 1000 else 2 if abs(value) >= 10 else 3}f}"  # noqa: PLR2004 - from where on fewer decimals say as much


def _said(each: Ratio) -> str:
    if each.verdict == NOT_TESTABLE or not each.effect:
        return each.verdict
    return f"{each.effect}: {abs(each.ratio.estimate - 1):.1%} {'more' if each.verdict == 'higher' else 'less'}"


def _parts(parts: PartTable, pair: Pair) -> Grid:
    unit, one = SHOWN[parts.unit]
    rows = [
        [part.name.replace("_", " "), *_three(part.a, part.b, one), _of(part.difference, parts.difference)]
        for part in parts.parts
    ]
    note = f"of the process in the middle of each side: {parts.a_run} and {parts.b_run}"
    return _parted(f"{parts.of}, {unit}", pair, rows, _three(parts.a, parts.b, one), note)


def _parted(what: str, pair: Pair, rows: Sequence[Sequence[str]], whole: Sequence[str], note: str) -> Grid:
    """Parts that sum to the whole, whose figures come last."""
    return Grid(
        title=f"{what}: what makes up the difference",
        headers=["part", pair.a, pair.b, "difference", "of the difference"],
        rows=[*rows, ["whole", *whole, ""]],
        styles=[*("" for _ in rows), "bold"],
        note=note,
    )


def _three(a: int, b: int, one: float) -> list[str]:
    return [f"{a / one:,.2f}", f"{b / one:,.2f}", f"{(b - a) / one:+,.2f}"]


def _of(part: int, whole: int) -> str:
    found = share(part, whole)
    return UNKNOWN if found is None else f"{found:+.1%}"


def _memory(found: MemoryComparison, pair: Pair) -> Iterator[Piece]:
    rows = [
        [part.name, *_three(part.a_bytes, part.b_bytes, MIB), _of(part.difference_bytes, found.difference_bytes)]
        for part in found.parts
    ]
    where = "host" if found.device == "cpu" else f"GPU {found.device}"
    what = f"Memory {found.whole}, {where}, {found.pass_name} pass, MiB"
    note = f"of {found.runs[0]} and {found.runs[1]}; what each part is says `hwprof compare --memory`"
    yield _parted(what, pair, rows, _three(found.a_bytes, found.b_bytes, MIB), note)
    for advice in found.advice:
        label = pair.a if advice.run == "a" else pair.b
        yield f"{label} has {advice.figure_bytes / MIB:,.1f} MiB more {advice.part}: {advice.text}"
    yield from (f"note: {note}" for note in found.notes)


def _gate(gate: Gate) -> Grid:
    return Grid(
        title=f"Gate: {'FAILED' if gate.failed else 'passed'}",
        headers=["condition", "ratio", f"{gate.level:.1%} interval", "would show from", "verdict"],
        rows=[_judged(each) for each in gate.conditions],
        styles=["bold red" if each.failed else "" for each in gate.conditions],
        note="would show from: the change that an interval as wide as this one would have shown",
    )


def _judged(each: Judged) -> list[str]:
    verdict = "FAILED" if each.failed else "not shown"
    return [
        f"{each.condition}: {each.b} beside {each.a}",
        f"{each.ratio.estimate:.3f}",
        _interval(each.ratio),
        f"{each.shown_from:.1%}",
        verdict,
    ]


def _drawn(piece: Piece) -> RenderableType:
    if isinstance(piece, str):
        bold = piece.startswith("**")
        return Text(printable(piece.replace("**", "")), "bold" if bold else "dim")
    rows = table(printable(piece.title), *(shown(header) for header in piece.headers))
    for row, style in zip(piece.rows, piece.styles, strict=True):
        rows.add_row(*map(shown, row), style=style)
    rows.note = piece.note and printable(piece.note)
    return rows


def _written(piece: Piece) -> str:
    if isinstance(piece, str):
        bold, text = piece.startswith("**"), piece.replace("**", "")
        return f"**{_safe(text)}**" if bold else _safe(text)
    lines = [
        f"**{_safe(piece.title)}**",
        "",
        _line(piece.headers),
        _line(["---", *["---:" for _ in piece.headers[1:]]], str),
    ]
    lines += [_line(row) for row in piece.rows]
    return "\n".join([*lines, "", _safe(piece.note)] if piece.note else lines)


def _safe(text: str) -> str:
    """As Markdown that says no more than the text: nothing in a name is a tag, a cell's end, a link or a mention."""
    return "".join(f"&#{ord(sign)};" if sign in "<>&|`[]*~@\\" else sign for sign in printable(text))


def _line(cells: Sequence[str], cell: Callable[[str], str] = _safe) -> str:
    return f"| {' | '.join(cell(each) for each in cells)} |"
