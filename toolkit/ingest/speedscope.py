"""Importer of sampled profiles in speedscope's format, as `py-spy record --format speedscope` writes them.

Each sample is a stack and a weight in seconds, which in py-spy's is the sampling interval: how often a stack was seen,
not when. So it is no timeline: `stacks` gets each stack's frames once, with the sum of its samples, and no start.
Source of the format: the JSON schema that such files name.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, structs

from toolkit.clock import NS_PER_S, s_to_ns
from toolkit.errors import HwprofError
from toolkit.ingest.columns import LONGEST_NS
from toolkit.ingest.inflate import blocks
from toolkit.ingest.store import StoreWriter

FORMAT = "speedscope"
HEAD_BYTES = 1 << 12
# The document is decoded as a whole, each of its bytes into some 20 of memory at worst.
MAX_BYTES = 1 << 27
# Frames of different stacks; a program has thousands.
MAX_ROWS = 1 << 22
LONGEST_S = LONGEST_NS // NS_PER_S

_NAME = re.compile(r"\.speedscope\.json(\.gz)?$")
_SCHEMA = b"speedscope.app/file-format-schema.json"
_Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Index = Annotated[int, Meta(ge=0, le=2**31)]


class Frame(Struct):
    """A function; py-spy's frames of whole threads have no file."""

    name: str
    file: str | None = None
    line: _Number | None = None


class Shared(Struct):
    """What the profiles have in common."""

    frames: list[Frame]


class Profile(Struct):
    """A thread's samples, each a stack from its outermost frame, by index, and as many weights."""

    type: Literal["sampled"]
    name: str
    unit: Literal["seconds"]
    samples: list[list[_Index]]
    weights: list[Decimal]


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
        return _SCHEMA in next(blocks(path), b"")[:HEAD_BYTES]
    except HwprofError:
        return False


def read(path: Path, *, trace: int, pass_name: str | None, store: StoreWriter) -> None:
    """Appends the profiles to `traces`, `stacks` and `warnings`; `events` counts samples.

    Raises HwprofError naming the file where it is damaged, hostile, or holds other profiles than sampled ones.
    """
    try:
        document = msgspec.json.decode(_content(path), type=Document)
        frames = [_text(frame) for frame in document.shared.frames]
        rows: list[_Row] = []
        for profile in document.profiles:
            rows += _tree(profile, frames, at_most=MAX_ROWS - len(rows))
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        problem = f"{path} cannot be read as sampled speedscope profiles: {str(error)!a:.200}."
        raise HwprofError(problem, remedy="Give what `py-spy record --format speedscope` wrote.") from error
    keys = {"trace": trace, "pass_name": pass_name}
    store.append_rows("stacks", [keys | structs.asdict(row) for row in rows])
    samples = [sample for profile in document.profiles for sample in profile.samples]
    store.append_rows("traces", [keys | {"path": store.relative(path), "format": FORMAT, "events": len(samples)}])
    warnings = _findings(len(samples), without_frames=samples.count([]))
    store.append_rows("warnings", [keys | warning for warning in warnings if warning["count"]])


def _content(path: Path) -> bytes:
    parts, size = [], 0
    for block in blocks(path):
        parts.append(block)
        size += len(block)
        if size > MAX_BYTES:
            remedy = "Record for a shorter time, or at a lower rate."
            raise HwprofError(f"{path} holds more than {MAX_BYTES} bytes once inflated.", remedy=remedy)
    return b"".join(parts)


def _tree(profile: Profile, frames: Sequence[str], *, at_most: int) -> list[_Row]:
    """The profile's call tree, each place once. Raises ValueError where the profile contradicts itself."""
    rows: dict[tuple[int, int], _Row] = {}
    places: dict[tuple[int, int], int] = {}
    for stack, (samples, ns) in _stacks(profile).items():
        place, seen = -1, set()
        for depth, index in enumerate(stack):
            if index >= len(frames):
                raise ValueError(f"a sample names frame {index} of {len(frames)}")
            frame, key = frames[index], (place, index)
            place = places.setdefault(key, len(places))
            if place >= at_most:
                raise ValueError(f"it holds more than {MAX_ROWS} different stacks")
            row = rows.setdefault(key, _Row(profile.name, frame, depth, frame in seen))
            row.samples += samples
            row.dur_ns += ns
            seen.add(frame)
        if stack:
            row.self_ns += ns
    return list(rows.values())


def _stacks(profile: Profile) -> dict[tuple[int, ...], tuple[int, int]]:
    """How many samples each stack has, and their sum in nanoseconds."""
    if len(profile.samples) != len(profile.weights):
        raise ValueError(f"it holds {len(profile.samples)} samples and {len(profile.weights)} weights")
    counts: Counter[tuple[int, ...]] = Counter()
    sums_ns: Counter[tuple[int, ...]] = Counter()
    for sample, weight in zip(map(tuple, profile.samples), profile.weights, strict=True):
        if not (weight.is_finite() and 0 <= weight <= LONGEST_S):
            raise ValueError("a weight is no duration")
        counts[sample] += 1
        sums_ns[sample] += s_to_ns(weight)
    if sums_ns.total() > LONGEST_NS:
        raise ValueError("its weights are together longer than any program runs")
    return {stack: (count, sums_ns[stack]) for stack, count in counts.items()}


def _text(frame: Frame) -> str:
    if not frame.file:
        return frame.name
    return f"{frame.name} ({frame.file})" if frame.line is None else f"{frame.name} ({frame.file}:{frame.line})"


def _findings(samples: int, *, without_frames: int) -> Iterator[dict[str, Any]]:
    """Rows of `warnings`; one with a count of 0 is none."""
    message = "The samples carry weights, not moments: they say how long, not when."
    yield {"code": "no_timeline", "count": samples, "message": message, "untrusted": False}
    message = "The file holds no sample."
    yield {"code": "no_events", "count": int(not samples), "message": message, "untrusted": True}
    message = f"{without_frames} samples hold no frame, so that their time is in no stack."
    yield {"code": "empty_samples", "count": without_frames, "message": message, "untrusted": False}
