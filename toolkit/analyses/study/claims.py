"""What this hardware says of a published claim: shown, not shown, contradicted or not testable here, and on what.

A claim holds its side b to its side a, in every pair of points that are equal in all else. Modes are never mixed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from toolkit.analyses.processes import Process
from toolkit.analyses.statistics import (
    HIGHER,
    LOWER,
    MARGIN,
    Interval,
    bounds,
    median_interval,
    ratio_interval,
    verdict,
)
from toolkit.analyses.study.definition import Claim, Figure
from toolkit.analyses.study.mechanism_rows import Mechanism
from toolkit.analyses.study.mechanisms import MECHANISMS
from toolkit.analyses.study.metrics import CLAIMED
from toolkit.analyses.study.points import EXPERIMENT, MODE, Scaled, matches, setting_of
from toolkit.capture.matrix import Point
from toolkit.capture.sweeps import COMPLETE

Verdict = Literal["shown", "not shown", "contradicted", "not testable on this hardware"]
SHOWN: Verdict = "shown"
NOT_SHOWN: Verdict = "not shown"
CONTRADICTED: Verdict = "contradicted"
NOT_TESTABLE: Verdict = "not testable on this hardware"
VERDICTS = (SHOWN, NOT_SHOWN, CONTRADICTED, NOT_TESTABLE)
SAME = "same"


class Measured(NamedTuple):
    """A point as it came out: its status, why, and its runs that were complete and are trusted."""

    point: Point
    status: str
    reason: str | None
    processes: Sequence[Process]


class Circumstances(NamedTuple):
    """What verdicts depend on beside figures: a GPU, the dataset, what was scaled, and whether two may be compared.

    `no_gpu` and `no_dataset` say why there is none. `unlike` says why matched runs are not shown to be the same.
    """

    no_gpu: str | None
    no_dataset: str | None
    scaled: Sequence[Scaled]
    unlike: Callable[[Sequence[Process]], str | None]


class Pair(Struct, frozen=True, kw_only=True):
    """Two points of a claim: what they are both of, each side's median over processes, and the ratio b/a.

    What a side does not tell is null; `why` says then, or where the pair is not testable, why.
    """

    settings: dict[str, str]
    a: Interval | None
    b: Interval | None
    ratio: Interval | None
    verdict: Verdict
    why: str | None
    mechanisms: list[Mechanism]


class InMode(Struct, frozen=True, kw_only=True):
    """A claim's verdict in one mode, the reason in words, and the pairs that it rests on."""

    mode: str
    verdict: Verdict
    why: str
    pairs: list[Pair]


class Quoted(Struct, frozen=True, kw_only=True):
    """A published figure that says a claim; `value` is null where it cannot be read."""

    id: str
    framework: str | None
    value: float | None
    unit: str
    evidence: str


class Judged(Struct, frozen=True, kw_only=True):
    """A published claim, and what became of it in each mode. `published_ratio`: b/a of its own figures.

    `scaled`: what is not as published in the points of its experiment.
    """

    id: str
    text: str
    where: str
    metric: str
    meaning: str
    unit: str
    says: str
    factor: float
    a: dict[str, str]
    b: dict[str, str]
    quoted: list[Quoted]
    published_ratio: float | None
    scaled: list[str]
    modes: list[InMode]


def judge(
    claim: Claim, figures: Sequence[Figure], modes: Sequence[str], measured: Sequence[Measured], by: Circumstances
) -> Judged:
    """The claim's verdict in each mode that its experiment ran in; one of no mode where nothing can be measured."""
    metric = CLAIMED.get(claim.metric)
    return Judged(
        id=claim.id, text=claim.text, where=claim.where, metric=claim.metric, says=claim.says, factor=claim.factor,
        meaning=metric.meaning if metric else "", unit=metric.unit if metric else "", a=claim.a, b=claim.b,
        quoted=[
            Quoted(id=each.id, framework=each.framework, value=each.value, unit=each.unit, evidence=each.evidence)
            for each in figures if each.id in claim.figures
        ],
        published_ratio=published_ratio(claim, figures), scaled=of_experiment(by.scaled, claim.experiment),
        modes=[_in_mode(claim, mode, measured, by) for mode in modes] or [_unmeasured(claim)],
    )  # fmt: skip


