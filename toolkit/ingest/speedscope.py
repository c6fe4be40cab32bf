"""Importer of sampled profiles in speedscope's format, as `py-spy record --format speedscope` writes them.

Each sample is a stack and a weight in seconds, which in py-spy's is the sampling interval: how often a stack was seen,
not when. So it is no timeline: `stacks` gets each stack's frames once, with the sum of its samples, and no start.
Source of the format: the JSON schema that such files name.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct, structs

from toolkit.clock import NS_PER_S, s_to_ns
from toolkit.errors import HwprofError
from toolkit.ingest.columns import LONGEST_NS
from toolkit.ingest.inflate import blocks, head
from toolkit.ingest.json_chunks import EventArray
from toolkit.ingest.limits import SPEEDSCOPE_BYTES, STACKS
from toolkit.ingest.reading import AGAIN, WHOLE, Reading, SalvageableError
from toolkit.ingest.store import StoreWriter

T = TypeVar("T")

FORMAT = "speedscope"
HEAD_BYTES = 1 << 12
# Of samples and weights, so much is decoded at once; a sample longer than that is no stack.
PIECE_BYTES = 1 << 20
BATCH_SAMPLES = 1 << 14
BATCH_ROWS = 1 << 14
LONGEST_S = LONGEST_NS // NS_PER_S

_NAME = re.compile(r"\.speedscope\.json(\.gz)?$")
_SCHEMA = b"speedscope.app/file-format-schema.json"
_SAMPLE_ENDS = re.compile(rb"\]\s*+,")
_WEIGHT_ENDS = re.compile(rb",")
_Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Index = Annotated[int, Meta(ge=0, le=2**31)]


class Frame(Struct):
    """A function; py-spy's frames of whole threads have no file."""

    name: str
    file: str | None = None
    line: _Number | None = None


class Shared(Struct):
    """What the profiles have in common: a list of Frames."""

    frames: Raw


class Profile(Struct):
    """A thread's samples, a list of stacks, each its frames' indices from the outermost; and a list of their weights.

    The lists stay text until they are read piece by piece: as objects they would take many times the memory.
    """

    type: Literal["sampled"]
    name: str
    unit: Literal["seconds"]
    samples: Raw
    weights: Raw


_FRAMES = msgspec.json.Decoder(list[Frame])
_SAMPLES = msgspec.json.Decoder(list[list[_Index]])
_WEIGHTS = msgspec.json.Decoder(list[Decimal])


class Document(Struct):
    """The file."""

    shared: Shared
    profiles: list[Profile]


class _Row(Struct):
    """A frame in one place of the call tree, as a row of `stacks`."""

    thread: str
    frame: str
    depth: int
    recursive: bool
    samples: int = 0
    dur_ns: int = 0
    self_ns: int = 0


def matches(path: Path) -> bool:
    """Whether the name is that of speedscope's files, or the first bytes name its schema."""
    if _NAME.search(path.name):
        return True
    try:
        return _SCHEMA in head(path, HEAD_BYTES)
    except OSError:
        return False


def read(path: Path, *, trace: int, pass_name: str | None, store: StoreWriter, reading: Reading = WHOLE) -> None:
    """Appends the profiles to `traces`, `stacks` and `warnings`; `events` counts samples.

    Raises HwprofError naming the file where it is damaged, hostile, or holds other profiles than sampled ones.
    """
    intake = _Intake(STACKS.value())
    try:
        document = msgspec.json.decode(_content(path, reading), type=Document)
        frames = _frames(path, document.shared.frames)
        for profile in document.profiles:
            intake.take(profile, frames)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        problem = f"{path} cannot be read as sampled speedscope profiles: {str(error)!a:.200}."
        raise HwprofError(problem, remedy="Give what `py-spy record --format speedscope` wrote.") from error
    keys = {"trace": trace, "pass_name": pass_name}
    for first in range(0, len(intake.rows), BATCH_ROWS):
        rows = intake.rows[first : first + BATCH_ROWS]
        store.append_rows("stacks", [keys | structs.asdict(row) for row in rows])
    store.append_rows("traces", [keys | {"path": store.relative(path), "format": FORMAT, "events": intake.samples}])
    store.append_rows("warnings", [keys | warning for warning in intake.findings() if warning["count"]])


def _content(path: Path, reading: Reading) -> bytes:
    """The whole document, which is what it takes: of one that is cut off nothing can be kept."""
    parts, size, most = [], 0, SPEEDSCOPE_BYTES.value()
    try:
        for block in blocks(path, Reading(reading.came_to)):
            parts.append(block)
            size += len(block)
            if size > most:
                remedy = f"Record for a shorter time, or at a lower rate. {SPEEDSCOPE_BYTES.remedy()}"
                raise HwprofError(f"{path} holds more than {most} bytes once inflated.", remedy=remedy)
    except SalvageableError as damage:
        raise HwprofError(f"{path} {damage.what}; nothing of it can be kept.", remedy=AGAIN) from damage
    return b"".join(parts)


