"""What differs between two workloads, by the descriptions that their workers wrote of what really ran.

Layers are paired by kind and identity, the n-th of one with the n-th of the other; the same difference in many layers
is one difference. What is off (false, 0, none) is the same as what is not there.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from toolkit.analyses.initial_values import TOO_FEW, Fans, Tensor, alike, described, family
from toolkit.capture import runs
from toolkit.capture.description import FILE, VERSION
from toolkit.errors import HwprofError
from toolkit.spec import PASSES

# A hundred times that of the largest model here.
LARGEST_BYTES = 1 << 24

Value = str | int | float | bool | None


class Layer(Struct, frozen=True):
    """One call of a layer, as `toolkit.capture.description.Layer` says."""

    name: str
    kind: str
    identity: str
    settings: dict[str, Value]
    tensors: dict[str, Tensor]
    fans: Fans | None
    flops: int


class Description(Struct, frozen=True):
    """What one worker ran."""

    version: int
    framework: str
    model: str
    mode: str
    sections: dict[str, dict[str, Value]]
    layers: list[Layer]


class Difference(Struct, frozen=True):
    """One setting that differs: `a` and `b` are its values, null where one has no such thing.

    Where `part` is a kind of layer, `layers` of the `of` that both have differ in this way, and `where` names them in
    both; a layer that only one has is a difference in number, named there alone.
    """

    part: str
    what: str
    a: Value
    b: Value
    layers: int | None = None
    of: int | None = None
    where: list[tuple[str | None, str | None]] = []


class Equal(Struct, frozen=True):
    """One setting that is the same in both, in all of `layers` layers where it is one of layers."""

    part: str
    what: str
    layers: int | None = None


class Comparison(Struct, frozen=True):
    """Two workloads and what differs between them, in the order of the descriptions; and what does not."""

    framework_a: str
    framework_b: str
    model_a: str
    model_b: str
    mode_a: str
    mode_b: str
    differences: list[Difference]
    equal: list[Equal]


Pair = tuple[Layer, Layer]


def of_run(folder: Path) -> Description:
    """The description in a run's folder. Raises HwprofError where there is none that can be read."""
    for name in PASSES:
        if (folder / "raw" / name / FILE).exists():
            return read(folder / "raw" / name / FILE)
    raise HwprofError(
        f"The run {folder.name} holds no {FILE}: it ended before its model was built, or an older hwprof made it.",
        remedy="Run it again.",
    )