def of_experiment(scaled: Sequence[Scaled], experiment: str) -> list[str]:
    """What is not as published in an experiment, one setting a line."""
    return [f"{one.setting} {one.here} for {one.full}" for one in scaled if one.experiment == experiment]


def published_ratio(claim: Claim, figures: Sequence[Figure]) -> float | None:
    """Of the claim's two figures, side b's over side a's, where both can be read and have one unit."""
    sides = [
        [each for each in figures if each.id in claim.figures and _is_of(each, side)] for side in (claim.a, claim.b)
    ]
    if [len(side) for side in sides] != [1, 1]:
        return None
    (a,), (b,) = sides
    return b.value / a.value if a.value and b.value is not None and a.unit == b.unit else None


def _is_of(figure: Figure, side: Mapping[str, str]) -> bool:
    told = {**figure.of, **({"framework": figure.framework} if figure.framework else {})}
    return all(told.get(name) == text for name, text in side.items())


def _unmeasured(claim: Claim) -> InMode:
    return InMode(mode="", verdict=NOT_TESTABLE, why=claim.untestable or "its experiment is not run", pairs=[])


def _in_mode(claim: Claim, mode: str, measured: Sequence[Measured], by: Circumstances) -> InMode:
    pairs = [_pair(claim, *found, by) for found in pairings(claim, mode, measured)]
    if barred := "; ".join(_barred(claim, by)):
        return InMode(mode=mode, verdict=NOT_TESTABLE, why=barred, pairs=pairs)
    if not pairs:
        return InMode(mode=mode, verdict=NOT_TESTABLE, why="no two points of it were asked for", pairs=[])
    found, why = _together(pairs)
    return InMode(mode=mode, verdict=found, why=why, pairs=pairs)


def pairings(claim: Claim, mode: str, measured: Sequence[Measured]) -> Iterator[tuple[Measured, Measured]]:
    """Points of side a, each with the one of side b that is equal in all else."""
    mine = [
        each for each in measured
        if matches(each.point, {EXPERIMENT: claim.experiment, MODE: mode})
        and all(setting_of(each.point, name) in values for name, values in claim.only.items())
    ]  # fmt: skip
    sides = [[each for each in mine if matches(each.point, side)] for side in (claim.a, claim.b)]
    free = {*claim.a, *claim.b}
    for one in sides[0]:
        for other in sides[1]:
            if _rest(one.point, free) == _rest(other.point, free):
                yield one, other


def _rest(point: Point, free: Iterable[str]) -> dict[str, str]:
    """What a pair's points have in common: the settings in which others differ from them."""
    return {name: text for name, text in point.settings.items() if name not in {*free, EXPERIMENT, MODE}}


def _pair(claim: Claim, a: Measured, b: Measured, by: Circumstances) -> Pair:
    settings = _rest(a.point, {*claim.a, *claim.b})
    if unlike := by.unlike([*a.processes, *b.processes]):
        return Pair(settings=settings, a=None, b=None, ratio=None, verdict=NOT_TESTABLE, why=unlike, mechanisms=[])
    values = [values_of(each.processes, claim.metric) for each in (a, b)]
    medians = [median_interval(mine) if mine else None for mine in values]
    ratio = ratio_interval(*values) if all(mine and min(mine) > 0 for mine in values) else None
    found = _of_ratio(claim, ratio) if ratio else NOT_TESTABLE
    why = None
    if ratio is None:
        why = "; ".join(_lacking(claim, (a, b), values))
    elif found == NOT_TESTABLE:
        why = f"too few processes for an interval: {min(map(len, values))} of a side"
    return Pair(
        settings=settings, a=medians[0], b=medians[1], ratio=ratio, verdict=found, why=why,
        mechanisms=_mechanisms(claim, a.processes, b.processes),
    )  # fmt: skip


def _mechanisms(claim: Claim, a: Sequence[Process], b: Sequence[Process]) -> list[Mechanism]:
    """Those that both sides tell anything of, also where the claim's own metric is not told."""
    if not a or not b:
        return []
    return [told for name in claim.mechanisms if (told := MECHANISMS[name].tell(a, b))]


