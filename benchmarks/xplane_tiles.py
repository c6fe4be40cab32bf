"""Large XPlane traces made of a small one: its events again and again, each copy moved in time and correlations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.ingest.xplane_schema import message_class, parse

CORRELATION = "correlation_id"
PAUSE_PS = 10**6


def tile(trace: Path, to: Path, size: int) -> tuple[int, int]:
    """Writes the trace with as many copies of its events as make `size` bytes or more; (copies, events)."""
    space = parse("XSpace", trace.read_bytes())
    planes = [parse("XPlane", plane) for plane in space.planes]
    lines = [line for plane in planes for line in plane.lines]
    copies = 1 + max(0, -(-(size - trace.stat().st_size) // sum(map(len, lines))))
    step_ps = PAUSE_PS + max(e.offset_ps + e.duration_ps for line in lines for e in _events(line).events)
    ids = 1 + max((stat.uint64_value for plane in planes for stat in _correlations(plane)), default=0)
    for plane in planes:
        tiled = [line + b"".join(_copies(line, copies, step_ps, ids, _correlation_id(plane))) for line in plane.lines]
        del plane.lines[:]
        plane.lines.extend(tiled)
    del space.planes[:]
    space.planes.extend(plane.SerializeToString() for plane in planes)
    to.write_bytes(space.SerializeToString())
    return copies, copies * sum(len(_events(line).events) for line in lines)


def _copies(line: bytes, copies: int, step_ps: int, ids: int, correlation: int | None) -> Iterator[bytes]:
    """The line's events once more and once more, as the rest of a line: messages that are appended are merged."""
    content = _events(line)
    stats = [stat for event in content.events for stat in event.stats if stat.metadata_id == correlation]
    for _ in range(1, copies):
        for event in content.events:
            event.offset_ps += step_ps
        for stat in stats:
            stat.uint64_value += ids
        serialized: bytes = content.SerializeToString()
        yield serialized


def _events(line: bytes) -> Any:
    return message_class("XEvents")(events=[parse("XEvent", event) for event in parse("XLine", line).events])


def _correlation_id(plane: Any) -> int | None:
    return next((entry.key for entry in plane.stat_metadata if entry.value.name == CORRELATION), None)


def _correlations(plane: Any) -> Iterator[Any]:
    wanted = _correlation_id(plane)
    for line in plane.lines:
        for event in _events(line).events:
            yield from (stat for stat in event.stats if stat.metadata_id == wanted)
