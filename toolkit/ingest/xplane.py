"""Importer of XPlane traces (`*.xplane.pb`), the profiles of TensorFlow and JAX.

A file is parsed twice: once to see that every message in it is whole, so that nothing of a damaged file reaches the
store, and once to take its events. Beside the file's own bytes, one line's events are in memory at a time.

The messages are declared in `xplane_schema`, times placed by `xplane_clock`, names read by `xplane_names`, columns made
in `xplane_events` and `xplane_rows`, and the grounds for doubt kept in `xplane_trust`.
"""

from collections.abc import Iterable
from pathlib import Path

from toolkit.errors import HwprofError
from toolkit.ingest import xplane_intake
from toolkit.ingest.store import StoreWriter
from toolkit.ingest.xplane_clock import Clock, clock_of
from toolkit.ingest.xplane_events import BATCH_EVENTS, Plane
from toolkit.ingest.xplane_names import TASK_ENVIRONMENT
from toolkit.ingest.xplane_schema import message_class, parse

FORMAT = xplane_intake.FORMAT
# Traces come from strangers, and a line's events take many times their bytes in the file while they are read.
MAX_FILE_BYTES = 1 << 29
HEAD_BYTES = 256

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


def read(path: Path, *, trace: int, pass_name: str | None, store: StoreWriter) -> None:
    """Appends the trace to `traces`, `lines`, `slices`, `allocations` and `warnings`; epoch, step and phase stay NULL.

    Raises HwprofError naming the file, before anything is appended, where it is damaged, too large, or no XPlane.
    """
    try:
        space = parse("XSpace", _content(path))
        clock = _checked(space.planes)
    except ValueError as error:
        remedy = "Fetch it anew, or profile again."
        raise HwprofError(f"{path} is not a whole XPlane trace: {error}.", remedy=remedy) from error
    intake = xplane_intake.Intake(trace, pass_name, clock, store)
    for plane in space.planes:
        intake.take(parse("XPlane", plane))
    intake.finish(path, space.errors, space.warnings)


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size <= MAX_FILE_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Give a readable file.") from error
    remedy = f"hwprof reads up to {MAX_FILE_BYTES} bytes: profile fewer steps."
    raise HwprofError(f"{path} has {size} bytes.", remedy=remedy)


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
