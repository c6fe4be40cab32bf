"""A study for the terminal: verdicts first, then each claim with its pairs and its mechanisms in a sentence each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.analyses.statistics import Interval
from toolkit.analyses.study.claims import CONTRADICTED, NOT_SHOWN, NOT_TESTABLE, SHOWN, InMode, Judged, Pair
from toolkit.analyses.study.definition import SCALES, Definition
from toolkit.analyses.study.results import Ours, PointOut, Published, StudyResult
from toolkit.analyses.sweep_results import UNFINISHED
from toolkit.capture.sweeps import COMPLETE
from toolkit.errors import printable
from toolkit.reports.tables import UNKNOWN, percent, shown, table, three_digits

STYLES = {SHOWN: "green", CONTRADICTED: "bold red", NOT_SHOWN: "yellow", NOT_TESTABLE: "dim"}
# Unit of a metric, and of the publication where that has one -> how ours is written: of how many, and in what.
WRITTEN = {
    ("ns", "s"): (1e9, "s"),
    ("ns", "h"): (1e9, "s"),
    ("ns", "s/image"): (1e9, "s"),
    ("share", "%"): (0.01, "%"),
    ("ns", ""): (1e6, "ms"),
    ("B", ""): (2.0**20, "MiB"),
    ("share", ""): (0.01, "%"),
    ("mW", ""): (1e3, "W"),
    ("number", ""): (1.0, ""),
    ("ratio", ""): (1.0, ""),
    ("mJ", ""): (1e3, "J"),
}
# More pairs than these are told by their number: the HTML page has all.
MOST_PAIRS = 12
SAID = {"lower": "b lower than a", "higher": "b higher than a", "same": "no difference", "nothing": UNKNOWN}


def listed(found: Mapping[str, Definition]) -> RenderableType:
    """What studies there are."""
    made = table("Studies", "study", "what", "claims", "experiments")
    made.columns[1].justify = "left"
    for name, study in found.items():
        what = f"{study.title}. {study.source}"
        made.add_row(name, shown(what), str(len(study.claims)), str(len(study.experiments)))
    made.note = f"make study STUDY=NAME SCALE={'|'.join(SCALES)}"
    return made


def report(result: StudyResult) -> RenderableType:
    """All of it."""
    return Group(*_sections(result))


def _sections(result: StudyResult) -> Iterator[RenderableType]:
    yield from _headline(result)
    for mode in modes(result):
        yield _verdicts(result, mode)
    for claim in result.claims:
        yield from _claim(claim)
    for mode in filter(None, modes(result)):
        yield _published(result, mode)
    yield from _circumstances(result)


def _headline(result: StudyResult) -> Iterator[Text]:
    done = result.done == len(result.points)
    yield Text(printable(result.title), "bold")
    yield Text(f"{printable(result.source)} · {printable(result.evidence)}", "dim")
    yield Text.assemble(
        (f"{result.done} of {len(result.points)} points done", "green" if done else "bold red"),
        f" · scale {result.scale}: {printable(result.scale_is)} · {processes(result)} a point",
    )
    yield Text(f"{result.folder} · order by seed {result.seed} · on {printable(result.environment.host)}", "dim")
    if result.no_gpu:
        yield Text(f"no GPU: {printable(result.no_gpu)}", "yellow")
    if result.no_dataset:
        yield Text(f"no dataset, the same shapes are synthetic: {printable(result.no_dataset)}", "yellow")
    for why in filter(None, (result.withheld, *result.fallbacks)):
        yield Text(printable(why), "yellow")


def modes(result: StudyResult) -> list[str]:
    """Those that there are verdicts in, as the study lists them; last the empty one, of what nothing here measures."""
    return sorted(result.counts, key=lambda mode: not mode)


def _verdicts(result: StudyResult, mode: str) -> Table:
    made = table(f"Claims, {mode}" if mode else "Claims that nothing here measures", "claim")
    for title in ("published b/a", "b/a here", "verdict", "why"):
        made.add_column(title, overflow="fold")
    for claim in result.claims:
        for told in claim.modes:
            if told.mode == mode:
                made.add_row(
                    shown(claim.text), _ratio_of(claim.published_ratio), _ratios(told.pairs),
                    Text(told.verdict, STYLES[told.verdict]), shown(told.why),
                )  # fmt: skip
    return made


def _claim(claim: Judged) -> Iterator[RenderableType]:
    yield Text(f"\n{printable(claim.text)}", "bold")
    yield Text(f"{printable(claim.where)}", "dim")
    if claim.metric:
        sides = f"a: {_settings(claim.a)} · b: {_settings(claim.b)}"
        yield Text(f"{claim.metric}: {claim.meaning} · {sides} · claimed: {claimed(claim)}", "dim")
    for told in claim.modes:
        yield from _in_mode(claim, told)


def claimed(claim: Judged) -> str:
    """What is claimed of b beside a, in words."""
    by = f", {claim.factor:g} times at least" if claim.factor > 1 else ""
    return SAID[claim.says] + by


def _in_mode(claim: Judged, told: InMode) -> Iterator[RenderableType]:
    line = f"{told.mode}: {told.verdict}" if told.mode else told.verdict
    yield Text.assemble((line, STYLES[told.verdict]), f": {printable(told.why)}" if told.why else "")
    if any(pair.a or pair.b for pair in told.pairs):
        yield _pairs(claim, told.pairs)
    yield from _mechanisms(told.pairs)


def _pairs(claim: Judged, pairs: Sequence[Pair]) -> Table:
    made = table("Every pair of points" if len(pairs) > 1 else "Medians over processes", "of", "a", "b", "b/a", "n")
    if len(pairs) > 1:
        for title in ("verdict", "why"):
            made.add_column(title, overflow="fold")
    for pair in pairs[:MOST_PAIRS]:
        processes = pair.ratio.processes if pair.ratio else []
        verdict: list[RenderableType] = [Text(pair.verdict, STYLES[pair.verdict]), shown(pair.why or "")]
        medians = [interval(each, claim.unit, wanted(claim)) for each in (pair.a, pair.b)]
        made.add_row(
            shown(_settings(pair.settings)) or "all", *medians,
            interval(pair.ratio, "ratio"), ", ".join(map(str, processes)) or UNKNOWN,
            *(verdict if len(pairs) > 1 else ()),
        )  # fmt: skip
    if len(pairs) > MOST_PAIRS:
        made.note = f"and {len(pairs) - MOST_PAIRS} more pairs: study.html has them all"
    return made


def wanted(claim: Judged) -> str:
    """The unit of the figures that say a claim; empty where it has none."""
    return next((each.unit for each in claim.quoted if each.value is not None), "")


def quoted(claim: Judged) -> str:
    """The published figures of a claim, in their own units, with their evidence."""
    told = [
        f"{each.framework or ''} {each.value:g} {each.unit}".strip() if each.value is not None else "unreadable figure"
        for each in claim.quoted
    ]
    evidence = dict.fromkeys(each.evidence for each in claim.quoted if each.value is not None)
    by = f" ({', '.join(evidence)})" if evidence else ""
    return f"{', '.join(told)}{by}" if told else UNKNOWN


def sides(claim: Judged) -> tuple[str, str]:
    """What sides a and b are, in short."""
    a, b = (", ".join(each.values()) for each in (claim.a, claim.b))
    return f"a: {printable(a)}", f"b: {printable(b)}"


def _mechanisms(pairs: Sequence[Pair]) -> Iterator[Text]:
    """In a sentence each, of the first pair that has any; study.html has the figures of both sides, of every pair."""
    telling = next((pair for pair in pairs if pair.mechanisms), None)
    for each in telling.mechanisms if telling else ():
        of = f", {_settings(telling.settings)}" if telling and len(pairs) > 1 else ""
        yield Text.assemble((f"  {each.title}{of}: ", "italic"), printable(each.says))


def _published(result: StudyResult, mode: str) -> Table:
    made = table(f"Published figures, and ours beside them, {mode}", "figure", "published", "evidence", "ours", "n")
    for title in ("scaled", "doubt"):
        made.add_column(title, overflow="fold")
    for figure in result.published:
        mine = [ours for ours in figure.ours if ours.mode == mode]
        rows: list[Ours | None] = [*mine] or [None]
        for ours in rows:
            made.add_row(*_beside(figure, ours))
    return made


def _beside(figure: Published, ours: Ours | None) -> Iterator[str]:
    of = f" ({_settings(ours.settings)})" if ours and ours.settings else ""
    yield shown(f"{figure.framework or ''} {figure.what}{of}".strip())
    yield shown(published(figure))
    yield figure.evidence
    if ours is None or ours.figure is None:
        yield shown((ours and ours.why) or UNKNOWN)
    else:
        yield interval(ours.figure, ours.unit, figure.unit)
    yield str(ours.figure.processes[0]) if ours and ours.figure else UNKNOWN
    yield shown(", ".join(each.partition(" ")[0] for each in figure.scaled)) if figure.ours else UNKNOWN
    yield shown(figure.doubt)


def _circumstances(result: StudyResult) -> Iterator[RenderableType]:
    if result.choices:
        yield _rows(
            "Choices: what the source does not state", ("setting", "here", "why", "to vary it"),
            ([each.setting, f"{each.value}{' (given)' if each.given else ''}", each.reason, each.vary]
             for each in result.choices),
        )  # fmt: skip
    if result.scaled:
        yield _rows(
            f"Scaled: what is not as at scale {SCALES[-1]}", ("experiment", "setting", "full", "here"),
            ([each.experiment, each.setting, each.full, each.here] for each in result.scaled),
        )  # fmt: skip
    ended = [each for each in result.points if each.status != COMPLETE or each.reason or each.untrusted]
    if ended or result.skipped:
        rows = [
            [str(each.point), f"{each.experiment}, {each.mode}", _settings(each.settings), _status(each.status),
             reason(each)]
            for each in ended
        ]  # fmt: skip
        rows += [["–", each.experiment, each.title, "not run", each.why] for each in result.skipped]
        yield _rows("Points without a figure", ("point", "experiment", "settings", "ended", "why"), rows)
    yield from (Text(f"unstated: {printable('; '.join(each))}", "dim") for each in (result.unstated,) if each)
    yield from (Text(f"against it: {printable('; '.join(each))}", "dim") for each in (result.flaws,) if each)
    yield _environment(result)


def reason(each: PointOut) -> str:
    """Why a point has no figure, or fewer."""
    return each.reason or (f"{each.untrusted} runs not trusted, left out" if each.untrusted else "")


def _environment(result: StudyResult) -> Text:
    it = result.environment
    memory = UNKNOWN if it.memory_bytes is None else f"{it.memory_bytes / 2**30:.1f} GiB"
    gpus = f"GPUs: {', '.join(it.gpus) or 'none'}"
    where = f"here: {it.processor or UNKNOWN}, {it.processors or UNKNOWN} processors, {memory}, {gpus}"
    theirs = "; ".join(dict.fromkeys(it.published_on.values()))
    return Text(printable(f"{where} · published: {theirs}"), "dim")


def _rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    made = table(title, columns[0])
    for column in columns[1:]:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*map(shown, row))
    return made


def _status(status: str) -> str:
    return "not run, or not often enough" if status == UNFINISHED else status.replace("_", " ")


def _settings(settings: Mapping[str, str]) -> str:
    return printable(", ".join(f"{name}={text}" for name, text in settings.items()))


def _ratio_of(value: float | None) -> str:
    return UNKNOWN if value is None else f"×{value:.3f}"


def _ratios(pairs: Sequence[Pair]) -> str:
    told = [pair.ratio for pair in pairs if pair.ratio]
    if len(told) == 1:
        return interval(told[0], "ratio")
    return f"×{min(r.estimate for r in told):.2f} to ×{max(r.estimate for r in told):.2f}" if told else UNKNOWN


def published(figure: Published) -> str:
    """A published value with its unit, as it was published."""
    return "unreadable" if figure.value is None else f"{figure.value:g} {figure.unit}".strip()


def interval(told: Interval | None, unit: str, wanted: str = "") -> str:
    """An estimate with its interval, in the unit of the publication where that is one of the metric's."""
    if told is None:
        return UNKNOWN
    one, written = _unit(unit, wanted)
    known = (value for value in (told.estimate, told.low, told.high) if value is not None)
    estimate, *ends = (three_digits(value / one) for value in known)
    between = rf" \[{'–'.join(ends)}]" if ends else ""
    return f"{estimate}{between} {written}".strip()


def _unit(unit: str, wanted: str) -> tuple[float, str]:
    return WRITTEN.get((unit, wanted)) or WRITTEN.get((unit, "")) or (1.0, unit)


def processes(result: StudyResult) -> str:
    """`1 process`, `3 processes`, `6 to 10 processes`."""
    return f"{result.repeats} process{'' if result.repeats == '1' else 'es'}"


def counted(result: StudyResult, mode: str) -> str:
    """`2 shown, 1 contradicted` of a mode."""
    told = result.counts.get(mode, {})
    return ", ".join(f"{count} {name}" for name, count in told.items()) or UNKNOWN


def done(result: StudyResult) -> str:
    """How much of it is there."""
    return f"{result.done} of {len(result.points)} points done ({percent(result.done / max(len(result.points), 1))})"