def _frames(path: Path, array: Raw) -> list[str]:
    frames: list[str] = []
    most = STACKS.value()
    for piece in EventArray(path, _blocks(memoryview(array)), _FRAMES.decode):
        frames += map(_text, piece)
        if len(frames) > most:
            raise HwprofError(f"{path} names more than {most} frames.", remedy=STACKS.remedy())
    return frames


def _blocks(content: memoryview) -> Iterator[bytes]:
    return (bytes(content[at : at + PIECE_BYTES]) for at in range(0, len(content), PIECE_BYTES))


def _elements(array: Raw, border: re.Pattern[bytes], decode: Callable[[bytes], list[T]]) -> Iterator[T]:
    """The elements of a list without texts, decoded in pieces, which end where `border` matches, at its comma."""
    content, at = memoryview(array)[1:-1], 0
    if memoryview(array)[0] != ord("["):
        raise ValueError("samples or weights are no list")
    while at < len(content):
        found = border.search(content, at + PIECE_BYTES)
        end = found.end() - 1 if found else len(content)
        if end - at > 2 * PIECE_BYTES:
            raise ValueError(f"a sample is longer than {PIECE_BYTES} bytes")
        yield from decode(b"".join((b"[", content[at:end], b"]")))
        at = end + 1


class _Intake:
    """Makes call trees of profiles: `rows` holds each place once."""

    def __init__(self, most_rows: int) -> None:
        self.rows: list[_Row] = []
        self.samples = self._without_frames = 0
        self._most_rows = most_rows

    def take(self, profile: Profile, frames: Sequence[str]) -> None:
        """Adds a profile's call tree. Raises ValueError where the profile contradicts itself."""
        # By the place of the frame outside of it, and its frame.
        places: dict[tuple[int, int], int] = {}
        for stack, (samples, ns) in _stacks(profile):
            self.samples += samples
            self._without_frames += 0 if stack else samples
            rows = self._rows(profile.name, stack, frames, places)
            for row in rows:
                row.samples += samples
                row.dur_ns += ns
            if rows:
                rows[-1].self_ns += ns

    def _rows(
        self, thread: str, stack: Sequence[int], frames: Sequence[str], places: dict[tuple[int, int], int]
    ) -> list[_Row]:
        """The rows of a stack's places, from the outermost."""
        place, seen, rows = -1, set(), []
        for depth, index in enumerate(stack):
            if index >= len(frames):
                raise ValueError(f"a sample names frame {index} of {len(frames)}")
            frame = frames[index]
            place = places.setdefault((place, index), len(self.rows))
            if place == len(self.rows):
                if place == self._most_rows:
                    raise ValueError(f"it holds more than {self._most_rows} different stacks ({STACKS.variable})")
                self.rows.append(_Row(thread, frame, depth, frame in seen))
            rows.append(self.rows[place])
            seen.add(frame)
        return rows

    def findings(self) -> Iterator[dict[str, Any]]:
        """Rows of `warnings`; one with a count of 0 is none."""
        message = "The samples carry weights, not moments: they say how long, not when."
        yield {"code": "no_timeline", "count": self.samples, "message": message, "untrusted": False}
        message = "The file holds no sample."
        yield {"code": "no_events", "count": int(not self.samples), "message": message, "untrusted": True}
        count = self._without_frames
        message = f"{count} samples hold no frame, so that their time is in no stack."
        yield {"code": "empty_samples", "count": count, "message": message, "untrusted": False}


def _stacks(profile: Profile) -> Iterator[tuple[tuple[int, ...], tuple[int, int]]]:
    """Different stacks, some more than once, how many samples each has, and their sum in nanoseconds."""
    samples = _elements(profile.samples, _SAMPLE_ENDS, _SAMPLES.decode)
    weights = _elements(profile.weights, _WEIGHT_ENDS, _WEIGHTS.decode)
    weighed = zip(samples, weights, strict=True)
    total_ns = 0
    while batch := list(islice(weighed, BATCH_SAMPLES)):
        counts: Counter[tuple[int, ...]] = Counter()
        sums_ns: Counter[tuple[int, ...]] = Counter()
        for sample, weight in batch:
            if not (weight.is_finite() and 0 <= weight <= LONGEST_S):
                raise ValueError("a weight is no duration")
            stack = tuple(sample)
            counts[stack] += 1
            sums_ns[stack] += s_to_ns(weight)
        total_ns += sums_ns.total()
        if total_ns > LONGEST_NS:
            raise ValueError("its weights are together longer than any program runs")
        yield from ((stack, (count, sums_ns[stack])) for stack, count in counts.items())


def _text(frame: Frame) -> str:
    if not frame.file:
        return frame.name
    return f"{frame.name} ({frame.file})" if frame.line is None else f"{frame.name} ({frame.file}:{frame.line})"
