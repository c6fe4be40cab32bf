"""Importer of JAX's device memory profiles (`jax.profiler.save_device_memory_profile`): what is alive, by Python stack.

A profile is a message of pprof (github.com/google/pprof, proto/profile.proto), whose fields are declared here. It has
no moment, and no history: each sample is a stack with how many buffers of it are alive on a device, and their bytes.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from toolkit.errors import HwprofError
from toolkit.ingest.inflate import blocks, head
from toolkit.ingest.limits import PPROF_BYTES
from toolkit.ingest.reading import AGAIN, WHOLE, Reading, SalvageableError
from toolkit.ingest.snapshot_frames import LOOKED_AT, user_frame
from toolkit.ingest.store import StoreWriter

FORMAT = "jax_memory_profile"
# (count, bytes): what JAX says that a sample's values are, as the file's first two fields
HEAD = b"\n\x04\x08\x01\x10\x02\n\x04\x08\x03\x10\x04\x12"
VALUES = [("allocations", "count"), ("space", "bytes")]
COMPILED = "compiled code"
MOST_BYTES = 2**62
BATCH_ROWS = 1 << 14

_PACKAGE = "hwprof.pprof"
_NAME = re.compile(r"memory\w*\.prof$")
_FIELD = descriptor_pb2.FieldDescriptorProto
# Message -> field -> (number, type); `[]` stands for a repeated field.
_MESSAGES = {
    "ValueType": {"type": (1, "int64"), "unit": (2, "int64")},
    "Label": {"key": (1, "int64"), "str": (2, "int64")},
    "Sample": {"location_id": (1, "uint64[]"), "value": (2, "int64[]"), "label": (3, "Label[]")},
    "Line": {"function_id": (1, "uint64"), "line": (2, "int64")},
    "Location": {"id": (1, "uint64"), "line": (4, "Line[]")},
    "Function": {"id": (1, "uint64"), "name": (2, "int64"), "filename": (4, "int64")},
    "Profile": {
        "sample_type": (1, "ValueType[]"), "sample": (2, "Sample[]"), "location": (4, "Location[]"),
        "function": (5, "Function[]"), "string_table": (6, "string[]"),
    },
}  # fmt: skip


def _profile_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="hwprof/pprof.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, (number, type_) in fields.items():
            single = type_.removesuffix("[]")
            field = declared.field.add(name=name, number=number)
            field.label = _FIELD.LABEL_OPTIONAL if single == type_ else _FIELD.LABEL_REPEATED
            field.type = getattr(_FIELD, f"TYPE_{single.upper()}", _FIELD.TYPE_MESSAGE)
            if single in _MESSAGES:
                field.type_name = f".{_PACKAGE}.{single}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Profile"))


Profile = _profile_class()


def matches(path: Path) -> bool:
    """Whether the name is that of a memory profile, or the first bytes are how JAX's begin."""
    if _NAME.search(path.name):
        return True
    try:
        return head(path, len(HEAD)) == HEAD
    except OSError:
        return False


def read(path: Path, *, trace: int, pass_name: str | None, store: StoreWriter, reading: Reading = WHOLE) -> None:
    """Appends the profile to `traces` and `blocks`; `events` counts samples.

    Raises HwprofError naming the file where it is damaged, or no memory profile of JAX's.
    """
    keys = {"trace": trace, "pass_name": pass_name}
    try:
        profile = Profile.FromString(_content(path, reading))
        rows = _rows(profile)
        while batch := list(islice(rows, BATCH_ROWS)):
            store.append_rows("blocks", [keys | row for row in batch])
    except (DecodeError, ValueError, IndexError, KeyError) as error:
        problem = f"{path} is no memory profile of JAX's: {str(error)!a:.200}."
        raise HwprofError(problem, remedy="Give what jax.profiler.save_device_memory_profile wrote.") from error
    row = {"path": store.relative(path), "format": FORMAT, "events": len(profile.sample)}
    store.append_rows("traces", [keys | row])


def _content(path: Path, reading: Reading) -> bytes:
    """The whole message, which is what it takes: of one that is cut off nothing can be kept."""
    parts, size, most = [], 0, PPROF_BYTES.value()
    try:
        for block in blocks(path, Reading(reading.came_to)):
            parts.append(block)
            size += len(block)
            if size > most:
                raise HwprofError(f"{path} holds more than {most} bytes once inflated.", remedy=PPROF_BYTES.remedy())
    except SalvageableError as damage:
        raise HwprofError(f"{path} {damage.what}; nothing of it can be kept.", remedy=AGAIN) from damage
    return b"".join(parts)


def _rows(profile: Any) -> Iterator[dict[str, Any]]:
    """A row of `blocks` for each sample that holds memory. Raises where numbers lead nowhere."""
    texts = profile.string_table
    if [(texts[each.type], texts[each.unit]) for each in profile.sample_type] != VALUES:
        raise ValueError("its values are not counts and bytes of allocations")
    functions = {each.id: each for each in profile.function}
    locations = {each.id: each.line for each in profile.location}
    for sample in profile.sample:
        count, size = sample.value
        if not (0 <= count <= MOST_BYTES and 0 <= size <= MOST_BYTES):
            raise ValueError(f"a sample counts {count} buffers of {size} bytes")
        labels = {texts[label.key]: texts[label.str] for label in sample.label}
        if size:
            lines = chain.from_iterable(locations[location] for location in sample.location_id)
            stack = [_frame(line, functions, texts) for line in islice(lines, LOOKED_AT)]
            buffer = labels.get("kind") == "buffer"
            yield {
                "device": _device(labels.get("device")),
                "bytes": size,
                "frame": user_frame(stack) if buffer else COMPILED,
                "count": count,
            }


def _frame(line: Any, functions: dict[int, Any], texts: Sequence[str]) -> dict[str, Any]:
    """As user_frame takes it."""
    function = functions[line.function_id]
    return {"name": texts[function.name], "filename": texts[function.filename], "line": line.line}


def _device(label: str | None) -> str | None:
    """`cpu`, or the number of the GPU; None where not told."""
    platform, _, number = (label or "").partition(":")
    return "cpu" if platform == "cpu" else number or None
