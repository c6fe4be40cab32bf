"""Importer of XPlane traces (`*.xplane.pb`), the profiles of TensorFlow and JAX.

A file is walked twice: once by its frame, to see that it is whole and where events lie, and once to take its events. A
window of the file is in memory at a time, beside what its planes say of themselves.

The file is walked in `xplane_file`, messages are declared in `xplane_schema` and their columns cut from bytes in
`xplane_wire`, times placed by `xplane_clock`, names read by `xplane_names`, columns made in `xplane_events` and
`xplane_rows`, and the grounds for doubt kept in `xplane_trust`.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from toolkit.errors import HwprofError
from toolkit.ingest import xplane_intake
from toolkit.ingest.limits import XPLANE_BYTES
from toolkit.ingest.reading import WHOLE, Reading, SalvageableError
from toolkit.ingest.store import StoreWriter
from toolkit.ingest.xplane_clock import Clock, clock_of
from toolkit.ingest.xplane_events import Plane
from toolkit.ingest.xplane_file import LINES, PLANES, File, Span
from toolkit.ingest.xplane_hlo import hlo_of
from toolkit.ingest.xplane_intake import Line, Surveyed
from toolkit.ingest.xplane_names import METADATA_PLANE, TASK_ENVIRONMENT
from toolkit.ingest.xplane_schema import parse
from toolkit.ingest.xplane_wire import DamageError

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

    Raises HwprofError naming the file where it is damaged, too large, or no XPlane: before anything is appended, unless
    the damage is inside an event. Damage behind whole planes goes to `reading`.
    """
    with _opened(path) as opened:
        file = File(opened.fileno())
        _check_size(path, file.whole.end)
        try:
            found = _survey(file, file.whole)
        except DamageError as error:
            found = _whole_part(path, file, error, reading)
        hlo = hlo_of(message for _, (message, _) in found.planes if message.name == METADATA_PLANE)
        intake = xplane_intake.Intake(trace, pass_name, found.clock, hlo, store)
        for span, (message, lines) in found.planes:
            try:
                intake.take(file, Plane(message), lines)
            except DamageError as error:
                kept = f"events are kept up to one in the plane at byte {span.start:,} of {file.whole.end:,}"
                reading.damaged(_damage(path, error, file, span.start, kept))
                break
            reading.came_to(span.end)
    intake.finish(path, found.space.errors, found.space.warnings)


def _check_size(path: Path, size: int) -> None:
    most = XPLANE_BYTES.value()
    if size > most:
        remedy = f"Profile fewer steps. {XPLANE_BYTES.remedy()}"
        raise HwprofError(f"{path} has {size} bytes, and hwprof reads up to {most} of an XPlane.", remedy=remedy)


class Survey(NamedTuple):
    """A whole part of a file: its XSpace message without planes, those and where they lie, and its clock."""

    space: Any
    planes: list[tuple[Span, Surveyed]]
    clock: Clock


def _survey(file: File, part: Span) -> Survey:
    """What a part of the file holds; raises DamageError where it is not whole."""
    planes, own = file.split(part, PLANES)
    space, surveyed = parse("XSpace", own), [_surveyed(file, plane) for plane in planes]
    return Survey(space, list(zip(planes, surveyed, strict=True)), _clock(surveyed))


def _whole_part(path: Path, file: File, damage: DamageError, reading: Reading) -> Survey:
    """What stands before the first plane that is broken; raises HwprofError where nothing is, or it is not kept."""
    end = 0
    with suppress(DamageError):
        for _, tag, start, stop in file.fields(file.whole):
            if tag == PLANES:
                _clock([_surveyed(file, Span(start, stop))])
            end = stop
    try:
        found = _survey(file, Span(0, end))
    except DamageError:
        raise HwprofError(f"{path} is not a whole XPlane trace: {damage}.", remedy=REMEDY) from damage
    kept = f"{len(found.planes)} planes, {end:,} of {file.whole.end:,} bytes, are kept"
    reading.damaged(_damage(path, damage, file, end, kept))
    return found


def _damage(path: Path, damage: DamageError, file: File, at: int, kept: str) -> SalvageableError:
    problem = f"is not a whole XPlane trace: {damage}, in the plane that begins at byte {at} of {file.whole.end}"
    return SalvageableError(path, problem, kept=kept, remedy=REMEDY)


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
