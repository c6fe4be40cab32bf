"""Reads the tensors of a file that `torch.save` wrote, where there is no PyTorch: a pickle beside raw numbers.

Both of PyTorch's formats, the zip of today and the stream of pickles before 1.6 (torch/serialization.py). Nothing that
a pickle names is looked up: a dict, a tensor's making and a kind of number are all that it may name, and mean what
stands here.
"""

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from toolkit.errors import HwprofError

Array = NDArray[Any]

KINDS = {"FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16, "LongStorage": np.int64}
MAGIC = 0x1950A86A20F9469CFC6C
DAMAGE = (
    OSError, EOFError, KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, struct.error,
    zipfile.BadZipFile, pickle.UnpicklingError,
)  # fmt: skip


class _Storage(NamedTuple):
    """Numbers that several tensors may be parts of."""

    key: str
    kind: Any
    numbers: int


class _Part(NamedTuple):
    """A tensor: where in its storage, in which steps."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, Array]:
    """Tensors by name. HwprofError where the file is damaged, or holds anything else."""
    try:
        return _of_zip(path) if zipfile.is_zipfile(path) else _of_stream(path)
    except DAMAGE as error:
        told = str(error) or type(error).__name__
        raise HwprofError(
            f"{path} cannot be read as tensors: {told}.", remedy="Delete it and download it again."
        ) from error


def _of_zip(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as file:
        (pickled,) = (name for name in file.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        parts = _Unpickler(io.BytesIO(file.read(pickled))).load()
        return _tensors(parts, lambda storage: file.read(f"{folder}data/{storage.key}"))


def _of_stream(path: Path) -> dict[str, Array]:
    """Magic number, version, the system's sizes, the tensors, the storages' keys, and of each its count and bytes."""
    with path.open("rb") as file:
        if _Unpickler(file).load() != MAGIC:
            raise ValueError("it is none of PyTorch's")
        for _ in ("version", "sizes"):
            _Unpickler(file).load()
        tensors = _Unpickler(file)
        parts = tensors.load()
        found = {key: _stored(file, tensors.storages[key]) for key in _Unpickler(file).load()}
        return _tensors(parts, lambda storage: found[storage.key])


def _stored(file: BinaryIO, storage: _Storage) -> bytes:
    (count,) = struct.unpack("<q", file.read(8))
    if count != storage.numbers:
        raise ValueError(f"storage {storage.key} has {count} numbers, not {storage.numbers}")
    return file.read(count * np.dtype(storage.kind).itemsize)


def _tensors(parts: object, stored: Callable[[_Storage], bytes]) -> dict[str, Array]:
    if not isinstance(parts, Mapping):
        raise TypeError("it holds no named tensors")
    return {str(name): _tensor(part, stored) for name, part in parts.items()}


def _tensor(part: object, stored: Callable[[_Storage], bytes]) -> Array:
    if not isinstance(part, _Part):
        raise TypeError("it holds something else than tensors")
    numbers = np.frombuffer(stored(part.storage), part.storage.kind)
    least = min((0, *part.strides))
    last = part.offset + sum((size - 1) * step for size, step in zip(part.shape, part.strides, strict=True))
    if numbers.size != part.storage.numbers or part.offset < 0 or least < 0 or last >= numbers.size:
        raise ValueError("a tensor reaches beyond its numbers")
    strides = [step * numbers.itemsize for step in part.strides]
    return as_strided(numbers[part.offset :], part.shape, strides).copy()


class _Unpickler(pickle.Unpickler):
    """Takes what tensors need by name, and makes it itself."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """By module and name alone."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in KINDS:
            return KINDS[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no tensor needs")

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage by its kind, key and count; where it was computed does not matter here."""
        _, kind, key, _, count, *_ = pid
        self.storages[str(key)] = _Storage(str(key), kind, int(count))
        return self.storages[str(key)]


def _rebuilt(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _Part:
    return _Part(storage, int(offset), tuple(shape), tuple(strides))


def _parameter(part: _Part, *_: object) -> _Part:
    return part
