"""What a worker or a sampler writes while it runs: one JSON array a line.

A worker's are flushed twice a second, so that a kill loses at most the last half; a sampler's are written at once, or
a round of readings together.
Times are CLOCK_MONOTONIC nanoseconds; `clock` lines place them on the axis.

    ["open",  id, parent, kind, name, epoch, step, start]             a mark that holds others, begun
    ["mark",  id, parent, kind, name, epoch, step, start, end]        a mark that ended
    ["drop",  id]                                     a mark that was begun and is none: what it was for did not come
    ["scalar", at, epoch, name, value]
    ["counter", at, source, device, metric, value, unit]
    ["readings", at, source, device, {metric: value}, {metric: the driver's own time, us of CLOCK_REALTIME}]
    ["samples", source, device, metric, [[the driver's own time, value], ...]]     what the driver kept in a buffer
    ["units", {metric: unit}]                         of readings and samples, before the first of them
    ["gpu", device, name, uuid, architecture, driver, mig, used, power limit in mW]
    ["sensor", device, metric, update_ns, reads]      how often a power sensor has a new value, as found at the start
    ["unavailable", source, device, metric, reason]   what is not told
    ["lost", at, source, device, metric, reason]      what had been told before, and is not at this moment
    ["clock", realtime_ns, monotonic_ns]
"""

import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from time import monotonic_ns
from types import TracebackType
from typing import Any, Self

from toolkit.clock import read_pair
from toolkit.errors import FAILED, complain

FLUSH_EVERY_S = 0.5
OUTER_KINDS = frozenset({"run", "stage", "epoch", "step"})
ANNOTATED_KINDS = frozenset({"step", "phase", "request"})
# The native profiler starts or stops inside this phase, so an annotation of it would be torn.
PROFILER = "profiler"

Annotate = Callable[[str], AbstractContextManager[Any]]
# Made once: json.dumps makes one each time that it is given separators. No record holds itself.
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Mark:
    """One span of the worker's time, a context manager; `name` may still be changed inside."""

    __slots__ = ("_annotation", "_recorder", "_start", "epoch", "id", "kind", "name", "parent", "step")

    def __init__(self, recorder: "Recorder", kind: str, name: str, epoch: int | None, step: int | None) -> None:
        self._recorder = recorder
        self.kind, self.name, self.epoch, self.step = kind, name, epoch, step
        self.id, self.parent = recorder.enter(self)
        self._annotation: AbstractContextManager[Any] | None = None

    def begin(self) -> Self:
        """Starts it; one that holds others is written at once, so that a kill inside it leaves no orphans."""
        self._start = monotonic_ns()
        if self.kind in OUTER_KINDS:
            self._recorder.write("open", self.id, self.parent, self.kind, self.name, self.epoch, self.step, self._start)
        if self._recorder.annotate is not None and self.kind in ANNOTATED_KINDS and self.name != PROFILER:
            self._annotation = self._recorder.annotate(annotation_name(self.name, self.id))
            self._annotation.__enter__()
        return self

    def end(self) -> None:
        """Ends it: its record is whole from here on."""
        self._recorder.write(*self.stop())

    def stop(self) -> tuple[Any, ...]:
        """The record of its end, for the caller to write: one that is not leaves the mark open."""
        self._close_annotation()
        end = monotonic_ns()
        self._recorder.leave(self)
        return "mark", self.id, self.parent, self.kind, self.name, self.epoch, self.step, self._start, end

    def drop(self) -> None:
        """Takes it back: there is no such span. What was inside it has ended, elsewhere in the tree."""
        self._close_annotation()
        self._recorder.leave(self)
        self._recorder.write("drop", self.id)

    __enter__ = begin

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.end()
        elif self.kind not in OUTER_KINDS:
            # It leaves no record, and what comes after an error that is survived is not inside it.
            self._close_annotation()
            self._recorder.leave(self)

    def _close_annotation(self) -> None:
        if self._annotation is not None:
            self._annotation.__exit__(None, None, None)


class Records:
    """Readings and what could not be read, wherever `write` puts them."""

    def counter(self, source: str, device: str | None, metric: str, value: float, unit: str) -> None:
        """A reading, now."""
        self.write("counter", monotonic_ns(), source, device, metric, value, unit)

    def unavailable(self, source: str, device: str | None, metric: str, reason: str) -> None:
        """Something that this machine, or this framework, does not tell."""
        self.write("unavailable", source, device, metric, reason)

    def clock(self) -> None:
        """Both clocks, now."""
        self.write("clock", *read_pair())

    def write(self, *record: Any) -> None:
        """Takes one record."""
        raise NotImplementedError


