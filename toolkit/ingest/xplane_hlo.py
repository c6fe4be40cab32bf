"""Scopes of XLA's instructions, which a trace tells only within the compiled modules that it carries.

On a CPU, and on GPUs for what XLA did not annotate, an event names its instruction and its program; the framework's own
name for it, `jit(step)/transpose(jvp(dense))/dot_general`, stands in the module's HLO, in the plane `/host:metadata`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from toolkit.ingest.xplane_schema import parse
from toolkit.ingest.xplane_wire import DamageError

# By program and instruction.
Scopes = dict[tuple[int, str], str]

_NUMBERED = re.compile(r"\((\d{1,19})\)$")
_PROTO_STATS = frozenset({"hlo proto", "hlo_proto"})


class Hlo(NamedTuple):
    """What modules tell: the framework's name for each instruction, and how many of them cannot be read."""

    scopes: Scopes
    unreadable: int


def hlo_of(planes: Iterable[Any]) -> Hlo:
    """What the modules in these planes, XPlane messages, tell."""
    scopes: Scopes = {}
    unreadable = 0
    for plane in planes:
        stats = {entry.key for entry in plane.stat_metadata if entry.value.name.lower() in _PROTO_STATS}
        for entry in plane.event_metadata:
            modules = [stat.bytes_value for stat in entry.value.stats if stat.metadata_id in stats]
            try:
                scopes.update(item for module in modules for item in _instructions(_program(entry), module))
            except DamageError:
                unreadable += 1
    return Hlo(scopes, unreadable)


def _program(entry: Any) -> int:
    """A module's number: the one behind its name, in older files the entry's own."""
    found = _NUMBERED.search(entry.value.name)
    return int(found[1]) if found else int(entry.key)


def _instructions(program: int, module: bytes) -> Iterator[tuple[tuple[int, str], str]]:
    for computation in parse("HloProto", module).hlo_module.computations:
        for instruction in computation.instructions:
            if instruction.metadata.op_name:
                yield (program, instruction.name), instruction.metadata.op_name