def values_of(processes: Sequence[Process], metric: str) -> list[float]:
    """One value a process, of those that tell the metric."""
    told = (CLAIMED[metric].of(process) for process in processes)
    return [value for value in told if value is not None]


def _lacking(claim: Claim, sides: Sequence[Measured], values: Sequence[Sequence[float]]) -> Iterator[str]:
    """Why there is no ratio: a side without figures, or one that holds a 0, without which the others would mislead."""
    for each, side, mine in zip(sides, (claim.a, claim.b), values, strict=True):
        named = ", ".join(f"{name}={text}" for name, text in side.items())
        if mine and min(mine) <= 0:
            zeros = sum(value <= 0 for value in mine)
            yield f"{named}: {claim.metric} is 0 in {zeros} of {len(mine)} runs, which has no ratio"
        elif not mine:
            untold = f"no run of it tells {claim.metric}" if each.status == COMPLETE else each.status.replace("_", " ")
            yield f"{named}: {untold}" + (f" ({each.reason})" if each.reason else "")


def _of_ratio(claim: Claim, ratio: Interval) -> Verdict:
    """Of an interval of b/a, by the margin of every comparison."""
    if ratio.low is None or ratio.high is None:
        return NOT_TESTABLE
    found = verdict(ratio, MARGIN)
    if claim.says == SAME:
        least, most = bounds(MARGIN)
        inside = least <= ratio.low and ratio.high <= most
        return CONTRADICTED if found in {HIGHER, LOWER} else SHOWN if inside else NOT_SHOWN
    if claim.factor > 1:
        return _by_factor(claim, ratio.low, ratio.high)
    if found not in {HIGHER, LOWER}:
        return NOT_SHOWN
    return SHOWN if found == claim.says else CONTRADICTED


def _by_factor(claim: Claim, low: float, high: float) -> Verdict:
    """Whether b is at least so many times lower, or higher, than a."""
    if claim.says == LOWER:
        low, high = 1 / high, 1 / low
    return SHOWN if low >= claim.factor else CONTRADICTED if high < claim.factor else NOT_SHOWN


def _barred(claim: Claim, by: Circumstances) -> Iterator[str]:
    """Why the claim is not testable here whatever the figures say."""
    if "gpu" in claim.needs and by.no_gpu:
        yield f"no GPU: {by.no_gpu}"
    if "cifar10" in claim.needs and by.no_dataset:
        yield f"no dataset: {by.no_dataset}"
    decided = [each for each in by.scaled if each.experiment == claim.experiment and each.setting in claim.decided_by]
    if decided:
        changed = ", ".join(f"{each.setting} {each.here} for {each.full}" for each in decided)
        yield f"what this scale changed decides it: {changed}"


def _together(pairs: Sequence[Pair]) -> tuple[Verdict, str]:
    """All pairs of a claim in one word, and how many came out how."""
    counts = {
        each: sum(pair.verdict == each for pair in pairs) for each in (SHOWN, NOT_SHOWN, CONTRADICTED, NOT_TESTABLE)
    }
    if len(pairs) == 1:
        return pairs[0].verdict, pairs[0].why or _words(pairs[0])
    told = ", ".join(f"{count} {name.removesuffix(' on this hardware')}" for name, count in counts.items() if count)
    why = f"of {len(pairs)} pairs {told}"
    if counts[NOT_TESTABLE] == len(pairs):
        first = next((pair.why for pair in pairs if pair.why), "")
        return NOT_TESTABLE, f"{why}, such as: {first}"
    if counts[SHOWN] == len(pairs):
        return SHOWN, why
    if counts[CONTRADICTED] and not counts[SHOWN]:
        return CONTRADICTED, why
    return NOT_SHOWN, f"mixed: {why}" if counts[CONTRADICTED] else why


def _words(pair: Pair) -> str:
    if pair.ratio is None or pair.ratio.low is None or pair.ratio.high is None:
        return ""
    return f"b/a is ×{pair.ratio.estimate:.3f}, from {pair.ratio.low:.3f} to {pair.ratio.high:.3f}"
