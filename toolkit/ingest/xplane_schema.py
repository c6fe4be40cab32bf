"""The XPlane messages, declared in a descriptor pool of their own, so that no framework has to be there to read them.

Names, numbers and types are those of the public definition, tsl/profiler/protobuf/xplane.proto. Two things are declared
as they lie on the wire rather than as the definition reads them: planes, lines and events are bytes, so that a reader
holds one batch of events at a time, and maps are repeated entries.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from toolkit.ingest import xplane_wire

_PACKAGE = "hwprof.xplane"
_SCALARS = {
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
}

# Message -> field -> (number, type); `[]` after a type stands for a repeated field.
MESSAGES = {
    "XSpace": {"planes": (1, "bytes[]"), "errors": (2, "string[]"), "warnings": (3, "string[]")},
    "XPlane": {
        "id": (1, "int64"),
        "name": (2, "string"),
        "lines": (3, "bytes[]"),
        "event_metadata": (4, "EventMetadataEntry[]"),
        "stat_metadata": (5, "StatMetadataEntry[]"),
        "stats": (6, "XStat[]"),
    },
    "EventMetadataEntry": {"key": (1, "int64"), "value": (2, "XEventMetadata")},
    "StatMetadataEntry": {"key": (1, "int64"), "value": (2, "XStatMetadata")},
    "XLine": {
        "id": (1, "int64"),
        "display_id": (10, "int64"),
        "name": (2, "string"),
        "display_name": (11, "string"),
        "timestamp_ns": (3, "int64"),
        "duration_ps": (9, "int64"),
        "events": (4, "bytes[]"),
    },
    # A line of nothing but events, as messages.
    "XEvents": {"events": (4, "XEvent[]")},
    "XEvent": {
        "metadata_id": (1, "int64"),
        "offset_ps": (2, "int64"),
        "num_occurrences": (5, "int64"),
        "duration_ps": (3, "int64"),
        "stats": (4, "XStat[]"),
    },
    "XStat": {
        "metadata_id": (1, "int64"),
        "double_value": (2, "double"),
        "uint64_value": (3, "uint64"),
        "int64_value": (4, "int64"),
        "str_value": (5, "string"),
        "bytes_value": (6, "bytes"),
        "ref_value": (7, "uint64"),
    },
    "XEventMetadata": {
        "id": (1, "int64"),
        "name": (2, "string"),
        "display_name": (4, "string"),
        "metadata": (3, "bytes"),
        "stats": (5, "XStat[]"),
        "child_id": (6, "int64[]"),
    },
    "XStatMetadata": {"id": (1, "int64"), "name": (2, "string"), "description": (3, "string")},
    # Of XLA's compiled modules (xla/service/hlo.proto), what names instructions.
    "HloProto": {"hlo_module": (1, "HloModule")},
    "HloModule": {"computations": (3, "HloComputation[]")},
    "HloComputation": {"instructions": (2, "HloInstruction[]")},
    "HloInstruction": {"name": (1, "string"), "metadata": (7, "OpMetadata")},
    "OpMetadata": {"op_name": (2, "string")},
}
# Of these fields a message has one, also where its value is 0.
ONE_OF = {"XStat": {name for name in MESSAGES["XStat"] if name.endswith("_value")}}


def _declared() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="hwprof/xplane.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, (number, type_) in fields.items():
            _declare_field(declared.field.add(name=name, number=number), type_)
            if name in ONE_OF.get(message, ()):
                declared.field[-1].oneof_index = 0
        if message in ONE_OF:
            declared.oneof_decl.add(name="value")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _declare_field(field: descriptor_pb2.FieldDescriptorProto, type_: str) -> None:
    single = type_.removesuffix("[]")
    field.label = field.LABEL_OPTIONAL if single == type_ else field.LABEL_REPEATED
    if single in _SCALARS:
        field.type = _SCALARS[single]
    else:
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{single}"


_POOL = _declared()


def parse(message: str, data: bytes) -> Any:
    """One message of `MESSAGES` from its bytes; raises DamageError where they are not one."""
    try:
        return message_class(message).FromString(data)
    except DecodeError as error:
        raise xplane_wire.DamageError(str(error)) from error


def message_class(message: str) -> Any:
    """The class of one message of `MESSAGES`, to parse or to write with."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{message}"))


def tags_of(message: str) -> dict[str, int]:
    """The tags, as `xplane_wire` gives them, of a message's fields by name."""
    wires = {"int64": xplane_wire.VARINT, "uint64": xplane_wire.VARINT, "double": xplane_wire.FIXED64}
    return {
        name: number * 8 + wires.get(type_, xplane_wire.BYTES) for name, (number, type_) in MESSAGES[message].items()
    }
