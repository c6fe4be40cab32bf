"""Importer of XPlane traces (`*.xplane.pb`), the profiles of TensorFlow and JAX.

A file is parsed twice: once to see that every message in it is whole, so that nothing of a damaged file reaches the
store, and once to take its events. Beside the file's own bytes, one line's events are in memory at a time.

The messages are declared in `xplane_schema`, times placed by `xplane_clock`, names read by `xplane_names`, columns made
in `xplane_events` and `xplane_rows`, and the grounds for doubt kept in `xplane_trust`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.errors import HwprofError
from toolkit.ingest import xplane_intake, xplane_parts
from toolkit.ingest.limits import XPLANE_BYTES
from toolkit.ingest.reading import WHOLE, DamageError, Reading
from toolkit.ingest.store import StoreWriter
from toolkit.ingest.xplane_clock import Clock, clock_of
from toolkit.ingest.xplane_events import BATCH_EVENTS, Plane
from toolkit.ingest.xplane_names import TASK_ENVIRONMENT
from toolkit.ingest.xplane_schema import message_class, parse

FORMAT = xplane_intake.FORMAT
HEAD_BYTES = 256
REMEDY = "Fetch it anew, or profile again."

_SUFFIX = ".xplane.pb"
# The tag of a space's first plane, and how the planes are named that profilers put first.
_PLANE_TAG = b"\x0a"
_PLANE_NAMES = (b"/host:", b"/device:", TASK_ENVIRONMENT.encode())


def matches(path: Path) -> bool:
    """Whether the name is an XPlane's, or the first bytes begin a plane with a name that profilers give."""
    if path.name.endswith(_SUFFIX):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return head.startswith(_PLANE_TAG) and any(name in head for name in _PLANE_NAMES)


def read(path: Path, *, trace: int, pass_name: str | None, store: StoreWriter, reading: Reading = WHOLE) -> None:
    """Appends the trace to `traces`, `lines`, `slices`, `allocations` and `warnings`; epoch, step and phase stay NULL.

    Raises HwprofError naming the file, before anything is appended, where it is damaged, too large, or no XPlane;
    damage behind whole planes goes to `reading`.
    """
    content = _content(path)
    try:
        space = parse("XSpace", content)
        clock = _checked(space.planes)
    except ValueError as error:
        space, clock = _whole_planes(path, content, str(error), reading)
    intake = xplane_intake.Intake(trace, pass_name, clock, store)
    for plane in space.planes:
        intake.take(parse("XPlane", plane))
    intake.finish(path, space.errors, space.warnings)


def _whole_planes(path: Path, content: bytes, problem: str, reading: Reading) -> tuple[Any, Clock]:
    """The space before its damage; raises HwprofError where nothing is, or where `reading` does not keep that."""
    kept = end = 0
    try:
        for part in xplane_parts.parts(content):
            parse("XSpace", content[end : part.end])
            if part.tag == xplane_parts.PLANE:
                _checked([part.content])
                kept += 1
            end = part.end
    except ValueError:
        pass  # the first plane that is broken: what comes before it is what there is
    problem = f"is not a whole XPlane trace: {problem}"
    if not kept:
        raise HwprofError(f"{path} {problem}.", remedy=REMEDY)
    problem += f"; it is damaged in the plane that begins at byte {end} of {len(content)}"
    told = f"{kept} planes, {end:,} of {len(content):,} bytes, are kept"
    reading.damaged(DamageError(path, problem, kept=told, remedy=REMEDY))
    space = parse("XSpace", content[:end])
    return space, _checked(space.planes)


def _content(path: Path) -> bytes:
    most = XPLANE_BYTES.value()
    try:
        size = path.stat().st_size
        if size <= most:
            return path.read_bytes()
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Give a readable file.") from error
    remedy = f"Profile fewer steps. {XPLANE_BYTES.remedy()}"
    raise HwprofError(f"{path} has {size} bytes, and hwprof reads up to {most} of an XPlane.", remedy=remedy)


def _checked(planes: Iterable[bytes]) -> Clock:
    """Parses everything once and keeps the clock; raises ValueError where a message is broken or a time is none."""
    start_ns, timestamps_ns, named = None, [], False
    for content in planes:
        message = parse("XPlane", content)
        named = named or bool(message.name)
        timestamps_ns += [_checked_line(line) for line in message.lines]
        if message.name == TASK_ENVIRONMENT:
            start_ns = Plane(message).integer("profile_start_time") or start_ns
    if not named:
        raise ValueError("it holds no plane with a name")
    return clock_of(start_ns, timestamps_ns)


def _checked_line(content: bytes) -> int:
    """Parses a line and all its events; gives its `timestamp_ns`."""
    line = parse("XLine", content)
    for first in range(0, len(line.events), BATCH_EVENTS):
        batch = message_class("XLine")(events=line.events[first : first + BATCH_EVENTS])
        parse("XEvents", batch.SerializeToString())
    timestamp_ns: int = line.timestamp_ns
    return timestamp_ns
