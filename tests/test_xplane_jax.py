"""A trace that JAX made on a CPU (tests/data/record_jax.py): its steps, the annotations in them, its operators."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.stores import rows
from tests.xplane_traces import event, plane, read, space, start
from toolkit.analyses.step_parts import step_parts

DATA = Path(__file__).parent / "data"
STEPS = range(10, 14)
# XLA's fusions of the jitted step, each run once a step.
OPERATORS = 11


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The store of the recording."""
    content = gzip.decompress((DATA / "jax_training.xplane.pb.gz").read_bytes())
    with read(content, tmp_path_factory.mktemp("jax")) as connection:
        yield connection


def test_jax_s_steps_go_by_the_number_that_the_loop_gave(recorded: duckdb.DuckDBPyConnection) -> None:
    """Each StepTraceAnnotation is a step, between the clock reads around it, and holds the time of XLA's operators."""
    steps = step_parts(recorded)
    assert [step.step for step in steps] == list(STEPS)
    brackets = json.loads((DATA / "jax_training.json").read_text())
    for step, (before, after) in zip(steps, brackets, strict=True):
        assert before <= step.start_ns < step.end_ns <= after
        assert step.parts_ns["CPU Exec"] > 0


def test_annotations_within_jax_s_steps_are_found_by_name(recorded: duckdb.DuckDBPyConnection) -> None:
    """A TraceAnnotation keeps its name, and lies within the step that it was opened in."""
    query = """
        SELECT step.step_num FROM slices AS step JOIN slices AS inner_ USING (thread)
        WHERE inner_.kind = 'annotation' AND inner_.name = 'hwprof.step.' || step.step_num
        AND inner_.ts_ns >= step.ts_ns AND inner_.ts_ns + inner_.dur_ns <= step.ts_ns + step.dur_ns ORDER BY 1
    """
    assert rows(recorded, query) == [(step,) for step in STEPS]


def test_jax_s_operators_on_a_cpu_are_those_of_xla(recorded: duckdb.DuckDBPyConnection) -> None:
    """XLA's own runtime calls and the profiler's hooks are none; nothing puts the trace in doubt."""
    query = "SELECT count(*), count(DISTINCT name), bool_or(name LIKE '%:%') FROM slices WHERE kind = 'op'"
    assert rows(recorded, query) == [(OPERATORS * len(STEPS), OPERATORS, False)]
    assert rows(recorded, "SELECT count(*) FROM warnings") == [(0,)]


def test_jax_s_operators_on_a_cpu_have_the_scopes_of_their_module(recorded: duckdb.DuckDBPyConnection) -> None:
    """JAX's own names come from the compiled module that the trace carries, and tell training's directions."""
    query = (
        "SELECT op, category, count(*) FROM slices WHERE kind = 'op' AND name IN ('ynn_fusion.2', 'dot') GROUP BY ALL"
    )
    assert rows(recorded, f"{query} ORDER BY op") == [
        ("jit(train_step)/jvp(dense)/dot_general", "forward", len(STEPS)),
        ("jit(train_step)/transpose(jvp(dense))/transpose", "backward", len(STEPS)),
    ]
    directions = "SELECT category, count(*) FROM slices WHERE kind = 'op' AND module = 'jit_train_step' GROUP BY ALL"
    assert dict(rows(recorded, directions)) == {"forward": 16, "backward": 20, "optimizer": 8}


def test_a_step_within_a_step_is_no_step_of_its_own(tmp_path: Path) -> None:
    """Keras's callback and a loop of one's own may both mark the same step: the outer one counts."""
    events = [
        event("Profiled batch", 1_000_000, 5_000_000, step_num=7), event("train", 2_000_000, 4_000_000, step_num=1),
        event("Profiled batch", 9_000_000, 1_000_000, step_num=8), event("no step", 11_000_000, 1_000_000),
    ]  # fmt: skip
    connection = read(space(plane("/host:CPU", {"1:python": events}), start()), tmp_path)
    assert [(step.step, step.end_ns - step.start_ns) for step in step_parts(connection)] == [(7, 5_000), (8, 1_000)]
