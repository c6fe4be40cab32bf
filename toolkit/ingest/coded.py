"""Columns of few distinct values, as codes: what follows from a value is worked out once a value, not once a row."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from toolkit.ingest.columns import Numbering

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
V = TypeVar("V", bound=Hashable)


class Coded(NamedTuple):
    """A column: each row's value is the one of `values` at its code."""

    codes: npt.NDArray[np.integer[Any]]
    values: Sequence[Any]

    def answers(self, rows: Bools | Rows, rule: Callable[[Any], int]) -> npt.NDArray[np.int8]:
        """What the rule says of the value of each of these rows; it is asked only of values that they have."""
        codes = self.codes[rows]
        found = np.zeros(len(self.values), np.int8)
        for code in np.flatnonzero(np.bincount(codes, minlength=len(found))).tolist():
            found[code] = rule(self.values[code])
        answers: npt.NDArray[np.int8] = found[codes]
        return answers

    def mapped(self, function: Callable[[Any], Any]) -> "Coded":
        """What the function says of each value."""
        return Coded(self.codes, [function(value) for value in self.values])


def coded(values: Iterable[V], said: Callable[[V], Any]) -> Coded:
    """What the function says of each value, called once for each distinct one."""
    numbering = Numbering[V]()
    codes = numbering.of(values)
    return Coded(codes, [said(value) for value in numbering.distinct])


def combined(function: Callable[..., Any], *columns: Coded) -> Coded:
    """What the function says of each row's values together, called once for every combination that there is."""
    codes = np.zeros(len(columns[0].codes), np.int64)
    found: list[tuple[Any, ...]] = [()]
    for column in columns:
        if len(column.values) > 1:
            joined, codes = np.unique(codes * len(column.values) + column.codes, return_inverse=True)
            places = [divmod(code, len(column.values)) for code in joined.tolist()]
        else:
            places = [(place, 0) for place in range(len(found))]
        found = [(*found[before], column.values[code]) for before, code in places]
    return Coded(codes, [function(*values) for values in found])


def distinct(rows: Int64s, values: npt.NDArray[Any], length: int) -> Coded:
    """A column of `length` from values of some rows; None in the others."""
    known, codes = np.unique(values, return_inverse=True)
    column = np.zeros(length, np.int64)
    column[rows] = codes + 1
    return Coded(column, [None, *known.tolist()])
