"""Kernels by what asked for them, on real traces."""

import duckdb
import pytest

from tests.stores import needs_traces, shared
from toolkit.analyses.device_time import device_time
from toolkit.analyses.kernel_attribution import kernel_attribution
from toolkit.analyses.streams import launches, stream_idle

# What share of each real trace's kernel time no operator is known to have asked for, and why, at most.
UNKNOWN_SHARE = {
    "a100_nccl_rank0": 0,
    "a100_simple_add_cuda_sync": 0,
    "b200_eager_8gpu": 0.001,  # two kernels launched outside operators
    "mi210_gpu_only": 1,  # recorded without the host's operators
    "mi300_bert_small": 0,
    "mi300_ddp_resnet18": 0,
    "mi300_owlv2": 0,
    "mi300_timesformer": 0,
    "mi300_torch_compile_triton": 0,
    "old_resnet50_no_steps_5_streams": 0.016,  # launched between autograd's nodes
    "old_resnet50_toplevel_list": 0.087,  # likewise, and launches before the trace began
    "v100_nccl_memory_large": 0,
    "v100_ns_resolution_rank0": 0,
    "v100_resnet50_steps_memory": 0,
}


def imported(trace: str, folders: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """The store of one shared trace, whose slices can be had otherwise: `slices` is a view of `all_slices`."""
    connection = shared(f"kineto/{trace}.pt.trace.json.gz", folders)
    connection.execute("ALTER VIEW slices RENAME TO all_slices; CREATE VIEW slices AS FROM all_slices")
    return connection


@needs_traces
@pytest.mark.parametrize("trace", UNKNOWN_SHARE)
def test_kernel_time_of_real_traces_finds_its_operator(trace: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every kernel is in every list once; what no operator asked for is no more than is known and explained."""
    connection = imported(trace, tmp_path_factory)
    found = kernel_attribution(connection)
    assert [row.kernels for row in found] == [time.kernels for time in device_time(connection) if time.kernels]
    unknown = sum(part.kernel_ns for row in found for part in row.operators if part.name is None)
    assert unknown <= UNKNOWN_SHARE[trace] * sum(row.kernel_sum_ns for row in found)
    assert stream_idle(connection)
    assert launches(connection)


@needs_traces
@pytest.mark.parametrize("trace", ["b200_eager_8gpu", "mi300_ddp_resnet18", "v100_resnet50_steps_memory"])
def test_nesting_finds_the_operators_that_the_trace_names(trace: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without external ids, real traces are attributed just as with them: the two ways confirm each other."""
    connection = imported(trace, tmp_path_factory)
    told = kernel_attribution(connection)
    connection.execute(
        "CREATE OR REPLACE VIEW slices AS SELECT * REPLACE (NULL::BIGINT AS external_id) FROM all_slices"
    )
    assert kernel_attribution(connection) == told


@needs_traces
@pytest.mark.parametrize("trace", ["a100_nccl_rank0", "v100_ns_resolution_rank0"])
@pytest.mark.parametrize(
    ("section", "directions"),
    # the loss and its first gradient are computed by the main thread's own operators
    [("forward", {"forward"}), ("backward", {"forward", "backward"}), ("optimizer", {"optimizer"})],
)
def test_directions_are_those_that_the_user_annotated(
    trace: str, section: str, directions: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What was launched in sections that a training script itself annotated has the direction that names them."""
    connection = imported(trace, tmp_path_factory)
    sections = "CREATE TABLE sections AS FROM all_slices WHERE kind = 'annotation' AND name = $1"
    connection.execute(sections, [f"## {section} ##"])
    connection.execute("""
        CREATE OR REPLACE VIEW slices AS
        SELECT s.* FROM all_slices AS s WHERE kind <> 'launch' OR EXISTS (
            FROM sections WHERE s.ts_ns BETWEEN sections.ts_ns AND sections.ts_ns + sections.dur_ns
        )
    """)
    (found,) = kernel_attribution(connection)
    assert {part.name for part in found.directions} - {None} == directions


@needs_traces
@pytest.mark.parametrize(
    ("trace", "known"), [("gpu_cc70_tf_bert", {"Cast", "RandomUniform", "GreaterEqual"}), ("mi300_jax_conv", set())]
)
def test_tensorflow_launches_under_operators_and_jax_does_not(
    trace: str, known: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """TensorFlow's executor wraps each launch in its operator; JAX's threads run compiled programs, which name none."""
    for found in kernel_attribution(shared(f"xplane/{trace}.xplane.pb", tmp_path_factory)):
        names = {part.name for part in found.operators}
        assert names >= known
        assert (None in names) == (not known)
