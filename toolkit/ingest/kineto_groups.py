"""Rows of many pieces of a trace joined to a row group of a table: fewer and larger writes, and each text once."""

from typing import Any

import numpy as np

from toolkit.ingest.arrays import numbered_texts, pa
from toolkit.ingest.coded import Coded
from toolkit.ingest.columns import UNTOLD, Codes, Numbering
from toolkit.ingest.kineto_tables import Columns
from toolkit.ingest.store import GROUP_BYTES, GROUP_ROWS, TEXT_COLUMNS, StoreWriter


class RowGroups:
    """Appends pieces' rows to one table, a row group at a time; `all_have` are values that every row has."""

    def __init__(self, store: StoreWriter, table: str, all_have: dict[str, Any]) -> None:
        self._store, self._table, self._all_have = store, table, all_have
        self._pieces: list[Columns] = []
        self._rows = self._bytes = 0

    def add(self, columns: Columns) -> None:
        """Takes a piece's rows."""
        self._pieces.append(columns)
        self._rows += len(columns["ts_ns"])
        self._bytes += sum(_size(column) for column in columns.values())
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Appends what has been taken."""
        if self._rows:
            names = dict.fromkeys(name for columns in self._pieces for name in columns)
            told = {name: self._joined(name) for name in names}
            same = {name: _repeated(value, self._rows) for name, value in self._all_have.items()}
            self._store.append(self._table, told | same)
        self._pieces.clear()
        self._rows = self._bytes = 0

    def _joined(self, name: str) -> pa.Array:
        if name in TEXT_COLUMNS[self._table]:
            numbering = Numbering[str | None]()
            codes = [_renumbered(columns.get(name), len(columns["ts_ns"]), numbering) for columns in self._pieces]
            return numbered_texts(np.concatenate(codes), numbering.distinct)
        parts = [columns.get(name) for columns in self._pieces]
        rows = (len(columns["ts_ns"]) for columns in self._pieces)
        numbers = np.concatenate(
            [np.full(length, UNTOLD) if part is None else part for part, length in zip(parts, rows, strict=True)]
        )
        untold = numbers == UNTOLD
        return pa.array(numbers, mask=untold if untold.any() else None)


def _renumbered(column: Any, rows: int, numbering: Numbering[str | None]) -> Codes:
    """A column of texts by their numbers among those of all pieces."""
    if column is None:
        return np.full(rows, numbering[None], np.int32)
    codes: Codes = numbering.of(column.values)[column.codes]
    return codes


def _repeated(value: int | str | None, rows: int) -> Any:
    if isinstance(value, int):
        return np.full(rows, value, np.int32)
    return numbered_texts(np.zeros(rows, np.int32), [value])


def _size(column: Any) -> int:
    if isinstance(column, Coded):
        return int(column.codes.nbytes) + sum(len(text or "") for text in column.values)
    return int(column.nbytes)
