"""Whether sides may be compared: a side's runs repeat one another, and sides differ only in what is compared.

What the frameworks themselves differ in (loop, compile mode, versions) is what comparisons are of; it is told, not
refused.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from toolkit.analyses import matched
from toolkit.analyses.processes import Process
from toolkit.errors import HwprofError
from toolkit.own_spec import told

# Of these a repeat may differ from the run that it repeats.
FREE = {"seed", "data_dir", "weights_dir", "timeout_s"}
GIB = 1 << 30
FORCED = "Compared by --force. "
Told = Callable[[Process], Any]


class Side(NamedTuple):
    """What is compared: repeats of one run, under a label that reports call it by."""

    label: str
    processes: Sequence[Process]


def _asked(name: str) -> Told:
    return lambda process: getattr(process.spec, name, None)


def _found(name: str) -> Told:
    return lambda process: process.facts.get(name)


def _memory_gib(process: Process) -> int | None:
    found = process.facts.get("memory_bytes")
    return round(found / GIB) if isinstance(found, int) else None


def _limit(process: Process) -> Any:
    return (process.facts.get("cgroup") or {}).get("processors")


# What must be equal, as people call it, by the kind that it belongs to.
RULES: Mapping[str, Mapping[str, Told]] = {
    "mode": {"mode": _asked("mode"), "task": _asked("task")},
    "model": {"model": _asked("model"), "weights": _found("weights"), "trainable": _asked("trainable")},
    "precision": {"precision": _asked("precision"), "computed in": _found("compute_dtype")},
    "data": {
        name: _asked(name)
        for name in ("dataset", "batch", "image_size", "classes", "normalise", "steps", "validation_steps")
    },
    "replicas": {"replicas": _asked("replicas")},
    "hardware": {
        "device": lambda process: process.device,
        "GPUs": lambda process: ", ".join(process.gpus) or None,
        "processor": _found("cpu"),
        "processors": _found("cpus"),
        "processor limit": _limit,
        "GiB of memory": _memory_gib,
        "threads": _asked("threads"),
    },
}


class Pair(NamedTuple):
    """Side `b` is held to side `a`; `axes` are the settings in which they are meant to differ."""

    a: Side
    b: Side
    axes: Collection[str] = ()


ALWAYS = ("device", "processor", "processors", "GiB of memory")


def check(pairs: Iterable[Pair], *, force: bool) -> str | None:
    """What the report must say of pairs that are compared by force; None where they may be compared.

    Raises HwprofError where runs of one side do not repeat one another, where modes differ, and without `force` where
    matched runs are not verified to be the same or sides differ in more than is compared.
    """
    said: dict[str, None] = {}
    for pair in pairs:
        for side in pair[:2]:
            _repeats(side)
        folders = [process.folder for side in pair[:2] for process in side.processes]
        if verdict := matched.check(folders, force=force):
            said[verdict.removeprefix(FORCED)] = None
        if problems := list(_unequal(*pair)):
            said[f"The sides differ in {'; '.join(problems)}."] = None
    if not said:
        return None
    if not force:
        raise HwprofError(" ".join(said), remedy="--force compares them all the same, and says so.")
    return FORCED + " ".join(said)


def untold(side: Side) -> list[str]:
    """What is to be equal and a side does not tell, though every machine has it: whether it is equal is not known."""
    process = side.processes[0]
    return [name for name in ALWAYS if RULES["hardware"][name](process) is None]


def settings_apart(a: Side, b: Side) -> dict[str, list[str]]:
    """Every setting in which two sides differ, with both values."""
    first, second = told(a.processes[0].spec), told(b.processes[0].spec)
    return {
        name: [str(first.get(name)), str(second.get(name))]
        for name in first | second
        if name not in FREE and first.get(name) != second.get(name)
    }


def _repeats(side: Side) -> None:
    first, *others = side.processes
    for other in others:
        mine, its = told(first.spec), told(other.spec)
        apart = [
            f"{name} {mine.get(name)} and {its.get(name)}"
            for name in mine | its
            if name not in FREE and mine.get(name) != its.get(name)
        ]
        apart += _unequal_in(RULES["hardware"], first, other)
        if apart:
            raise HwprofError(
                f"{first.name} and {other.name} are no repeats of each other: {', '.join(apart)}.",
                remedy="Give them as sides of their own, a space between.",
            )


def _unequal(a: Side, b: Side, axes: Collection[str]) -> Iterator[str]:
    for kind, rules in RULES.items():
        unequal = _unequal_in(
            {name: told for name, told in rules.items() if not {kind, name} & set(axes)}, a.processes[0], b.processes[0]
        )
        if unequal:
            yield f"{kind}: {', '.join(unequal)}"


def _unequal_in(rules: Mapping[str, Told], one: Process, other: Process) -> list[str]:
    """What differs; what one of them does not tell is not known to."""
    pairs = ((name, tell(one), tell(other)) for name, tell in rules.items())
    return [f"{name} {a} and {b}" for name, a, b in pairs if a is not None and b is not None and a != b]
