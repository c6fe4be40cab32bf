"""What an initial tensor looks like: the one measure by which every framework's initial values are described."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of a larger tensor as many are looked at, evenly spaced: no moment moves by a hundredth.
LOOKED_AT = 1 << 18


def spacing(count: int) -> int:
    """Every how manieth of `count` values is looked at."""
    return max(1, math.ceil(count / LOOKED_AT))


def statistics(values: NDArray[Any], count: int) -> dict[str, int | float | None]:
    """Mean, deviation, least and most of `values`, looked at for a tensor of `count`; None where not finite."""
    flat = np.asarray(values, np.float64).ravel()
    figures = {"mean": flat.mean(), "std": flat.std(), "least": flat.min(), "most": flat.max()}
    return {"count": count, "looked_at": flat.size} | {name: _finite(value) for name, value in figures.items()}


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
