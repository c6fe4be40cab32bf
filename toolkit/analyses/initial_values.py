"""How initial tensors were drawn, told from their statistics alone, so that all frameworks are held to one measure."""

import math
from collections.abc import Callable, Sequence

from msgspec import Struct

# Of fewer values no shape is told: a normal draw may then lie as close together as a truncated one.
ENOUGH = 1000
# Deviations that the furthest value lies from the mean: 1.73 of a uniform draw, 2.27 of one truncated at two
# deviations, and of ENOUGH normal ones less than 2.5 in four of a million.
UNIFORM_REACH = 2.0
TRUNCATED_REACH = 2.5
# A deviation's standard error is the square root of this by the number of values: a quarter of kurtosis less one.
SPREAD = {"uniform": 0.2, "truncated normal": 0.34}
NORMAL_SPREAD = 0.5
# Standard errors within which two deviations, or a deviation and a law, are the same.
SIGMAS = 5.0
# Evenly spaced values of a large tensor are no perfect sample.
LEAST_ERROR = 0.0005

TOO_FEW = "drawn, too few values to tell how"

Fans = tuple[int, int]

LAWS: dict[str, Callable[[int, int], float]] = {
    "2/(fan-in + fan-out) (Glorot)": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "2/fan-in (He)": lambda fan_in, _: 2 / fan_in,
    "2/fan-out (He)": lambda _, fan_out: 2 / fan_out,
    "1/(3·fan-in)": lambda fan_in, _: 1 / (3 * fan_in),
    "1/(3·fan-out)": lambda _, fan_out: 1 / (3 * fan_out),
    "1/fan-in": lambda fan_in, _: 1 / fan_in,
    "1/fan-out": lambda _, fan_out: 1 / fan_out,
}


class Tensor(Struct, frozen=True):
    """Statistics of `looked_at` of a tensor's `count` values before the first step; null where not finite."""

    count: int
    looked_at: int
    mean: float | None
    std: float | None
    least: float | None
    most: float | None


def family(tensor: Tensor) -> str:
    """The distribution's name: `all 0`, `uniform`, `truncated normal`, `normal`, or what keeps it from being told."""
    if tensor.mean is None or tensor.std is None or tensor.least is None or tensor.most is None:
        return "not finite"
    if tensor.least == tensor.most:
        return f"all {tensor.least:g}"
    if tensor.looked_at < ENOUGH or not tensor.std:
        return TOO_FEW
    reach = max(tensor.most - tensor.mean, tensor.mean - tensor.least) / tensor.std
    if reach < UNIFORM_REACH:
        return "uniform"
    return "truncated normal" if reach < TRUNCATED_REACH else "normal"


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors may have been drawn in the same way: one family, and mean and deviation within chance."""
    if family(a) != family(b) or a.std is None or b.std is None or a.mean is None or b.mean is None:
        return False
    if not a.std or not b.std:
        return a.mean == b.mean
    tolerance = SIGMAS * math.hypot(_error(a), _error(b))
    near = abs(a.mean - b.mean) <= SIGMAS * math.hypot(a.std / math.sqrt(a.looked_at), b.std / math.sqrt(b.looked_at))
    return near and abs(math.log(a.std / b.std)) <= tolerance


def described(tensors: Sequence[tuple[Tensor, Fans | None]]) -> str:
    """One family's tensors in words: what laws explain every one's deviation, else the deviations themselves.

    Those of too few values are taken to be of the family that the others are of.
    """
    families = {family(tensor) for tensor, _ in tensors}
    name = next(iter(families - {TOO_FEW}), TOO_FEW)
    deviations = [tensor.std for tensor, _ in tensors if tensor.std]
    if not deviations:
        return name
    laws = [text for text, variance in LAWS.items() if _explains(variance, tensors)]
    return f"{name}, variance {' or '.join(laws)}" if laws else f"{name}, {_range(deviations)}"


def _explains(variance: Callable[[int, int], float], tensors: Sequence[tuple[Tensor, Fans | None]]) -> bool:
    """Whether no tensor's deviation is too far off, nor all of theirs together."""
    off = []
    for tensor, fans in tensors:
        if fans is None or not tensor.std:
            return False
        off.append(math.log(tensor.std / math.sqrt(variance(*fans))) / _error(tensor))
    return max(map(abs, off)) <= SIGMAS and abs(sum(off)) <= SIGMAS * math.sqrt(len(off))


def _error(tensor: Tensor) -> float:
    """The standard error of a deviation, as a share of it."""
    return max(math.sqrt(SPREAD.get(family(tensor), NORMAL_SPREAD) / tensor.looked_at), LEAST_ERROR)


def _range(deviations: Sequence[float]) -> str:
    least, most = f"{min(deviations):.2g}", f"{max(deviations):.2g}"
    return f"deviation {least}" if least == most else f"deviation {least} to {most}"
