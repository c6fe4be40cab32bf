"""JAX's device memory profiles: what is alive, by the user's own line; and what is refused."""

import gzip
from pathlib import Path

import pytest

from tests.jax_memory_profiles import profile
from tests.stores import read, rows
from toolkit.analyses import runner
from toolkit.errors import HwprofError
from toolkit.ingest import formats, jax_memory

LIBRARY = ("__call__", "/venv/lib/python3.11/site-packages/jax/_src/pjit.py", 3)
STEP = ("train_step", "/home/me/train.py", 7)


def test_arrays_belong_to_the_user_s_own_line(tmp_path: Path) -> None:
    """The innermost frame outside of libraries; executables that hold memory are compiled code, others are left out."""
    path = tmp_path / "memory.prof"
    content = profile(
        ("gpu:1", 2, 64, [LIBRARY, STEP]), ("gpu:1", 1, 8, [LIBRARY, STEP]), ("cpu:0", 3, 5, [LIBRARY]),
        (None, 1, 9, [STEP]), (None, 1, 0, [STEP]),
    )  # fmt: skip
    path.write_bytes(gzip.compress(content, mtime=0))
    with read(path) as connection:
        found = [tuple(row.values())[2:] for row in runner.run(connection, "live_blocks")]
        assert rows(connection, "SELECT format, events FROM traces") == [("jax_memory_profile", 5)]
    assert found == [
        ("1", "train_step (/home/me/train.py:7)", 3, 72),
        ("cpu", "__call__ (/venv/lib/python3.11/site-packages/jax/_src/pjit.py:3)", 3, 5),
        (None, "compiled code", 1, 9),
    ]


def test_a_profile_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    """Whatever it is called."""
    path = tmp_path / "what.pb"
    path.write_bytes(profile(("cpu:0", 1, 1, [STEP])))
    assert formats.importer_of(path) is jax_memory


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff" * 9, "is no memory profile of JAX's"),
        (profile(("cpu:0", 1, 1, []), values=[("cpu", "nanoseconds")]), "not counts and bytes"),
        (profile(("cpu:0", -1, 1, [])), "counts -1 buffers"),
        (profile(("cpu:0", 1, 2**62 + 1, [])), "4611686018427387905 bytes"),
        (profile(("cpu:0", 1, 1, []))[:-4], "is no memory profile of JAX's"),
    ],
    ids=["noise", "another profile", "negative", "too large", "cut"],
)
def test_what_is_no_memory_profile_is_one_clear_line(content: bytes, said: str, tmp_path: Path) -> None:
    """Named by its file, with nothing stored."""
    path = tmp_path / "memory.prof"
    path.write_bytes(content)
    with pytest.raises(HwprofError, match=r"memory\.prof") as caught:
        read(path)
    assert said in str(caught.value)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_profile_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its size once inflated; the line names the variable."""
    path = tmp_path / "memory.prof"
    path.write_bytes(gzip.compress(profile(("cpu:0", 1, 1, [STEP])) + bytes(999)))
    monkeypatch.setenv("HWPROF_MAX_PPROF_BYTES", "100")
    with pytest.raises(HwprofError, match="HWPROF_MAX_PPROF_BYTES"):
        read(path)
