"""What runs claim of being the same workload, and whether several may be compared.

A matched run records its identity as it starts (`toolkit.capture.verdicts`); the verdict is looked up again whenever
it is asked for, so that verifying later is enough. One that was recorded counts where this machine keeps none.
"""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct, ValidationError, convert, structs

from toolkit.capture import runs, verdicts
from toolkit.capture.images import ROOT
from toolkit.errors import HwprofError
from toolkit.own_spec import OwnSpec
from toolkit.spec import AS_SHIPPED, FRAMEWORKS_SPELT, MATCHED, RunSpec

BOTH_MODES = "Matched and as-shipped runs are never compared"


class Matched(Struct, frozen=True, kw_only=True):
    """A matched run's claim: `reference` where it is of PyTorch, which the others are held to.

    `agrees` is null where that is not verified, `verified` when it was (ISO 8601); `identity` is null where the run was
    made before runs recorded one.
    """

    identity: str | None
    reference: bool
    agrees: bool | None
    verified: str | None


class Compared(NamedTuple):
    """A run among others; `matched` is None as shipped."""

    folder: Path
    spec: RunSpec
    matched: Matched | None

    @property
    def doubtful(self) -> bool:
        """Whether it is matched and not shown to be the same as PyTorch's."""
        return self.matched is not None and not self.matched.reference and not self.matched.agrees

    @property
    def remedy(self) -> str:
        """What shows a doubtful run to be the same, or what to do where nothing does."""
        if self.matched is None or self.matched.agrees is not None:
            return f"`{verdicts.command(self.spec, self.spec.framework)}` names the tensors that differ"
        if not self.matched.identity or self.matched.identity != _identity_now(self.folder, self.spec):
            return f"run {self.folder.name} again: it was made by other sources or versions than are here"
        return f"run `{verdicts.command(self.spec, self.spec.framework)}`"


def read(folder: Path) -> Matched | None:
    """What a run folder claims, by what is known now; None as shipped, and of a loop that hwprof did not write."""
    spec = runs.spec_of(folder)
    if isinstance(spec, OwnSpec) or not spec.matched:
        return None
    return current(_recorded(folder, spec))


def current(matched: Matched) -> Matched:
    """`matched` with the verdict that this machine keeps for its identity, if any."""
    found = verdicts.known(matched.identity) if matched.identity and not matched.reference else None
    return structs.replace(matched, agrees=found.agrees, verified=found.verified) if found else matched


def compared(folders: Iterable[Path]) -> list[Compared]:
    """The runs of these folders, but for those that claim nothing: of people's own loops, and with a damaged spec."""
    found = []
    for folder in folders:
        with contextlib.suppress(HwprofError):
            spec = runs.spec_of(folder)
            if not isinstance(spec, OwnSpec):
                found.append(Compared(folder, spec, read(folder)))
    return found


def doubtful(found: Sequence[Compared]) -> list[Compared]:
    """Of runs that are to be compared, those that are not shown to be the same; none where all are of one framework."""
    matched = [each for each in found if each.matched]
    several = len({each.spec.framework for each in matched}) > 1
    return [each for each in matched if several and each.doubtful]


def not_the_same(unshown: Sequence[Compared]) -> str:
    """One sentence on doubtful runs, their remedies in it."""
    names = ", ".join(f"{FRAMEWORKS_SPELT[each.spec.framework]} {each.spec.model}" for each in _distinct(unshown))
    differing = [each for each in unshown if each.matched and each.matched.agrees is False]
    what = "differ from PyTorch's" if len(differing) == len(unshown) else "are not verified to be the same as PyTorch's"
    remedies = "; ".join(dict.fromkeys(each.remedy for each in unshown))
    return f"Matched runs of {names} {what}: {remedies}."


def check(folders: Iterable[Path], *, force: bool) -> str | None:
    """What the report must say of runs that are compared by force; None where they may be compared.

    Raises HwprofError where they may not: where their modes differ, or without `force` where one of several frameworks
    is not verified.
    """
    found = compared(folders)
    modes = {each.spec.mode for each in found}
    if modes >= {MATCHED, AS_SHIPPED}:
        raise HwprofError(f"{BOTH_MODES}.", remedy="Give the runs of one mode; each report names its own.")
    unshown = doubtful(found)
    if not unshown:
        return None
    if not force:
        raise HwprofError(not_the_same(unshown), remedy="--force compares them all the same, and says so.")
    return f"Compared by --force. {not_the_same(unshown)}"


def _distinct(found: Sequence[Compared]) -> list[Compared]:
    return list({(each.spec.framework, each.spec.model): each for each in found}.values())


def _recorded(folder: Path, spec: RunSpec) -> Matched:
    try:
        return convert(runs.launched(folder, "matched"), Matched)
    except ValidationError:
        # a run of an older version
        return Matched(identity=None, reference=spec.framework == verdicts.REFERENCE, agrees=None, verified=None)


def _identity_now(folder: Path, spec: RunSpec) -> str | None:
    """The identity that the same run would have now; None where its lock is no more."""
    name = (runs.launched(folder, "runtime") or {}).get("lock")
    lock = ROOT / "containers" / "locks" / Path(str(name)).name
    return verdicts.identity(spec, spec.framework, lock) if lock.is_file() else None
