"""Precision: what is asked for is in force and on record, or refused in one line."""

from pathlib import Path

import pytest

from tests.workers import small, work
from toolkit.capture.workloads import tf32
from toolkit.errors import HwprofError
from toolkit.spec import FRAMEWORKS, PRECISIONS, RunSpec


@pytest.mark.parametrize(
    ("capability", "said"),
    [(None, "a CPU"), ((7, 5), "a GPU of compute capability 7.5"), ((8, 0), None), ((10, 0), None)],
)
def test_tf32_is_refused_where_there_is_none(capability: tf32.Capability | None, said: str | None) -> None:
    """On a processor and before Ampere; nothing else is."""
    for precision in PRECISIONS:
        spec = RunSpec(precision=precision)
        if precision != "tf32" or said is None:
            tf32.check(spec, capability)
            continue
        with pytest.raises(HwprofError, match=f"^precision=tf32, but {said} has no TF32. Use precision=fp32"):
            tf32.check(spec, capability)


@pytest.mark.e2e
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_bf16_is_of_the_arithmetic_alone(framework: str, tmp_path: Path) -> None:
    """Computed in bfloat16 over float32 weights, it trains, and the record says both."""
    ran = work(tmp_path, small(framework, "custom", epochs=1, infer_repeats=0, precision="bf16"), "time")
    assert ran.outcome["status"] == "complete", ran.outcome
    assert (ran.facts["compute_dtype"], ran.facts["weights_dtype"]) == ("bfloat16", "float32")
    (loss,) = ran.scalars("train_loss")
    assert 0 < loss < 10
