"""Directions of training by operators' scopes, as TensorFlow and JAX write them."""

import pytest

from toolkit.ingest.directions import Directions

KERAS = [
    "StatefulPartitionedCall/gradient_tape/sequential_1/dense_1/MatMul/MatMul_1:_MklMatMul",
    "gradient_tape/replica_4/bert_encoder_1/layer_0/Mul:Mul",
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (KERAS[0], "backward"),
        ("gradients/dense/MatMul_grad/MatMul:MatMul", "backward"),
        ("StatefulPartitionedCall/sequential_1/dense_1/BiasAdd:_MklNativeFusedMatMul", "forward"),
        ("replica_6/bert_encoder_1/layer_3/dropout/Mul:Mul", "forward"),
        ("StatefulPartitionedCall/sgd_1/AssignSubVariableOp_3:AssignSubVariableOp", "optimizer"),
        ("cond_17/then/_256/cond_17/AdamWeightDecay/Const_6:Const", "optimizer"),
        ("Adam/Adam/update_3/ResourceApplyAdam:ResourceApplyAdam", "optimizer"),
        ("StatefulPartitionedCall/AssignVariableOp_1:AssignVariableOp", None),
        ("replica_6/cond/Identity:Identity", None),
        ("EagerLocalExecute: MatMul", None),
        ("jit(train_step)/jvp(dense)/jit(relu)/max", "forward"),
        ("jit(train_step)/transpose(jvp(dense))/dot_general", "backward"),
        ("jit(f)/transpose(jvp())/mul;jit(f)/transpose(jvp())/broadcast_in_dim", "backward"),
        ("jit(train_step)/optimizer/sub", "optimizer"),
        ("jit(train_step)/transpose", None),
        ("jit(update)/jit(main)/add", None),
        ("jit(update)/jvp()/add", "forward"),
        ("dot.1", None),
        ("", None),
        (None, None),
    ],
)  # fmt: skip
def test_a_scope_tells_its_direction_or_none(name: str | None, expected: str | None) -> None:
    """Gradients and optimizers by their own scopes, forward where gradients show it; functions' names say nothing."""
    assert Directions(KERAS).of(name) == expected


def test_without_gradients_nothing_is_forward() -> None:
    """A trace of inference has no directions."""
    assert Directions([]).of("sequential_1/dense_1/BiasAdd:BiasAdd") is None
