"""What XPlane's kernels and operators say they are of: operator, module, direction; and kernel time by it."""

from pathlib import Path

import pytest

from tests.stores import needs_traces, rows, warned
from tests.xplane_traces import event, imported, plane, read, space, start
from toolkit.analyses.kernel_attribution import KernelPart
from toolkit.analyses.told_kernels import kernels_by, primitive
from toolkit.ingest.xplane_names import instruction_scope, operator_of
from toolkit.ingest.xplane_schema import message_class

STREAM = "1:Stream #1(Compute)"


def modules(**scopes: str) -> bytes:
    """A metadata plane with program 12, whose instructions have these scopes, and one module that is damaged."""
    instructions = [
        message_class("HloInstruction")(
            name=name.replace("_", "."), metadata=message_class("OpMetadata")(op_name=scope)
        )
        for name, scope in scopes.items()
    ]
    computation = message_class("HloComputation")(instructions=instructions)
    proto = message_class("HloProto")(hlo_module=message_class("HloModule")(computations=[computation]))
    made = message_class("XPlane")(name="/host:metadata")
    made.stat_metadata.add(key=1).value.name = "Hlo Proto"
    for key, (name, content) in enumerate([("jit_step(12)", proto.SerializeToString()), ("jit_f(13)", b"\x0a\x05a")]):
        entry = made.event_metadata.add(key=key)
        entry.value.name = name
        entry.value.stats.append(message_class("XStat")(metadata_id=1, bytes_value=content))
    content: bytes = made.SerializeToString()
    return content


def test_an_instruction_s_scope_comes_from_its_module(tmp_path: Path) -> None:
    """By program and instruction, where the event has no name of the framework's; a module that is damaged is said."""
    told = {"program_id": 12, "hlo_module": "&jit_step"}
    events = [
        event("dot.3", 1_000, hlo_op="&dot.3", **told), event("add.1", 2_000, hlo_op="&add.1", **told),
        event("dot.3", 3_000, hlo_op="&dot.3", **(told | {"program_id": 99})), event("train", 4_000),
    ]  # fmt: skip
    scopes = modules(dot_3="jit(step)/transpose(jvp(dense))/dot_general", add_1="jit(step)/optimizer/add")
    connection = read(space(scopes, plane("/host:CPU", {"1:t": events}), start()), tmp_path)
    assert rows(connection, "SELECT kind, name, category, op, module FROM slices ORDER BY ts_ns") == [
        ("op", "dot.3", "backward", "jit(step)/transpose(jvp(dense))/dot_general", "jit_step"),
        ("op", "add.1", "optimizer", "jit(step)/optimizer/add", "jit_step"),
        ("op", "dot.3", None, "dot.3", "jit_step"),
        ("annotation", "train", None, None, None),
    ]
    assert warned(connection) == {"unreadable_module": (1, False)}


def test_tensorflow_s_operators_have_directions(tmp_path: Path) -> None:
    """By scope; what is no operator has none, whatever it is called."""
    names = [
        "gradient_tape/dense/MatMul:MatMul",
        "dense/MatMul:MatMul",
        "sgd/Sub:Sub",
        "input:Cast",
        "dense/annotation",
    ]
    events = [event(name, place * 1_000) for place, name in enumerate(names, 1)]
    connection = read(space(plane("/host:CPU", {"1:t": events}), start()), tmp_path)
    assert rows(connection, "SELECT category FROM slices ORDER BY ts_ns") == [
        ("backward",), ("forward",), ("optimizer",), (None,), (None,),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (("a/b:MatMul", None), "a/b:MatMul"),
        (("XlaModule:", None), None),
        (("XlaModule:", "XlaModule:#hlo_module=m#::Thunk:#hlo_op=f#"), None),
        ((None, "a/b:Mul#shape=(half[4];half[])#"), "a/b:Mul"),
        ((None, "outer:Call#x=y#::inner/op:_Recv#from=a,to=b#::#edge_name=e#"), "inner/op:_Recv"),
        ((None, "#edge_name=ret_0#"), None),
        ((None, None), None),
    ],
)  # fmt: skip
def test_the_operator_is_the_innermost_that_an_annotation_tells(
    told: tuple[str | None, ...], expected: str | None
) -> None:
    """What XLA writes in an operator's place is none."""
    assert operator_of(None, *told) == expected
    assert operator_of("jit(f)/add", *told) == "jit(f)/add"


@pytest.mark.parametrize(
    ("prefix", "name", "hlo_op", "expected"),
    [
        ("jit(f)/jit(main)", "add", "fusion.1", "jit(f)/jit(main)/add"), (None, "jit(f)/add", "fusion.1", "jit(f)/add"),
        ("jit(f)/add", None, "fusion.1", "jit(f)/add"), (None, None, "fusion.1", "fusion.1"), (None, "f", None, None),
    ],
)  # fmt: skip
def test_an_instruction_s_scope_is_its_prefix_and_its_name(
    prefix: str | None, name: str | None, hlo_op: str | None, expected: str | None
) -> None:
    """A `name` beside no instruction is something else's."""
    assert instruction_scope(prefix, name, hlo_op) == expected


