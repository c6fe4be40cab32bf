"""Answers to people's own questions: an Arrow table as a terminal's table, CSV, JSON or Parquet."""

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich import box
from rich.table import Table

from toolkit.capture.files import whole
from toolkit.errors import HwprofError
from toolkit.reports.tables import UNKNOWN, shown

# What a person reads; the others are for programs and hold every row.
MOST_ROWS = 200


def table(answer: pa.Table) -> Table:
    """The first MOST_ROWS rows, numbers to the right, and how many there are."""
    rows = f"{answer.num_rows:,} row{'' if answer.num_rows == 1 else 's'}"
    left_out = f", of which the first {MOST_ROWS} are shown: --csv gives all" if answer.num_rows > MOST_ROWS else ""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=rows + left_out, caption_justify="left")
    for field in answer.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
        made.add_column(shown(field.name), justify="right" if number else "left", overflow="fold")
    for row in zip(*(column.to_pylist() for column in answer.slice(0, MOST_ROWS).columns), strict=True):
        made.add_row(*map(_cell, row))
    return made


def json(answer: pa.Table) -> str:
    """A JSON list with an object a row; int64 are whole numbers, what JSON cannot hold is null."""
    encoder = msgspec.json.Encoder(decimal_format="number")
    return msgspec.json.format(encoder.encode(answer.to_pylist()), indent=1).decode()


def csv(answer: pa.Table) -> str:
    """CSV with a header; texts stand in quotation marks, NULL is nothing at all."""
    text = io.BytesIO()
    try:
        pyarrow.csv.write_csv(answer, text)
    except pa.ArrowInvalid as error:
        problem = f"CSV cannot hold a column of this answer: {error}."
        raise HwprofError(problem, remedy="Use --json or --parquet, or cast it to VARCHAR.") from error
    return text.getvalue().decode()


def write_parquet(answer: pa.Table, path: Path) -> None:
    """A Parquet file, whole or not at all. Raises OSError."""
    with whole(path) as partial:
        pq.write_table(answer, partial)


def _cell(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:,.6g}"
    whole = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return f"{value:,}" if whole else shown(str(value))
