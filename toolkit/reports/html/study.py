"""A published comparison re-run: verdicts, each claim with its mechanism, figures beside ours, what all depends on."""

from collections.abc import Iterator

from toolkit.analyses.study.claims import CONTRADICTED, NOT_SHOWN, NOT_TESTABLE, SHOWN, InMode, Judged, Pair
from toolkit.analyses.study.mechanism_rows import Mechanism
from toolkit.analyses.study.results import Ours, Published, StudyResult
from toolkit.capture.sweeps import COMPLETE
from toolkit.errors import printable
from toolkit.reports import study as words_of
from toolkit.reports.html import charts
from toolkit.reports.html.content import Block, Cell, Chart, Facts, Note, Section, Table, Told, words
from toolkit.reports.tables import UNKNOWN

TONES = {SHOWN: "good", CONTRADICTED: "bad", NOT_SHOWN: "warn", NOT_TESTABLE: "plain"}
At = tuple[str | int, ...]
# Unit of a metric, and of the publication -> unit of `Told` and how it is written.
UNITS = {
    ("ns", "s"): ("seconds", "s"),
    ("ns", "s/image"): ("seconds", "s"),
    ("ns", "h"): ("seconds", "s"),
    ("ns", ""): ("ms", "ms"),
    ("B", ""): ("mib", "MiB"),
    ("share", ""): ("share", ""),
    ("share", "%"): ("share", ""),
    ("mW", ""): ("watts", "W"),
    ("count", ""): ("whole", ""),
    ("ratio", ""): ("ratio", ""),
    ("number", ""): ("number", ""),
    ("mJ", ""): ("joules", "J"),
}


def subtitle(result: StudyResult) -> str:
    """Under the title: source, scale, how far it has come."""
    return printable(
        f"{result.source} · evidence: {result.evidence} · re-run at scale {result.scale} · {words_of.done(result)} · "
        f"{result.folder}"
    )


def sections(result: StudyResult) -> list[Section]:
    """Verdicts first."""
    told = Told(result)
    return [
        Section("verdicts", "What this hardware says of each claim", [*_verdicts(result, told)]),
        Section("claims", "Claim by claim", [*_claims(result, told)]),
        Section("figures", "Published figures, and ours beside them", [*_figures(result, told)]),
        Section("choices", "Choices and scale", [*_choices(result)]),
        Section("points", "Points", [_points(result)]),
        Section("environment", "Environment", [*_environment(result, told)]),
    ]


def _verdicts(result: StudyResult, told: Told) -> Iterator[Block]:
    yield Note(printable(result.about))
    whole = result.done == len(result.points)
    yield Note(
        f"{words_of.done(result)}, {words_of.processes(result)} a point. "
        f"Scale {result.scale}: {printable(result.scale_is)}.",
        "good" if whole else "warn",
    )
    if result.no_gpu:
        yield Note(f"No GPU: {printable(result.no_gpu)}. Claims about one are not testable here.", "warn")
    if result.no_dataset:
        yield Note(f"No dataset: {printable(result.no_dataset)}. Images of the same shapes are synthetic.", "warn")
    yield from (Note(printable(why), "warn") for why in filter(None, (result.withheld, *result.fallbacks)))
    for mode in words_of.modes(result):
        yield _verdicts_of(result, mode, told)


def _verdicts_of(result: StudyResult, mode: str, told: Told) -> Table:
    rows: list[list[Cell]] = []
    for place, claim in enumerate(result.claims):
        for number, each in enumerate(claim.modes):
            if each.mode == mode:
                theirs = told("ratio", "claims", place, "published_ratio", why="no two readable figures say it")
                here = _here(claim, each, ("claims", place, "modes", number), told)
                quoted = printable(words_of.quoted(claim))
                rows.append([printable(claim.text), quoted, theirs, *here, each.verdict])
    named = f"{mode}: {words_of.counted(result, mode)}" if mode else "What nothing here measures"
    headers = ["claim", "published", "its b/a", "a here", "b here", "b/a here", "unit of a, b", "n", "verdict"]
    note = "In brackets: the interval over n processes of each side. Below: why, the mechanism, and what was scaled."
    return Table(named, headers, rows, note=note)


def _here(claim: Judged, each: InMode, at: At, told: Told) -> list[Cell]:
    """Sides, ratio and processes of a single pair; of several from the least ratio to the most."""
    if len(each.pairs) == 1:
        pair = each.pairs[0]
        written = _unit(claim.unit, words_of.wanted(claim))[1]
        processes = " and ".join(map(str, pair.ratio.processes)) if pair.ratio else UNKNOWN
        return [*_sides(claim, pair, (*at, "pairs", 0), told), written or UNKNOWN, processes]
    ratios = sorted(pair.ratio.estimate for pair in each.pairs if pair.ratio)
    ends = f"×{ratios[0]:.2f} to ×{ratios[-1]:.2f}" if ratios else UNKNOWN
    return [UNKNOWN, UNKNOWN, ends, UNKNOWN, f"{len(ratios)} of {len(each.pairs)} pairs" if each.pairs else UNKNOWN]