def read(path: Path) -> Description:
    """The description in a file. Raises HwprofError where it is damaged or of another version."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise HwprofError(f"{path} is larger than {LARGEST_BYTES} bytes.", remedy="No worker writes such a file.")
        found = msgspec.json.decode(path.read_bytes(), type=Description)
    except (OSError, msgspec.DecodeError) as error:
        raise HwprofError(f"{path} cannot be read: {error}.", remedy="Run it again.") from error
    if found.version != VERSION:
        raise HwprofError(f"{path} is of version {found.version}, not {VERSION}.", remedy="Run it again.")
    return found


def compare(a: Description, b: Description) -> Comparison:
    """Every difference of two descriptions, and every setting that they share."""
    found = [*_sections(a, b), *_layers(a.layers, b.layers)]
    return Comparison(
        framework_a=a.framework,
        framework_b=b.framework,
        model_a=a.model,
        model_b=b.model,
        mode_a=a.mode,
        mode_b=b.mode,
        differences=[one for one in found if isinstance(one, Difference)],
        equal=[one for one in found if isinstance(one, Equal)],
    )


def compare_runs(runs_folder: Path, a: str, b: str) -> Comparison:
    """Of two runs, given as their names, their folders, or `last`."""
    return compare(of_run(runs.find(runs_folder, a)), of_run(runs.find(runs_folder, b)))


def _sections(a: Description, b: Description) -> Iterator[Difference | Equal]:
    for part in _union(a.sections, b.sections):
        here, there = a.sections.get(part, {}), b.sections.get(part, {})
        for what in _union(here, there):
            one, other = here.get(what), there.get(what)
            if not _same(one, other):
                yield Difference(part, what, one, other)
            elif what in here and what in there:
                yield Equal(part, what)


def _layers(a: Iterable[Layer], b: Iterable[Layer]) -> Iterator[Difference | Equal]:
    """Kind by kind: settings, then initial values, then numbers."""
    here, there = _by_kind(a), _by_kind(b)
    for kind in _union(here, there):
        mine, other = here.get(kind, []), there.get(kind, [])
        pairs = list(_pairs(mine, other))
        if pairs:
            yield from _settings(kind, pairs)
            yield from _initial_values(kind, pairs)
        yield from _numbers(kind, mine, other)


def _by_kind(layers: Iterable[Layer]) -> dict[str, list[Layer]]:
    kinds = defaultdict(list)
    for layer in layers:
        kinds[layer.kind].append(layer)
    return kinds


def _by_identity(layers: Iterable[Layer]) -> dict[str, list[Layer]]:
    found = defaultdict(list)
    for layer in layers:
        found[layer.identity].append(layer)
    return found


def _pairs(a: list[Layer], b: list[Layer]) -> Iterator[Pair]:
    others = _by_identity(b)
    for identity, mine in _by_identity(a).items():
        yield from zip(mine, others.get(identity, []), strict=False)


def _settings(kind: str, pairs: list[Pair]) -> Iterator[Difference | Equal]:
    for what in _union(*(layer.settings for pair in pairs for layer in pair)):
        apart: dict[tuple[Value, Value], list[Pair]] = defaultdict(list)
        for pair in pairs:
            one, other = (layer.settings.get(what) for layer in pair)
            if not _same(one, other):
                apart[one, other].append(pair)
        yield from _told(kind, what, len(pairs), apart)


def _initial_values(kind: str, pairs: list[Pair]) -> Iterator[Difference | Equal]:
    for name in _union(*(pair[0].tensors for pair in pairs)):
        having = [pair for pair in pairs if all(name in layer.tensors for layer in pair)]
        unlike = [pair for pair in having if not alike(*(layer.tensors[name] for layer in pair))]
        apart: dict[tuple[Value, Value], list[Pair]] = {
            (_drawn(name, (a for a, _ in group)), _drawn(name, (b for _, b in group))): group
            for group in _by_families(name, unlike)
        }
        if having:
            yield from _told(kind, f"initial {name}", len(having), apart)


def _by_families(name: str, pairs: list[Pair]) -> Iterable[list[Pair]]:
    """Pairs whose tensors are of the same two families; those of too few values go with what they may be of."""
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    # stable: in the layers' order but for those of too few values, which come last
    for pair in sorted(pairs, key=lambda pair: TOO_FEW in _families(name, pair)):
        mine, other = _families(name, pair)
        fitting = (known for known in groups if mine in (TOO_FEW, known[0]) and other in (TOO_FEW, known[1]))
        groups[next(fitting, (mine, other))].append(pair)
    return groups.values()


def _families(name: str, pair: Pair) -> tuple[str, str]:
    a, b = pair
    return family(a.tensors[name]), family(b.tensors[name])


def _drawn(name: str, layers: Iterable[Layer]) -> str:
    return described([(layer.tensors[name], layer.fans) for layer in layers])


def _told(kind: str, what: str, of: int, apart: dict[tuple[Value, Value], list[Pair]]) -> Iterator[Difference | Equal]:
    if not apart:
        yield Equal(kind, what, of)
    for (one, other), pairs in apart.items():
        where: list[tuple[str | None, str | None]] = [(a.name, b.name) for a, b in pairs]
        yield Difference(kind, what, one, other, len(pairs), of, where)


def _numbers(kind: str, a: list[Layer], b: list[Layer]) -> Iterator[Difference | Equal]:
    counts, others = Counter(layer.identity for layer in a), Counter(layer.identity for layer in b)
    if counts == others:
        yield Equal(kind, "number of layers", len(a))
        return
    mine, theirs = _by_identity(a), _by_identity(b)
    for identity in _union(counts, others):
        one, other = counts[identity], others[identity]
        if one != other:
            extra = mine[identity][other:] or theirs[identity][one:]
            where: list[tuple[str | None, str | None]] = [
                (layer.name, None) if one > other else (None, layer.name) for layer in extra
            ]
            yield Difference(kind, f"number of layers {identity}".rstrip(), one, other, where=where)


def _same(a: Value, b: Value) -> bool:
    """Equal, or both off; True is not 1 here."""
    return (not a and not b) or (a == b and isinstance(a, bool) == isinstance(b, bool))


def _union(*names: Iterable[str]) -> list[str]:
    """Each name once, in the order in which they first come."""
    return list(dict.fromkeys(name for each in names for name in each))
