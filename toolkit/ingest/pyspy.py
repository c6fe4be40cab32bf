"""Importer of py-spy's Chrome traces (`py-spy record --format chrometrace`), a timeline of each thread's frames.

py-spy opens a frame at the first sample that holds it and closes it at the next sample of the thread that does not, so
what is shorter than the sampling interval is not seen. Times count from py-spy's launch and have no date.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, compress
from pathlib import Path
from sys import getsizeof
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from toolkit.errors import HwprofError
from toolkit.ingest.columns import LATEST_NS, ns_of_us, on_axis
from toolkit.ingest.inflate import blocks, head
from toolkit.ingest.json_chunks import EventArray
from toolkit.ingest.limits import OPEN_BYTES, OPEN_FRAMES
from toolkit.ingest.reading import WHOLE, Reading
from toolkit.ingest.store import StoreWriter

FORMAT = "pyspy_chrometrace"
HEAD_BYTES = 1 << 16

# The name in a run's raw folder; elsewhere the category tells, which is py-spy's own.
_NAME = re.compile(r"^pyspy\.json(\.gz)?$")
_CATEGORY = re.compile(rb'"cat"\s*:\s*"py-spy"')
_BEGIN, _END = "B", "E"
_LEFT_OUT = {
    "unclosed_frames": "{} frames begin and do not end; their durations are unknown.",
    "unopened_frames": "{} frames end that did not begin, and are left out.",
    "unusable_start": "{} events tell no usable moment and are left out.",
    "out_of_order": "{} events are earlier than the one before on their thread and are left out.",
}

_Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Args(Struct):
    """Where the function stands."""

    filename: str | None = None
    line: _Number | None = None


class Event(Struct):
    """The beginning (B) or end (E) of a frame; events of other phases are none of py-spy's."""

    ph: str
    ts: Raw = Raw(b"")
    pid: _Number | str | None = None
    tid: _Number | str | None = None
    name: str = ""
    args: Args | None = None


class _Closed(NamedTuple):
    """A frame that has ended, as a row of `stacks`."""

    thread: str
    ts_ns: int
    dur_ns: int | None
    self_ns: int | None
    depth: int
    frame: str
    recursive: bool


class _Open(Struct):
    """A frame that has begun. `inner_ns`: in frames called from it and ended; None where one has no known duration."""

    ts_ns: int
    frame: str
    recursive: bool
    inner_ns: int | None = 0


def matches(path: Path) -> bool:
    """Whether the name is that of a run's own, or the first bytes are JSON with an event of py-spy's category."""
    if _NAME.search(path.name):
        return True
    try:
        content = head(path, HEAD_BYTES)
    except OSError:
        return False
    return content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")) and bool(_CATEGORY.search(content))


def read(path: Path, *, trace: int, pass_name: str | None, store: StoreWriter, reading: Reading = WHOLE) -> None:
    """Appends the trace to `traces`, `stacks` and `warnings`.

    Raises HwprofError naming the file where it is damaged, hostile, or no trace of py-spy.
    """
    intake = _Intake(path)
    keys = {"trace": trace, "pass_name": pass_name}
    array = EventArray(path, blocks(path, reading), msgspec.json.Decoder(list[Event]).decode, reading)
    for events in chain(array, [None]):
        closed = intake.close_all() if events is None else intake.take(events)
        store.append_rows("stacks", [keys | frame._asdict() for frame in closed])
    if intake.events and not intake.begun_or_ended:
        problem = f"{path} holds {intake.events} events, but none that py-spy writes."
        raise HwprofError(problem, remedy="Give what `py-spy record --format chrometrace` wrote.")
    row = {"path": store.relative(path), "format": FORMAT, "events": intake.events}
    store.append_rows("traces", [keys | row])
    store.append_rows("warnings", [keys | finding for finding in intake.findings() if finding["count"]])


