"""A second process that decodes pieces of a large Kineto trace beside this one: decoding holds Python's lock.

Texts and rows go through memory that both processes have, a slot a piece, so that neither waits for the other to copy;
a socket tells which slot is full. The second process ends with its input, hence with the first one, however that ends.
"""

import mmap
import os
import pickle
import select
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from toolkit.capture import modules
from toolkit.errors import FAILED, HwprofError
from toolkit.ingest import heap
from toolkit.ingest.inflate import GZIP_MAGIC
from toolkit.ingest.json_chunks import PIECE_BYTES, at_once, decode_tolerantly
from toolkit.ingest.kineto_pieces import Piece, PieceReader

Begin = Callable[[bytes], Future[Piece]]

# Of which the second process has one in work and others to go on with.
SLOTS = 3
# Rows are mostly smaller than their text; those that do not fit are made in this process.
SLOT_BYTES = 2 * PIECE_BYTES
# Where decoding takes much longer than another process needs to begin: bytes of a plain file, and of a gzip one.
LARGE, LARGE_GZIP = 64 << 20, 4 << 20
# Slot, and how many bytes stand in it: -1 where the piece is no JSON.
_MESSAGE = struct.Struct("=ii")
_NO_JSON = -1


@contextmanager
def beginning(path: Path, base_ns: int) -> Iterator[Begin | None]:
    """What begins to decode pieces of this file, a second process at its side; None where that would not help."""
    with path.open("rb") as file:
        large = LARGE_GZIP if file.read(len(GZIP_MAGIC)) == GZIP_MAGIC else LARGE
    if path.stat().st_size < large or sys.platform != "linux" or len(os.sched_getaffinity(0)) == 1:
        yield None
        return
    with Helper(base_ns) as helper:
        yield helper.begin


class Helper:
    """The second process: `begin` gives it pieces as long as it has not enough to do, and does the others here."""

    def __init__(self, base_ns: int) -> None:
        self._decode = PieceReader(base_ns)
        # Unknown until the second process says that it is there.
        self._free: deque[int] | None = None
        self._asked: deque[Future[Piece]] = deque()
        self._socket, of_helper = socket.socketpair()
        shared = os.memfd_create("hwprof-pieces")
        try:
            os.ftruncate(shared, SLOTS * SLOT_BYTES)
            self._slots = mmap.mmap(shared, SLOTS * SLOT_BYTES)
            # Ctrl-C is this process's to answer.
            self._process = subprocess.Popen(
                [sys.executable, *modules.words(__name__), str(shared), str(base_ns)],
                stdin=of_helper.fileno(),
                pass_fds=[shared],
                start_new_session=True,
            )
        finally:
            os.close(shared)
            of_helper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()
        self._slots.close()

    def begin(self, text: bytes) -> Future[Piece]:
        """What becomes of a piece; raises HwprofError where the second process has ended."""
        while select.select([self._socket], [], [], 0)[0]:
            self._receive()
        if not self._free or len(text) > SLOT_BYTES:
            return at_once(self._decode, text)
        slot, future = self._free.popleft(), _Awaited(self._receive)
        self._slots[slot * SLOT_BYTES : slot * SLOT_BYTES + len(text)] = text
        self._asked.append(future)
        try:
            self._socket.sendall(_MESSAGE.pack(slot, len(text)))
        except ConnectionError as error:
            raise self._ended() from error
        return future

    def _receive(self) -> None:
        """Takes a reply: the first says that the second process is there, each other what became of a piece."""
        try:
            message = self._socket.recv(_MESSAGE.size, socket.MSG_WAITALL)
        except ConnectionError as error:
            raise self._ended() from error
        if not message:
            raise self._ended()
        if self._free is None:
            self._free = deque(range(SLOTS))
            return
        slot, size = _MESSAGE.unpack(message)
        self._free.append(slot)
        future = self._asked.popleft()
        if size == _NO_JSON:
            future.set_exception(msgspec.DecodeError())
        else:
            rows = self._slots[slot * SLOT_BYTES : slot * SLOT_BYTES + size]
            future.set_result(pickle.loads(rows))  # noqa: S301 - what this very module wrote, below

    def _ended(self) -> HwprofError:
        status = self._process.wait()
        problem = f"The second process that decodes the trace ended unasked (exit status {status})."
        return HwprofError(
            problem, remedy="Memory may be short: see the system's log, and try again.", exit_code=FAILED
        )


class _Awaited(Future[Piece]):
    """A piece whose reply is taken by whoever asks for it."""

    def __init__(self, receive: Callable[[], None]) -> None:
        super().__init__()
        self._receive = receive

    def result(self, timeout: float | None = None) -> Piece:
        """The piece, once the second process has told it."""
        while not self.done():
            self._receive()
        return super().result(timeout)


def main(shared: int, base_ns: int) -> None:
    """The second process: decodes what it is sent until its input ends."""
    heap.keep_freed()
    decode = PieceReader(base_ns)
    slots = mmap.mmap(shared, SLOTS * SLOT_BYTES)
    with socket.socket(fileno=0) as asked:
        asked.sendall(_MESSAGE.pack(0, 0))
        while message := asked.recv(_MESSAGE.size, socket.MSG_WAITALL):
            slot, size = _MESSAGE.unpack(message)
            at = slot * SLOT_BYTES
            asked.sendall(_MESSAGE.pack(slot, _decoded_into(slots, at, slots[at : at + size], decode)))


def _decoded_into(slots: mmap.mmap, at: int, text: bytes, decode: PieceReader) -> int:
    """Leaves the piece's rows there, and gives their size; where they do not fit, or it is no JSON, _NO_JSON."""
    try:
        rows = pickle.dumps(decode_tolerantly(decode, text), pickle.HIGHEST_PROTOCOL)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NO_JSON
    if len(rows) > SLOT_BYTES:
        return _NO_JSON
    slots[at : at + len(rows)] = rows
    return len(rows)


if __name__ == "__main__":
    with heap.uncollected(), suppress(ConnectionError):
        main(*map(int, sys.argv[1:]))