def part(name: str | None, kernels: int, ns: int, whole: int) -> KernelPart:
    """A part of a whole of this length, whose calls are not told."""
    return KernelPart(name=name, calls=None, kernels=kernels, kernel_ns=ns, share=ns / whole)


def test_kernels_are_told_by_operator_module_direction_and_step(tmp_path: Path) -> None:
    """By what the kernels' events say, launched in the trace or not; by step where their launch lies in one."""
    of = {"hlo_module": "&jit_step", "prefix": "jit(step)"}
    work = [
        event("gemm", 10_000, 5_000, hlo_op="d", name="jvp(dense)/dot_general", correlation_id=1, **of),
        event("gemm", 20_000, 7_000, hlo_op="e", name="transpose(jvp(dense))/dot_general", correlation_id=2, **of),
        event("sub", 30_000, 1_000, hlo_op="s", name="optimizer/sub", correlation_id=3, **of),
        event("copy", 40_000, 2_000),
    ]
    calls = [event("cuLaunchKernel", 2_000 * number, 1_000, correlation_id=number) for number in (1, 2, 3)]
    steps = [event("train", 1_000, 2_000, step_num=7), event("train", 3_000, 2_000, step_num=8)]
    planes = [plane("/device:GPU:0", {STREAM: work}), plane("/host:CPU", {"1:t": [*steps, *calls]})]
    (found,) = kernels_by(read(space(*planes, start()), tmp_path))
    assert found.operators == [part("dot_general", 2, 12, 15), part(None, 1, 2, 15), part("sub", 1, 1, 15)]
    assert [row.name for row in found.outermost] == [
        "jit(step)/transpose(jvp(dense))/dot_general", "jit(step)/jvp(dense)/dot_general",
        None, "jit(step)/optimizer/sub",
    ]  # fmt: skip
    assert [(row.name, row.kernel_ns) for row in found.directions] == [
        ("backward", 7), ("forward", 5), (None, 2), ("optimizer", 1),
    ]  # fmt: skip
    assert found.modules == [part("jit_step", 3, 13, 15), part(None, 1, 2, 15)]
    assert [(row.name, row.kernel_ns) for row in found.steps] == [("8", 7), ("7", 5), (None, 3)]


@needs_traces
@pytest.mark.parametrize(
    ("file", "operators", "modules_", "directions"),
    [
        (
            "mi300_jax_gemm",
            {"dot_general": 3_233_884, "broadcast_in_dim": 153_720, None: 60_240, "args[0]": 27_640},
            {"jit_dot": 3_233_884, "jit_broadcast_in_dim": 153_720, None: 60_240, "jit_convert_element_type": 27_640},
            {None},
        ),
        (
            "mi300_jax_conv",
            {"conv_general_dilated": 3_490_792, "x": 69_261, "kernel": 26_440},
            {"jit_forward_3d_conv": 3_586_493},
            {None},
        ),
    ],
)
def test_kernel_time_of_real_jax_traces_by_operator_and_module(
    file: str, operators: dict[str | None, int], modules_: dict[str | None, int], directions: set[str], tmp_path: Path
) -> None:
    """By JAX's own names of what XLA compiled, all kernels once."""
    (found,) = kernels_by(imported(f"xplane/{file}.xplane.pb", tmp_path))
    assert {row.name: row.kernel_ns for row in found.operators} == operators
    assert {row.name: row.kernel_ns for row in found.modules} == modules_
    assert {row.name for row in found.directions} == directions


@needs_traces
def test_kernel_time_of_a_real_tensorflow_trace_by_operator_and_direction(tmp_path: Path) -> None:
    """TensorFlow's annotations name the operator of every kernel; gradients on the host show which are forward."""
    for found in kernels_by(imported("xplane/gpu_cc70_tf_bert.xplane.pb", tmp_path)):
        operators = {row.name: row.kernels for row in found.operators}
        assert (operators["RandomUniform"], operators["GreaterEqual"], None in operators) == (97, 97, False)
        assert {row.name: row.kernels for row in found.directions} == {"forward": 658, "backward": 5, None: 2}


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("a/b:MatMul", "MatMul"),
        ("jit(f)/jvp(x)/add", "add"),
        ("jit(f)/mul;jit(f)/add", "mul"),
        ("fusion.1", "fusion.1"),
    ],
)
def test_an_operator_goes_by_its_type_or_primitive(op: str, expected: str) -> None:
    """Scopes left out; of several that XLA made into one instruction, the first."""
    assert primitive(op) == expected
