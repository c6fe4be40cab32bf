"""Whether matched workloads are the same: probes of several frameworks held to each other, with stated tolerances.

A tensor's error is the size (root mean square) of its difference from the reference, PyTorch in float64, by the size of
the reference's own; of weights after a step, by how far the reference's moved. What is below a millionth of the
quantity's largest tensor is held to that millionth: a gradient that is 0 but for rounding has no size of its own. A
weight of such a gradient, as a bias that the next batch norm takes out, moves by rounding alone and is left out.
"""

import hashlib
import json
import math
from typing import Any

import msgspec

from toolkit.capture import verdicts as cache
from toolkit.capture.verify import Probed, Told
from toolkit.spec import FRAMEWORKS

# No definition differs by less than this, and no order of summation makes more of one forward or backward pass.
FP64_TOLERANCE = 1e-8
FP32_TOLERANCE = 1e-5
# How much further than the reference from itself another framework may be: its sums are in another order too.
ROUNDING_FACTOR = 30.0
# From here on rounding alone may have changed everything, and a comparison says nothing.
CHAOS = 0.5
FLOOR = 1e-6
# A gradient this small beside the largest is 0 but for float64's rounding; Adam makes a step of its own of that.
NOISE = 1e-10


class Check(msgspec.Struct, frozen=True):
    """One quantity of one framework: its worst tensor and that one's error beside what is tolerated.

    `agrees` is None where rounding alone explains any difference, which then shows nothing; `error` is None where it
    was not computed for that reason, and where that tensor is not `finite`: it holds NaN or infinity, here or in the
    reference.
    """

    framework: str
    precision: str
    quantity: str
    tensor: str | None
    error: float | None
    tolerance: float
    agrees: bool | None
    finite: bool


class Equal(msgspec.Struct, frozen=True):
    """Something that has no tolerance: the reference's and the framework's."""

    framework: str
    what: str
    reference: str
    here: str

    @property
    def agrees(self) -> bool:
        """Whether they are the same."""
        return self.reference == self.here


class Verdict(msgspec.Struct, frozen=True):
    """What was held to what in one framework, when (ISO 8601), and how long all probes took together."""

    framework: str
    model: str
    agrees: bool
    verified: str
    took_ns: int
    equal: list[Equal]
    checks: list[Check]


def verdicts(model: str, probed: Probed) -> list[Verdict]:
    """One verdict for each framework but the reference's, whose own float32 tells what rounding makes there."""
    found: dict[str, list[Told]] = {}
    for told in sorted(probed.others, key=lambda told: FRAMEWORKS.index(told.framework)):
        found.setdefault(told.framework, []).append(told)
    singles = found.pop(probed.reference.framework, [])
    rounding = {told.precision: _errors(told) for told in (probed.itself, *singles)}
    return [_verdict(model, probed, tells, rounding) for tells in found.values()]


def _verdict(
    model: str, probed: Probed, tells: list[Told], rounding: dict[str, dict[str, tuple[float, str]]]
) -> Verdict:
    framework = tells[0].framework
    equal = _equal(framework, probed.reference.probe, tells[0].probe)
    checks = [check for told in tells for check in _checks(told, rounding[told.precision])]
    agrees = all(each.agrees for each in equal) and all(each.agrees is not False for each in checks)
    return Verdict(framework, model, agrees, cache.now(), probed.took_ns, equal, checks)


def _equal(framework: str, there: dict[str, Any], here: dict[str, Any]) -> list[Equal]:
    def count(probe: dict[str, Any]) -> str:
        return f"{probe['facts']['parameters']:,}"

    return [
        Equal(framework, "parameters", count(there), count(here)),
        Equal(framework, "FLOPs of a forward pass", f"{there['flops']:,}", f"{here['flops']:,}"),
        Equal(framework, "names and shapes of tensors", _short(there["tensors"]), _short(here["tensors"])),
        Equal(framework, "initial weights", there["initial_sha256"][:12], here["initial_sha256"][:12]),
        Equal(framework, "batches and their order", _short(there["batches_sha256"]), _short(here["batches_sha256"])),
    ]


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _checks(told: Told, rounding: dict[str, tuple[float, str]]) -> list[Check]:
    least = FP64_TOLERANCE if told.precision == "fp64" else FP32_TOLERANCE
    checks, errors = [], _errors(told)
    for quantity, (own, _) in rounding.items():
        # What is more shows no more, and infinity, where the reference is not finite, has no place in JSON.
        tolerance = min(max(least, ROUNDING_FACTOR * own), CHAOS)
        # None was computed where it would show nothing.
        error, tensor = errors.get(quantity, (None, None))
        agrees = error is not None and error <= tolerance if tolerance < CHAOS else None
        finite = error is None or math.isfinite(error)
        shown = error if finite else None
        checks.append(Check(told.framework, told.precision, quantity, tensor, shown, tolerance, agrees, finite))
    return checks


def last_that_shows(single: Told) -> str:
    """The last quantity in which float32 shows anything, by how far the reference's is from its float64."""
    showing = [name for name, (own, _) in _errors(single).items() if ROUNDING_FACTOR * own < CHAOS]
    return showing[-1] if showing else next(iter(_errors(single)))


def _errors(told: Told) -> dict[str, tuple[float, str]]:
    """By quantity: the error of its worst tensor, and that one's name. NaN and infinity are an infinite error."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in told.probe["rows"]:
        rows.setdefault(row["quantity"], []).append(row)
    still = _without_gradient(rows.get("gradients", []))
    errors = {}
    for quantity, group in rows.items():
        judged = [row for row in group if not (quantity.startswith("weights") and row["name"] in still)]
        if judged:
            errors[quantity] = max(_error(row, _floor(group)) for row in judged)
    return errors


def _without_gradient(gradients: list[dict[str, Any]]) -> set[str]:
    """Names of tensors whose gradient in the reference is 0 but for rounding."""
    largest = max((row["rms"] or 0.0 for row in gradients), default=0.0)
    return {row["name"] for row in gradients if row["rms"] is not None and row["rms"] < NOISE * largest}


def _floor(rows: list[dict[str, Any]]) -> float:
    return FLOOR * max(row["rms"] or 0.0 for row in rows)


def _error(row: dict[str, Any], floor: float) -> tuple[float, str]:
    if row["rms_difference"] is None or row["rms"] is None:
        return float("inf"), row["name"]
    # No difference from nothing is none.
    size = max(row["rms"], floor)
    return (row["rms_difference"] / size if size else row["rms_difference"]), row["name"]


def keep(identity: str, verdict: Verdict) -> None:
    """Remembers a verdict under what it depends on (`toolkit.capture.verdicts.identity`).

    Raises HwprofError where it cannot.
    """
    cache.keep(identity, msgspec.json.encode(verdict).decode())


def kept(identity: str) -> Verdict | None:
    """The verdict remembered under `identity`, or None."""
    try:
        return msgspec.json.decode(cache.kept(identity) or "", type=Verdict)
    except msgspec.DecodeError:
        return None
