"""Figures that contradict each other are not reported: what the analyses assert becomes one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from toolkit.errors import FAILED, HwprofError


@contextmanager
def sound(store: Path) -> Iterator[None]:
    """Raises HwprofError where analyses of `store` find parts that do not make up their whole, or cannot read it."""
    try:
        yield
    except (AssertionError, ValueError, duckdb.Error) as error:
        reason = " ".join(str(error).split())
        raise HwprofError(
            f"The figures of {store} contradict each other or cannot be read: {reason:.200}.",
            remedy="Delete its *.parquet files to have them made anew; if it stays so, report it.",
            exit_code=FAILED,
        ) from error
