"""Writing the store: by a thread, and never half."""

import resource
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from toolkit.capture.files import write_whole
from toolkit.ingest.store import GROUP_ROWS, StoreWriter


def interrupted(thread: threading.Thread) -> None:
    """Ctrl-C in the moment in which a thread has begun and its pool does not know of it yet."""
    STARTED(thread)
    raise RuntimeError("interrupted")


STARTED = threading.Thread.start


def test_no_thread_is_begun_while_rows_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt in such a moment would leave a thread that writes to what is being closed: a crash, not a line."""
    with StoreWriter(tmp_path) as store:
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        store.append("counters", {"ts_ns": range(GROUP_ROWS)})
    assert pq.read_metadata(tmp_path / "counters.parquet").num_rows == GROUP_ROWS


def fill(folder: Path, then: BaseException | None = None) -> None:
    """A store of rows enough to be written before its end."""
    with StoreWriter(folder) as store:
        store.append("counters", {"ts_ns": range(GROUP_ROWS), "metric": map(str, range(GROUP_ROWS))})
        if then:
            raise then


def test_an_interrupt_leaves_nothing_once_the_last_rows_are_written(tmp_path: Path) -> None:
    """What is being written is waited for, whatever ended the block."""
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_a_link_under_a_partial_s_name_is_not_followed(tmp_path: Path) -> None:
    """A container can leave one in the run folder, to any file of the caller's."""
    theirs = tmp_path / "theirs"
    theirs.write_text("kept")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".counters.parquet.partial").symlink_to(theirs)
    (folder / ".outcome.json.partial").symlink_to(theirs)
    with StoreWriter(folder) as store:
        store.append("counters", {"ts_ns": [1]})
    write_whole(folder / "outcome.json", "{}")
    assert theirs.read_text() == "kept"
    assert sorted(path.name for path in folder.iterdir() if not path.is_symlink()) == [
        "counters.parquet",
        "outcome.json",
    ]


def test_the_first_error_of_writing_is_the_one_that_is_told(tmp_path: Path) -> None:
    """Not what closing the unfinished file says after it."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, usual[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            fill(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == []
