"""Causes planted into real runs: the diagnosis names each first, with its size as the worker itself measured it."""

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.workers import PATIENCE_S, REPO, python, small
from toolkit.analyses.findings import Finding
from toolkit.analyses.summary import summarise
from toolkit.ingest.run import ingest
from toolkit.ingest.store import connect
from toolkit.spec import RunSpec

pytestmark = pytest.mark.e2e


class Diagnosed(NamedTuple):
    """A run's findings, and what the plant cost: (epoch, nanoseconds or bytes) each time."""

    findings: list[Finding]
    truth: list[tuple[int, int]]


def diagnosed(folder: Path, spec: RunSpec, plant: str = "") -> Diagnosed:
    """An unprofiled pass with its samplers, in the framework's own environment, with one cause planted."""
    raw = folder / "raw" / "time"
    raw.mkdir(parents=True)
    (folder / "spec.json").write_text(spec.as_json())
    truth = folder / "truth.json"
    paths = os.pathsep.join(map(str, (REPO / "tests" / "plants", REPO)))
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment |= {"HWPROF_PLANT": plant, "HWPROF_PLANT_TRUTH": str(truth)}
    command = [python(spec.framework), "-m", "toolkit.capture.supervise", folder / "spec.json", "time", "cpu", raw]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as supervise:
        assert supervise.wait(PATIENCE_S) == 0, (raw / "worker.log").read_text()
    ingest(folder)
    with connect(folder) as connection:
        found = summarise(connection).findings
    return Diagnosed(found, json.loads(truth.read_text()) if truth.exists() else [])


def first(found: Diagnosed) -> Finding:
    """The finding that comes first."""
    assert found.findings, "nothing was found"
    return found.findings[0]


def test_a_sleeping_loader_is_input_bound(tmp_path: Path) -> None:
    """By the time that it took for batches in the epochs after the first."""
    found = diagnosed(tmp_path, small("torch", "custom", steps=6, epochs=3, infer_repeats=0), "sleeping_loader")
    took = sum(ns for epoch, ns in found.truth if epoch > 1)
    assert first(found).code == "input_bound"
    assert first(found).at_stake_ns == pytest.approx(took, rel=0.1)


@pytest.mark.parametrize("framework", ["tf", "jax"])
def test_a_changing_batch_shape_recompiles(framework: str, tmp_path: Path) -> None:
    """By what the steps of new shapes took beyond the usual one; tf.function traces, jit compiles, each anew."""
    spec = small(framework, "custom", batch=16, steps=3, epochs=2, warmup_steps=1, infer_repeats=0)
    found = diagnosed(tmp_path, spec, "changing_shape")
    assert first(found).code == "recompilation"
    assert first(found).title.endswith("in 2 steps")
    assert first(found).at_stake_ns == pytest.approx(sum(ns for _, ns in found.truth), rel=0.1)


def test_a_leak_is_growing_memory(tmp_path: Path) -> None:
    """By what the steps of the epochs after the first kept for good."""
    settings = {"steps": 20, "epochs": 5, "sample_hz": 100, "infer_repeats": 0}
    found = diagnosed(tmp_path, small("torch", "custom", **settings), "leak")
    kept = sum(count for epoch, count in found.truth if epoch > 1)
    assert first(found).code == "memory_growth"
    assert first(found).at_stake_bytes == pytest.approx(kept, rel=0.1)


def test_validation_in_fit_is_named(tmp_path: Path) -> None:
    """By what Keras's own evaluation took in the epochs after the first."""
    spec = small("tf", "fit", steps=3, epochs=3, validation_steps=60, infer_repeats=0)
    found = diagnosed(tmp_path, spec, "validation")
    took = sum(ns for epoch, ns in found.truth if epoch > 1)
    assert first(found).code == "validation"
    assert first(found).at_stake_ns == pytest.approx(took, rel=0.1)


def test_a_healthy_run_has_no_findings(tmp_path: Path) -> None:
    """Nothing planted, nothing found."""
    spec = small("torch", "custom", batch=32, steps=30, epochs=4, validation_steps=1, infer_repeats=0)
    assert diagnosed(tmp_path, spec).findings == []
