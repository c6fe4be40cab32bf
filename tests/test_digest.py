"""From a run's records to its tables and summary, where that cannot be."""

import errno
import os
from pathlib import Path

import duckdb
import pytest

from toolkit.capture import runs
from toolkit.commands import digest
from toolkit.errors import FAILED, HwprofError


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), duckdb.IOException("No space")])
def test_tables_that_cannot_be_made_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whether the store or DuckDB met the full disk; the run that they are of has failed by it."""

    def full(_: Path) -> None:
        raise error

    monkeypatch.setattr(digest, "ingest", full)
    with pytest.raises(HwprofError, match=rf"The tables of {tmp_path.name} cannot be made: .*No space") as caught:
        digest.digest(tmp_path)
    assert caught.value.exit_code == FAILED
    outcome = digest.finish(tmp_path, runs.COMPLETE)
    assert (outcome.status, outcome.exit_code) == ("failed", FAILED)
    assert runs.status_of(tmp_path)["reason"] == str(caught.value)
