"""Reads a pickle as plain data. Pickles come from strangers, and unpickling one as usual runs what it says.

The standard library's unpickler, but for what only data needs: dicts with text keys, lists, tuples, texts, numbers.
Every global is refused by its name before it is looked up. Without globals a pickle can still exhaust the machine, so

- keys are texts only: hashing nested tuples that share their parts takes exponential time, and chosen integers collide;
- instructions that one byte of file turns into memory are counted;
- the memo is a dict: in the C unpickler it is an array, which one large index makes fill the memory.
"""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from toolkit.errors import HwprofError

# Read at about 6 MB a second. What a file can make of its bytes at worst is some 12 bytes of memory for each, and for
# each object some 100: 3 GiB together.
MAX_BYTES = 1 << 27
MAX_OBJECTS = 1 << 24

_PLAIN = (
    pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINFLOAT,
    pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINGET, pickle.LONG_BINGET,
    pickle.APPEND, pickle.APPENDS,
)  # fmt: skip
_COUNTED = (
    pickle.MARK, pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2,
    pickle.TUPLE3, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.MEMOIZE, pickle.BINPUT, pickle.LONG_BINPUT,
)  # fmt: skip
# These look a global up, which `find_class` refuses by name.
_NAMING = (pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.INST)
_DAMAGE = (AttributeError, EOFError, IndexError, OverflowError, TypeError, ValueError, struct.error)

# pickle.Unpickler is the C one, whose instructions cannot be replaced; this is the same in Python.
_Unpickler = pickle._Unpickler  # noqa: SLF001


def read(path: Path) -> object:
    """The pickled data; raises HwprofError naming the file where it is unreadable, damaged, too large or no data."""
    content = _content(path)
    try:
        return _PlainData(io.BytesIO(content)).load()
    except pickle.UnpicklingError as error:
        problem = str(error)
    except KeyError as error:
        problem = f"its instruction {error.args[0]:#04x} is none that plain data needs"
    except MemoryError:
        problem = "it takes more memory than there is"
    except _DAMAGE:
        problem = "it is cut off or damaged"
    raise HwprofError(f"{path} cannot be unpickled: {problem}.", remedy="Take it again from where it was written.")


def _counted(instruction: Callable[[Any], None]) -> Callable[[Any], None]:
    def run(unpickler: "_PlainData") -> None:
        unpickler.count()
        instruction(unpickler)

    return run


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size <= MAX_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise HwprofError(f"{path} cannot be read: {error.strerror}.", remedy="Give a readable file.") from error
    remedy = f"hwprof reads pickles of up to {MAX_BYTES} bytes: record a shorter history."
    raise HwprofError(f"{path} has {size} bytes.", remedy=remedy)


class _PlainData(_Unpickler):
    """The unpickler with the instructions of plain data only."""

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._objects = 0

    def find_class(self, module: str, name: str) -> Any:
        """Refuses every global."""
        raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'!a:.120}, but may hold only data")

    def count(self) -> None:
        """One object more."""
        self._objects += 1
        if self._objects > MAX_OBJECTS:
            raise pickle.UnpicklingError(f"it makes more than {MAX_OBJECTS} objects")

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
        **{code[0]: _counted(_Unpickler.dispatch[code[0]]) for code in _COUNTED},
        pickle.SETITEM[0]: set_item,
        pickle.SETITEMS[0]: set_items,
    }
