"""Reads a pickle as plain data. Pickles come from strangers, and unpickling one as usual runs what it says.

The standard library's unpickler, but for what only data needs: dicts with text keys, lists, tuples, texts, numbers.
Every global is refused by its name before it is looked up. Without globals a pickle can still exhaust the machine, so

- keys are texts only: hashing nested tuples that share their parts takes exponential time, and chosen integers collide;
- the process's memory is measured while it is read: one byte of file can ask for a hundred of memory;
- the memo is a dict: in the C unpickler it is an array, which one large index makes fill the memory.
"""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psutil

from toolkit.errors import HwprofError
from toolkit.ingest.limits import PICKLE_BYTES, PICKLE_MEMORY_BYTES
from toolkit.ingest.reading import AGAIN, WHOLE, Reading, SalvageableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Memory is measured after so many bytes: what they ask for at worst, a hundred times as much, is let through.
STEP_BYTES = 1 << 16
# Picklers end a frame at 64 KiB, and an object that is larger has none; a frame is read at once, whatever it holds.
LONGEST_FRAME = 4 * STEP_BYTES

_PLAIN = (
    pickle.PROTO, pickle.STOP, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINFLOAT, pickle.BININT,
    pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINGET, pickle.LONG_BINGET, pickle.APPEND, pickle.APPENDS,
    pickle.MARK, pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2,
    pickle.TUPLE3, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.MEMOIZE, pickle.BINPUT, pickle.LONG_BINPUT,
)  # fmt: skip
# These look a global up, which `find_class` refuses by name.
_NAMING = (pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.INST)
_DAMAGE = (AttributeError, EOFError, IndexError, OverflowError, TypeError, ValueError, struct.error)

# pickle.Unpickler is the C one, whose instructions cannot be replaced; this is the same in Python.
_Unpickler = pickle._Unpickler  # noqa: SLF001


def read(path: Path, reading: Reading = WHOLE) -> object:
    """The pickled data, or where `reading` keeps that, what of a dict stands before the damage.

    Raises HwprofError naming the file where it is unreadable, damaged, too large or no data.
    """
    try:
        with _Watched(path, reading) as raw:
            unpickler = _PlainData(io.BufferedReader(raw, STEP_BYTES))
            problem = unpickler.problem()
            if problem is None:
                return unpickler.data
            at, size = unpickler.position(), raw.size
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Give a readable file.") from error
    problem = f"cannot be unpickled from byte {at} of {size} on: {problem}"
    kept = unpickler.kept()
    if kept is None:
        raise HwprofError(f"{path} {problem}.", remedy=AGAIN)
    reading.damaged(SalvageableError(path, problem, kept=f"{at:,} of {size:,} bytes could be read"))
    return kept


class _Watched(io.FileIO):
    """The file; reading it raises HwprofError where it, or what has been made of it, is larger than allowed."""

    def __init__(self, path: Path, reading: Reading) -> None:
        super().__init__(path)
        self.size = path.stat().st_size
        self._path, self._reading = path, reading
        self._process = psutil.Process()
        self._most_bytes = PICKLE_MEMORY_BYTES.value()
        self._before = self._process.memory_info().rss
        if self.size > (most := PICKLE_BYTES.value()):
            self.close()
            problem = f"{path} has {self.size} bytes, and hwprof reads up to {most} of a pickle."
            raise HwprofError(problem, remedy=f"Record a shorter history. {PICKLE_BYTES.remedy()}")

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        """Some of the next bytes."""
        if self._process.memory_info().rss - self._before > self._most_bytes:
            problem = f"{self._path} takes more than {self._most_bytes} bytes of memory."
            raise HwprofError(problem, remedy=f"Record a shorter history. {PICKLE_MEMORY_BYTES.remedy()}")
        self._reading.came_to(self.tell())
        return super().readinto(memoryview(buffer)[:STEP_BYTES])


class _PlainData(_Unpickler):
    """The unpickler with the instructions of plain data only."""

    stack: list[Any]
    metastack: list[list[Any]]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    _unframer: Any

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(file)
        self._file = file
        self.data: object = None

    def problem(self) -> str | None:
        """Reads everything; what is wrong with it, or None, and then `data` holds it."""
        try:
            self.data = self.load()
        except pickle.UnpicklingError as error:
            return str(error)
        except KeyError as error:
            return f"its instruction {error.args[0]:#04x} is none that plain data needs"
        except MemoryError:
            return "it takes more memory than there is"
        except _DAMAGE:
            return "it is cut off or damaged"
        return None

    def position(self) -> int:
        """The byte of the file that would be read next."""
        frame = self._unframer.current_frame
        return self._file.tell() - (len(frame.getbuffer()) - frame.tell() if frame else 0)

    def kept(self) -> dict[str, Any] | None:
        """The outermost dict with what had been put into it and its lists when reading stopped; None if there is none.

        Of dicts further in, which are records, only those that had been closed are there.
        """
        *outer, items = [*self.metastack, self.stack]
        if len(outer) > 1:
            items = items[:-1]  # the last may have been in the making
        while len(outer) > 1:
            *below, target = outer.pop() or [None]
            if type(target) is list:
                target.extend(items)
            items = [*below, target] if type(target) is list else below
        root = outer[0][-1] if outer and outer[0] else None
        if type(root) is not dict:
            return None
        if len(items) % 2 and [type(item) for item in items[-2:]] == [list, list]:
            items[-2].append(items.pop())  # a list of one item, which is put into it behind that
        root.update(pair for pair in zip(items[::2], items[1::2], strict=False) if type(pair[0]) is str)
        return root

    def find_class(self, module: str, name: str) -> Any:
        """Refuses every global."""
        raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'!a:.120}, but may hold only data")

    def frame(self) -> None:
        """The next bytes are read at once."""
        (size,) = struct.unpack("<Q", self.read(8))
        if size > LONGEST_FRAME:
            raise pickle.UnpicklingError(f"it has a frame of {size} bytes, longer than any pickler writes")
        self._unframer.load_frame(size)

    def set_item(self) -> None:
        """A key and its value, from the stack into the dict below them."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key], [value])

    def set_items(self) -> None:
        """Keys and values in turn, down to the last mark, into the dict below it."""
        items = self.pop_mark()
        self._set(items[::2], items[1::2])

    def _set(self, keys: list[Any], values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or not all(type(key) is str for key in keys):
            raise pickle.UnpicklingError("it has a key that is no text")
        target.update(zip(keys, values, strict=True))

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **{code[0]: _Unpickler.dispatch[code[0]] for code in _PLAIN + _NAMING},
        pickle.FRAME[0]: frame,
        pickle.SETITEM[0]: set_item,
        pickle.SETITEMS[0]: set_items,
    }
