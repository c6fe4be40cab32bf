"""Kineto's events as typed objects. Times are the decimal text that the file holds, or its whole numbers.

Fields stand in the order in which Kineto writes them: msgspec looks for each behind the one before it, which is faster.
"""

from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from toolkit.ingest.columns import UNTOLD

Int64 = Annotated[int, Meta(gt=UNTOLD, le=2**63 - 1)]
Named = int | str | None
# Microseconds: whole ones as they are, or any number's text, so that no decimal place is lost.
Us = TypeVar("Us", int, Raw)
NO_TIME: Any = Raw(b"")
NO_SHAPE = Raw(b"")


class Args(
    Struct,
    gc=False,
    rename={
        "external": "External id",
        "old_external": "external id",
        "dims": "Input Dims",
        "old_dims": "Input dims",
        "types": "Input type",
        "values": "Concrete Inputs",
    },
):
    """What the store takes of an event's arguments; capitals and spaces are Kineto's.

    ROCm writes the bytes of calls as text. Shapes, types and values of an operator's inputs stay as they are, for few
    operators are asked for them.
    """

    external: Int64 | None = UNTOLD
    old_external: Int64 | None = UNTOLD
    device: Named = None
    stream: Named = None
    correlation: Int64 | None = UNTOLD
    bytes: Int64 | str | None = UNTOLD
    dims: Raw = NO_SHAPE
    old_dims: Raw = NO_SHAPE
    types: Raw = NO_SHAPE
    values: Raw = NO_SHAPE


class Memory(
    Struct,
    gc=False,
    rename={
        "device_type": "Device Type",
        "device": "Device Id",
        "bytes": "Bytes",
        "address": "Addr",
        "allocated": "Total Allocated",
        "reserved": "Total Reserved",
    },
):
    """Arguments of a `[memory]` instant. Device type 0 is the CPU; totals count from the profiler's start."""

    device_type: Int64 | None = None
    device: Named = None
    bytes: Int64 | None = UNTOLD
    address: Int64 | None = UNTOLD
    allocated: Int64 | None = UNTOLD
    reserved: Int64 | None = UNTOLD


class Span(Struct, Generic[Us], gc=False, tag_field="ph", tag="X"):
    """An event with a duration; where it tells none, `ts` or `dur` is NO_TIME."""

    cat: str = ""
    name: str = ""
    pid: Named = None
    tid: Named = None
    ts: Us = msgspec.field(default=NO_TIME)
    dur: Us = msgspec.field(default=NO_TIME)
    args: Args | None = None


class Instant(Struct, Generic[Us], gc=False, tag_field="ph", tag="i"):
    """A moment; the allocator's are named `[memory]`."""

    name: str = ""
    pid: Named = None
    tid: Named = None
    ts: Us = msgspec.field(default=NO_TIME)
    args: Memory | None = None


class FlowStart(Struct, gc=False, tag_field="ph", tag="s"):
    """The start of an arrow; correlation and external id say the same."""


class FlowEnd(Struct, gc=False, tag_field="ph", tag="f"):
    """The end of an arrow."""


class Naming(Struct, gc=False, tag_field="ph", tag="M"):
    """Names and order of processes and threads, for viewers."""


Event = Span[int] | Span[Raw] | Instant[int] | Instant[Raw] | FlowStart | FlowEnd | Naming

_WHOLE = msgspec.json.Decoder(list[Span[int] | Instant[int] | FlowStart | FlowEnd | Naming])
_EXACT = msgspec.json.Decoder(list[Span[Raw] | Instant[Raw] | FlowStart | FlowEnd | Naming])
_LOOSE = msgspec.json.Decoder(list[dict[str, Raw]])
_LOOSE_ARGS = msgspec.json.Decoder(dict[str, Raw])
_SALVAGED: dict[bytes, tuple[Any, type[Args | Memory]]] = {
    b'"X"': (Span[Raw], Args),
    b'"i"': (Instant[Raw], Memory),
}
_UNREAD = FlowStart()


class EventDecoder:
    """Decodes arrays of events; as text times take twice as long to use, so only from the first that is no integer on.

    An array with an event that does not fit the types above is read field by field: what fits is kept.
    """

    def __init__(self) -> None:
        self._decoder: msgspec.json.Decoder[Any] = _WHOLE

    def __call__(self, text: bytes) -> tuple[list[Event], int]:
        """Events, and how many lost a field; raises msgspec.DecodeError where the text is no JSON array of objects."""
        for decoder in dict.fromkeys((self._decoder, _EXACT)):
            try:
                return decoder.decode(text), 0
            except msgspec.ValidationError:
                self._decoder = _EXACT
        salvaged = [_salvaged(fields) for fields in _LOOSE.decode(text)]
        return [event for event, _ in salvaged], sum(not whole for _, whole in salvaged)


def _salvaged(fields: dict[str, Raw]) -> tuple[Event, bool]:
    """What fits of an event, and whether all did."""
    kind, kind_of_args = _SALVAGED.get(bytes(fields.get("ph", b"")), (None, Args))
    if kind is None:
        return _UNREAD, "ph" in fields
    known, whole = _fitting(kind, fields)
    if "args" not in known and "args" in fields:
        known["args"] = _salvaged_args(kind_of_args, fields["args"])
    return kind(**known), whole


def _fitting(kind: Any, fields: dict[str, Raw]) -> tuple[dict[str, Any], bool]:
    """The fields that fit the types of `kind`, a Struct, by attribute, and whether all did."""
    known, whole = {}, True
    for field in msgspec.structs.fields(kind):
        if field.encode_name in fields:
            try:
                known[field.name] = msgspec.json.decode(fields[field.encode_name], type=field.type)
            except msgspec.ValidationError:
                whole = False
    return known, whole


def _salvaged_args(kind: type[Args | Memory], text: Raw) -> Args | Memory | None:
    try:
        return kind(**_fitting(kind, _LOOSE_ARGS.decode(text))[0])
    except msgspec.ValidationError:
        return None
