"""Which direction of training an operator belongs to, as far as its scope says.

TensorFlow puts gradients under `gradient_tape/`, followed by the scope of what they are gradients of, and an
optimizer's work under the optimizer's name. JAX writes what it differentiates as `jvp(scope)` and what it takes back as
`transpose(jvp(scope))`; an optimizer there is whatever `jax.named_scope` calls so.
"""

import re
from collections.abc import Iterable

FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimizer"
DIRECTIONS = (None, FORWARD, BACKWARD, OPTIMIZER)

_GRADIENTS = "gradient_tape"
_BACKWARD = re.compile(r"(?:^|/)(?:gradient_tape|gradients(?:_\d+)?)/|(?:^|/)transpose\(")
_JAX_FORWARD = re.compile(r"(?:^|/)jvp\(")
# Names of optimizers in Keras and optax, with the number that Keras gives a second one, and what people call the scope.
_OPTIMIZER = re.compile(
    r"(?:\w*optimi[sz]er|n?adam\w*|sgd|rmsprop|adagrad|adadelta|adafactor|ftrl|lion|lamb|lars|muon|apply_updates"
    r"|apply_gradients|update)(?:_\d+)?",
    re.IGNORECASE,
)
# Elements that tell where a scope runs, not what it is of: a function that JAX compiles may be called `update`.
_WRAPPER = re.compile(r"jit\(.*\)|replica_\d+|StatefulPartitionedCall\w*")


class Directions:
    """Tells directions by scope. `names` are the trace's operators: what gradients are of, among them, is forward."""

    def __init__(self, names: Iterable[str]) -> None:
        self._trained = {scope for name in names for scope in _trained(name)}

    def of(self, name: str | None) -> str | None:
        """The direction of an operator `scope/op:Type` or `scope/primitive`; None where its scope does not say."""
        if not name:
            return None
        if _BACKWARD.search(name):
            return BACKWARD
        elements = _elements(name)
        if any(map(_OPTIMIZER.fullmatch, elements)):
            return OPTIMIZER
        return FORWARD if _JAX_FORWARD.search(name) or self._trained.intersection(elements) else None


def _trained(name: str) -> list[str]:
    """The scope whose gradient this operator is part of, in TensorFlow: its first element that says anything."""
    _, found, scope = name.partition(f"{_GRADIENTS}/")
    return _elements(scope)[:1] if found else []


def _elements(name: str) -> list[str]:
    """A scope's elements, those that say nothing left out, and the operator itself."""
    scope, _, _ = name.rpartition("/")
    return [element for element in scope.split("/") if element and not _WRAPPER.fullmatch(element)]
