"""What the doctor may advise: every remedy in the sources of its checks, and of what they pass on from others."""

import ast
import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from toolkit.capture import containers, cuda, doctor, engines, image_build, runs

# Where a check shows another's error, its remedy is that one's.
PASSED_ON = (engines.remedy, image_build.builder, containers.gpu_options, cuda.mismatch)
# What the folder of runs is told by is a name of its own.
NAMED = {"toolkit.capture.runs.GIVE_ANOTHER": [runs.GIVE_ANOTHER]}
ADVISED = 2
ADVISING = frozenset({"warning", "problem"})


def remedies() -> dict[str, list[str]]:
    """By the module or function that says it: each remedy as the texts between the values that stand in it."""
    modules = {inspect.getmodule(said): None for said in (*doctor.CHECKS.values(), doctor.examine)}
    found = {module.__name__: [*_of(inspect.getsource(module), whole=False)] for module in modules if module}
    passed_on = {_name(function): [*_of(inspect.getsource(function), whole=True)] for function in PASSED_ON}
    return found | passed_on | NAMED


def _name(function: Any) -> str:
    assert isinstance(inspect.unwrap(function), FunctionType)
    return f"{function.__module__}.{function.__name__}"


def _of(source: str, *, whole: bool) -> Iterator[str]:
    """Of warnings, problems and names called remedy; of a whole function also of errors, and what it returns."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=called, args=args) if len(args) > ADVISED and _names(called) & ADVISING:
                yield from _texts(args[ADVISED])
            case ast.Return(value=ast.Call(args=[_, advised])) if whole:
                yield from _texts(advised)
            case ast.keyword(arg="remedy", value=value):
                yield from _texts(value)
            case ast.Assign(targets=[ast.Name(id="remedy")], value=value):
                yield from _texts(value)
            case ast.Return(value=ast.expr() as value) if whole:
                yield from _texts(value)


def _names(called: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(called) if isinstance(node, ast.Name)}


def _texts(value: ast.expr) -> Iterator[str]:
    """The texts of a value, those of a conditional's both branches."""
    match value:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr():
            yield "…".join(each.value if isinstance(each, ast.Constant) else "" for each in value.values)
        case ast.IfExp():
            yield from _texts(value.body)
            yield from _texts(value.orelse)
        case ast.BinOp():
            yield from _texts(value.left)
            yield from _texts(value.right)