class Appender(Records):
    """Appends each record to `path` at once and keeps none in memory: not even a kill loses one that was handed over.

    Safe from any thread. Raises OSError where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self.clock()

    def write(self, *record: Any) -> None:
        """Writes it: one call of the system, which appends as a whole."""
        _write_all(self._file, _line(record))

    def write_together(self, records: Iterable[tuple[Any, ...]]) -> None:
        """Writes them by one call of the system."""
        _write_all(self._file, b"".join(map(_line, records)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.clock()
        finally:
            self._file.close()


def recording(sample: Callable[[], None]) -> int:
    """Has a sampler's process sample; the exit code. What its record has no room for ends it with one line."""
    try:
        sample()
    except OSError as error:
        complain(f"a sampler's record cannot be written: {error.strerror}")
        return FAILED
    return 0


def ask_to_end() -> None:
    """Asks this process to end, as a person would: a worker's work that leaves no record is not worth doing."""
    os.kill(os.getpid(), signal.SIGTERM)


class Recorder(Records):
    """Appends records to `path`. `annotate`, while set, puts each step and phase into the native trace as well.

    The native annotation lies inside the mark's own two clock reads, which is what alignment is measured by.

    Where the file cannot be written, on a full disk say, `failure` is set and `failed` called once, by another thread.
    """

    def __init__(self, path: Path, *, failed: Callable[[], None] = ask_to_end) -> None:
        self._failed = failed
        self.annotate: Annotate | None = None
        self.failure: OSError | None = None
        self._file = path.open("ab", buffering=0)
        self._lines: deque[tuple[Any, ...]] = deque()
        self._around: list[Mark] = []
        self._last_id = 0
        self._closing = threading.Event()
        self._flusher = threading.Thread(target=self._flush_until_closed, name="hwprof-flush", daemon=True)
        self.clock()
        self._flusher.start()

    def mark(self, kind: str, name: str, *, epoch: int | None = None, step: int | None = None) -> Mark:
        """A mark inside the innermost one that is open; epoch and step are that one's where not given."""
        around = self._around[-1] if self._around else None
        if around is not None:
            epoch = around.epoch if epoch is None else epoch
            step = around.step if step is None else step
        return Mark(self, kind, name, epoch, step)

    @property
    def inside_phase(self) -> bool:
        """Whether the innermost open mark is a phase."""
        return bool(self._around) and self._around[-1].kind == "phase"

    def inside(self, mark: Mark) -> list[Mark]:
        """The marks that are open inside an open one, the innermost first."""
        return self._around[: self._around.index(mark) : -1]

    def phase(self, name: str) -> Mark:
        """A part of an epoch's or step's time, by the ledger's names."""
        return self.mark("phase", name)

    def scalar(self, name: str, value: float, *, epoch: int) -> None:
        """A loss or an accuracy, now."""
        self.write("scalar", monotonic_ns(), epoch, name, value)

    def write(self, *record: Any) -> None:
        """Hands one record over to the flusher; safe from any thread."""
        self._lines.append(record)

    def enter(self, mark: Mark) -> tuple[int, int | None]:
        """(id, parent's id) of a mark that begins."""
        parent = self._around[-1].id if self._around else None
        self._around.append(mark)
        self._last_id += 1
        return self._last_id, parent

    def leave(self, mark: Mark) -> None:
        """Takes back a mark that ended."""
        self._around.remove(mark)

    def close(self) -> None:
        """Writes what is left. Safe to call after an exception: open marks stay open in the record."""
        self.clock()
        self._closing.set()
        self._flusher.join()
        self._flush()
        self._file.close()

    def _flush_until_closed(self) -> None:
        while not self._closing.wait(FLUSH_EVERY_S):
            self._flush()
            if self.failure is not None:
                self._failed()
                return

    def _flush(self) -> None:
        # What is there now: others may hand over more, and faster than it is put into words.
        lines = [_line(self._lines.popleft()) for _ in range(len(self._lines))]
        if lines and self.failure is None:
            try:
                _write_all(self._file, b"".join(lines))
            except OSError as error:
                self.failure = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def annotation_name(name: str, mark_id: int) -> str:
    """The native annotation's name for a mark; ingest joins them by it."""
    return f"hwprof.{name}.{mark_id}"


def _line(record: tuple[Any, ...]) -> bytes:
    return _encode(record).encode() + b"\n"


def _write_all(file: FileIO, content: bytes) -> None:
    """A raw file may take less than it is given."""
    while content:
        content = content[file.write(content) :]
