"""Figures that contradict each other are not reported: what the analyses assert becomes one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from toolkit.errors import FAILED, HwprofError
from toolkit.ingest.limits import ANALYSIS_MEMORY


@contextmanager
def sound(store: Path) -> Iterator[None]:
    """Raises HwprofError where analyses of `store` find parts that do not make up their whole, or cannot read it."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        reason = str(error).partition("\n")[0]
        problem = f"The analyses of {store} take more memory or disk than allowed: {reason:.200}"
        raise HwprofError(problem, remedy=ANALYSIS_MEMORY.remedy(), exit_code=FAILED) from error
    except (AssertionError, ValueError, duckdb.Error) as error:
        reason = " ".join(str(error).split())
        raise HwprofError(
            f"The figures of {store} contradict each other or cannot be read: {reason:.200}.",
            remedy="Delete its *.parquet files to have them made anew; if it stays so, report it.",
            exit_code=FAILED,
        ) from error
