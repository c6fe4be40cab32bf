"""What the launcher settles before anything starts."""

import pytest

from toolkit.capture.launch import visible
from toolkit.capture.samplers.nvml import Gpu, Presence

PRESENCE = Presence(tuple(Gpu(number, f"GPU {number}", f"GPU-{number}abc", None) for number in range(4)), "580", None)


@pytest.mark.parametrize(
    ("variable", "numbers"),
    [(None, [0, 1, 2, 3]), ("3", [3]), ("2, 0", [2, 0]), ("GPU-1", [1]), ("", []), ("-1", []), ("1,9,0", [1])],
)
def test_cuda_visible_devices_is_heeded(variable: str | None, numbers: list[int]) -> None:
    """By number or UUID, in its order, to the first that fits none; what hides every GPU is the reason."""
    seen = visible(PRESENCE, variable)
    assert [gpu.number for gpu in seen.gpus] == numbers
    assert (seen.reason is None) == bool(numbers)