class _Thread:
    """The frames open on one thread, outermost first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.open: list[_Open] = []
        self.frames: Counter[str] = Counter()
        self.last_ns = -LATEST_NS

    def begin(self, ts_ns: int, frame: str) -> None:
        """Opens a frame inside those that are open."""
        self.open.append(_Open(ts_ns, frame, self.frames[frame] > 0))
        self.frames[frame] += 1

    def end(self, ts_ns: int | None) -> _Closed:
        """Closes the innermost frame; None where its end is not known."""
        closed = self.open.pop()
        self.frames[closed.frame] -= 1
        if not self.frames[closed.frame]:
            del self.frames[closed.frame]
        dur_ns = None if ts_ns is None else ts_ns - closed.ts_ns
        self_ns = None if dur_ns is None or closed.inner_ns is None else dur_ns - closed.inner_ns
        if self.open:
            outer = self.open[-1]
            outer.inner_ns = None if dur_ns is None or outer.inner_ns is None else outer.inner_ns + dur_ns
        return _Closed(self.name, closed.ts_ns, dur_ns, self_ns, len(self.open), closed.frame, closed.recursive)


class _Intake:
    """Makes rows of events, and keeps count."""

    def __init__(self, path: Path) -> None:
        self.events = self.begun_or_ended = 0
        self._path = path
        # Threads, and frames open on them; and the memory that their names take.
        self._held = self._held_bytes = 0
        self._most_held, self._most_bytes = OPEN_FRAMES.value(), OPEN_BYTES.value()
        self._threads: dict[str, _Thread] = {}
        self._left_out: Counter[str] = Counter()

    def take(self, events: Sequence[Event]) -> list[_Closed]:
        """The frames that end in these events."""
        self.events += len(events)
        ours = [event for event in events if event.ph in (_BEGIN, _END)]
        self.begun_or_ended += len(ours)
        times_ns, known = ns_of_us([event.ts for event in ours])
        known &= on_axis(times_ns)
        self._left_out["unusable_start"] += len(ours) - int(known.sum())
        timed = compress(zip(ours, times_ns.tolist(), strict=True), known.tolist())
        return [closed for event, ts_ns in timed for closed in self._step(event, ts_ns)]

    def close_all(self) -> list[_Closed]:
        """The frames that never end."""
        return [closed for thread in self._threads.values() for closed in self._close(thread, len(thread.open), None)]

    def findings(self) -> Iterator[dict[str, Any]]:
        """Rows of `warnings`; one with a count of 0 is none."""
        message = "Times count from py-spy's launch: the file does not tell when that was."
        yield {"code": "no_epoch", "count": self.begun_or_ended, "message": message, "untrusted": False}
        message = "The trace holds no event."
        yield {"code": "no_events", "count": int(not self.events), "message": message, "untrusted": True}
        for code, text in _LEFT_OUT.items():
            count = self._left_out[code]
            yield {"code": code, "count": count, "message": text.format(count), "untrusted": True}

    def _step(self, event: Event, ts_ns: int) -> list[_Closed]:
        """What one event ends: nothing, one frame, or one and those inside it whose own ends are missing."""
        thread = self._thread(f"{_known(event.pid)}/{_known(event.tid)}")
        if ts_ns < thread.last_ns:
            self._left_out["out_of_order"] += 1
            return []
        thread.last_ns = ts_ns
        frame = _frame(event)
        if event.ph == _BEGIN:
            thread.begin(ts_ns, frame)
            self._hold(frame)
            return []
        if frame not in thread.frames:
            self._left_out["unopened_frames"] += 1
            return []
        inside = next(count for count, opened in enumerate(reversed(thread.open)) if opened.frame == frame)
        return [*self._close(thread, inside, None), *self._close(thread, 1, ts_ns)]

    def _thread(self, name: str) -> _Thread:
        if name not in self._threads:
            self._threads[name] = _Thread(name)
            self._hold(name)
        return self._threads[name]

    def _hold(self, name: str) -> None:
        self._held += 1
        self._held_bytes += getsizeof(name)
        for held, most, limit in (
            (self._held, self._most_held, OPEN_FRAMES),
            (self._held_bytes, self._most_bytes, OPEN_BYTES),
        ):
            if held > most:
                problem = f"{self._path} has more than {most} {limit.counts}."
                raise HwprofError(problem, remedy=f"No Python program has. {limit.remedy()}")

    def _close(self, thread: _Thread, count: int, ts_ns: int | None) -> list[_Closed]:
        """Closes this many frames, from the innermost; None where their ends are not known."""
        self._left_out["unclosed_frames"] += count if ts_ns is None else 0
        closed = [thread.end(ts_ns) for _ in range(count)]
        self._held -= count
        self._held_bytes -= sum(getsizeof(frame.frame) for frame in closed)
        return closed


def _frame(event: Event) -> str:
    """How `stacks.frame` names a function; py-spy's frames of whole threads have no file."""
    if event.args is None or not event.args.filename:
        return event.name
    line = "" if event.args.line is None else f":{event.args.line}"
    return f"{event.name} ({event.args.filename}{line})"


def _known(number: int | str | None) -> int | str:
    return "?" if number is None else number