def _sides(claim: Judged, pair: Pair, at: At, told: Told) -> list[Cell]:
    """Side a, side b, and b/a, each with its interval; what is not known with its reason."""
    unit = _unit(claim.unit, words_of.wanted(claim))[0]
    sides: list[Cell] = [told.interval(unit, *at, name, why=pair.why) for name in ("a", "b")]
    return [*sides, told.interval("ratio", *at, "ratio") if pair.ratio else UNKNOWN]


def _claims(result: StudyResult, told: Told) -> Iterator[Block]:
    for place, claim in enumerate(result.claims):
        said = f"claimed: {words_of.claimed(claim)} in {words(claim.metric)}" if claim.metric else ""
        yield Facts([
            (f"Claim {place + 1}", printable(claim.text)), ("in the source", printable(claim.where)),
            *([("held to each other", f"a: {_settings(claim.a)}; b: {_settings(claim.b)}; {said} ({claim.meaning})")]
              if claim.metric else []),
        ])  # fmt: skip
        for number, each in enumerate(claim.modes):
            yield from _in_mode(claim, each, ("claims", place, "modes", number), told)


def _in_mode(claim: Judged, each: InMode, at: At, told: Told) -> Iterator[Block]:
    named = f"{each.mode}: {each.verdict}" if each.mode else each.verdict
    yield Note(f"{named}: {printable(each.why)}" if each.why else named, TONES[each.verdict])
    if not each.pairs:
        return
    yield Facts([*_beside_each_other(claim, each, at, told)])
    if len(each.pairs) > 1:
        yield _pairs(claim, each, at, told)
    for number, pair in enumerate(each.pairs):
        of = "" if len(each.pairs) == 1 else f" ({_settings(pair.settings)})"
        for place, mechanism in enumerate(pair.mechanisms):
            here = (*at, "pairs", number, "mechanisms", place)
            yield _mechanism(claim, mechanism, here, told, of=f"{of}, {each.mode}")


def _beside_each_other(claim: Judged, each: InMode, at: At, told: Told) -> Iterator[tuple[str, Cell]]:
    """What was published, ours, the mechanisms in a sentence each, and what was scaled."""
    theirs = told("ratio", "claims", at[1], "published_ratio", why="no two readable figures say it")
    yield "published", printable(words_of.quoted(claim))
    yield "published b/a", theirs
    if len(each.pairs) == 1:
        written = _unit(claim.unit, words_of.wanted(claim))[1]
        names = [f"{side}, here{f', {written}' if written else ''}" for side in words_of.sides(claim)]
        cells = _sides(claim, each.pairs[0], (*at, "pairs", 0), told)
        yield from zip((*names, "b/a here [interval]"), cells, strict=True)
    else:
        yield "b/a here", _here(claim, each, at, told)[2]
    telling = next((pair for pair in each.pairs if pair.mechanisms), None)
    of = f" of {_settings(telling.settings)}" if telling and len(each.pairs) > 1 else ""
    for mechanism in telling.mechanisms if telling else ():
        yield f"{mechanism.title}{of}", printable(mechanism.says)
    yield "scaled here", printable("; ".join(claim.scaled)) or "nothing"


def _pairs(claim: Judged, each: InMode, at: At, told: Told) -> Block:
    written = _unit(claim.unit, words_of.wanted(claim))[1]
    rows: list[list[Cell]] = []
    for number, pair in enumerate(each.pairs):
        count = " and ".join(map(str, pair.ratio.processes)) if pair.ratio else UNKNOWN
        cells = _sides(claim, pair, (*at, "pairs", number), told)
        rows.append([_settings(pair.settings) or "all", *cells, count, pair.verdict, printable(pair.why or "")])
    named = f"{words(claim.metric)}{f', {written}' if written else ''}, {each.mode}"
    headers = ["of", *words_of.sides(claim), "b/a [interval]", "n", "verdict", "why"]
    made = Table(f"{named}: every pair", headers, rows)
    return _forest(claim, each, made) if any(pair.ratio for pair in each.pairs) else made


def _forest(claim: Judged, each: InMode, made: Table) -> Chart:
    pairs = [(pair.ratio, _settings(pair.settings)) for pair in each.pairs if pair.ratio]
    names = [name for _, name in pairs]
    return Chart(
        title=f"{words(claim.metric)}, {each.mode}: b/a of every pair",
        label=f"Ratios with intervals of {len(pairs)} pairs; 1 is equal.",
        data=[charts.ratios(names, [(ratio.estimate, ratio.low, ratio.high) for ratio, _ in pairs])],
        layout={
            "height": 110 + 30 * len(pairs), "showlegend": False, "yaxis": charts.named_axis(names),
            "xaxis": {"title": {"text": "b/a"}},
            "shapes": [{"type": "line", "xref": "x", "yref": "paper", "x0": 1, "x1": 1, "y0": 0, "y1": 1}],
        },
        table=made,
        opened=True,
    )  # fmt: skip


