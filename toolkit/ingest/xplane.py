"""Importer of XPlane traces (`*.xplane.pb`), the profiles of TensorFlow and JAX.

A file is walked twice: once by its frame, to see that it is whole and where events lie, and once to take its events. A
window of the file is in memory at a time, beside what its planes say of themselves.

The file is walked in `xplane_file`, messages are declared in `xplane_schema` and their columns cut from bytes in
`xplane_wire`, times placed by `xplane_clock`, names read by `xplane_names`, columns made in `xplane_events` and
`xplane_rows`, and the grounds for doubt kept in `xplane_trust`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from toolkit.errors import HwprofError
from toolkit.ingest import xplane_intake
from toolkit.ingest.store import StoreWriter
from toolkit.ingest.xplane_clock import Clock, clock_of
from toolkit.ingest.xplane_events import Plane
from toolkit.ingest.xplane_file import LINES, PLANES, File, Span
from toolkit.ingest.xplane_intake import Line, Surveyed
from toolkit.ingest.xplane_names import TASK_ENVIRONMENT
from toolkit.ingest.xplane_schema import parse
from toolkit.ingest.xplane_wire import DamageError

FORMAT = xplane_intake.FORMAT
# Traces come from strangers, and what planes say of themselves is held in memory.
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

    Raises HwprofError naming the file where it is damaged, too large, or no XPlane: before anything is appended, unless
    the damage is inside an event.
    """
    try:
        with _opened(path) as opened:
            file = File(opened.fileno())
            if file.whole.end > MAX_FILE_BYTES:
                remedy = f"hwprof reads up to {MAX_FILE_BYTES} bytes: profile fewer steps."
                raise HwprofError(f"{path} has {file.whole.end} bytes.", remedy=remedy)
            planes, own = file.split(file.whole, PLANES)
            space, surveyed = parse("XSpace", own), [_surveyed(file, plane) for plane in planes]
            intake = xplane_intake.Intake(trace, pass_name, _clock(surveyed), store)
            for message, lines in surveyed:
                intake.take(file, Plane(message), lines)
    except DamageError as error:
        remedy = "Fetch it anew, or profile again."
        raise HwprofError(f"{path} is not a whole XPlane trace: {error}.", remedy=remedy) from error
    intake.finish(path, space.errors, space.warnings)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Give a readable file.") from error


def _surveyed(file: File, plane: Span) -> Surveyed:
    lines, own = file.split(plane, LINES)
    message = parse("XPlane", own)
    return Surveyed(message, [Line(parse("XLine", own), windows) for own, windows in map(file.line, lines)])


def _clock(planes: Sequence[Surveyed]) -> Clock:
    """The trace's clock; raises DamageError where a time is none, or no plane has a name."""
    if not any(message.name for message, _ in planes):
        raise DamageError("it holds no plane with a name")
    starts = (Plane(message).integer("profile_start_time") for message, _ in planes if message.name == TASK_ENVIRONMENT)
    start_ns = next((start for start in starts if start), None)
    return clock_of(start_ns, [line.message.timestamp_ns for _, lines in planes for line in lines])