def _mechanism(claim: Judged, each: Mechanism, at: At, told: Told, *, of: str) -> Table:
    rows: list[list[Cell]] = []
    for number, row in enumerate(each.rows):
        unit, written = _unit(row.unit, "")
        what = f"{row.what}{f', {written}' if written else ''}"
        rows.append([printable(what), *(told(unit, *at, "rows", number, side, why=row.why) for side in ("a", "b"))])
    return Table(f"{each.title}{of}", ["what", *words_of.sides(claim)], rows, folded="(" in of)


def _figures(result: StudyResult, told: Told) -> Iterator[Block]:
    for mode in filter(None, words_of.modes(result)):
        rows: list[list[Cell]] = []
        for place, figure in enumerate(result.published):
            mine = [(number, ours) for number, ours in enumerate(figure.ours) if ours.mode == mode]
            rows_of: list[tuple[int | None, Ours | None]] = [*mine] or [(None, None)]
            for number, ours in rows_of:
                rows.append([*_beside(figure, place, number, ours, told)])
        headers = [
            "figure",
            "published",
            "evidence",
            "ours [interval]",
            "unit",
            "n",
            "scaled in ours",
            "doubt",
            "where",
        ]
        yield Table(f"Published and measured, {mode}; nothing is extrapolated", headers, rows)


def _beside(figure: Published, place: int, number: int | None, ours: Ours | None, told: Told) -> Iterator[Cell]:
    of = f" ({_settings(ours.settings)})" if ours and ours.settings else ""
    yield printable(f"{figure.framework or ''} {figure.what}{of}".strip())
    yield printable(words_of.published(figure))
    yield figure.evidence
    at = ("published", place, "ours", number or 0)
    if ours is None:
        yield "nothing of ours stands beside it" if not figure.metric else UNKNOWN
    else:
        yield told.interval(_unit(ours.unit, figure.unit)[0], *at, "figure", why=ours.why)
    yield (_unit(ours.unit, figure.unit)[1] or UNKNOWN) if ours else UNKNOWN
    yield str(ours.figure.processes[0]) if ours and ours.figure else UNKNOWN
    yield printable("; ".join(figure.scaled)) if figure.ours else UNKNOWN
    yield printable(figure.doubt)
    yield printable(figure.where)


def _choices(result: StudyResult) -> Iterator[Block]:
    if result.choices:
        rows: list[list[Cell]] = [
            [words(one.setting), printable(f"{one.value}{' (given)' if one.given else ''}"), printable(one.reason),
             printable(one.vary)]
            for one in result.choices
        ]  # fmt: skip
        yield Table(
            "What the source does not state, and what was chosen", ["setting", "here", "why", "to vary it"], rows
        )
    if result.scaled:
        scaled: list[list[Cell]] = [
            [printable(one.experiment), words(one.setting), printable(one.full), printable(one.here)]
            for one in result.scaled
        ]
        yield Table("What is not as published, or as at scale full", ["experiment", "setting", "full", "here"], scaled)
    else:
        yield Note("Nothing was scaled: every setting is as at scale full.")
    yield Note(f"Not stated in the source: {printable('; '.join(result.unstated))}.")
    yield Note(f"What speaks against the comparison: {printable('; '.join(result.flaws))}.")


def _points(result: StudyResult) -> Table:
    rows: list[list[Cell]] = [
        [str(one.point), printable(one.experiment), one.mode, _settings(one.settings), words(one.status),
         str(len(one.runs)), printable(words_of.reason(one))]
        for one in sorted(result.points, key=lambda point: (point.status == COMPLETE, point.point))
    ]  # fmt: skip
    rows += [["–", printable(one.experiment), "", printable(one.title), "not run", "0", printable(one.why)]
             for one in result.skipped]  # fmt: skip
    headers = ["point", "experiment", "mode", "settings", "status", "runs", "why"]
    return Table("Every point: first those without a figure", headers, rows)


def _environment(result: StudyResult, told: Told) -> Iterator[Block]:
    it = result.environment
    yield Facts([
        ("host", printable(it.host)), ("processor", printable(it.processor or UNKNOWN)),
        ("processors", told("count", "environment", "processors")),
        ("memory, MiB", told("mib", "environment", "memory_bytes")),
        ("GPUs", printable(", ".join(it.gpus)) or "none"), ("order by seed", told("whole", "seed")),
    ])  # fmt: skip
    theirs: list[list[Cell]] = [[printable(name), printable(text)] for name, text in it.published_on.items()]
    yield Table("What it was published on", ["experiment", "hardware"], theirs)
    versions: list[list[Cell]] = [
        [printable(f"{framework}: {name}"), printable(text)]
        for framework, told_versions in it.versions.items() for name, text in told_versions.items()
    ]  # fmt: skip
    yield Table("Versions that ran here", ["package", "version"], versions)


def _unit(unit: str, wanted: str) -> tuple[str, str]:
    return UNITS.get((unit, wanted)) or UNITS.get((unit, "")) or ("number", unit)


def _settings(settings: dict[str, str]) -> str:
    return printable(", ".join(f"{name}={text}" for name, text in settings.items()))
