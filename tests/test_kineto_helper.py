"""The second process that decodes pieces of a large Kineto trace: the same tables, and never a process left over."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kineto_traces import BASE, EVENTS, MEMBERS, NASTY, OP, write
from toolkit.errors import HwprofError
from toolkit.ingest import json_chunks, kineto, kineto_helper
from toolkit.ingest.kineto_helper import Helper
from toolkit.ingest.store import StoreWriter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the second process shares memory as Linux has it")

# What looks like the border of two events, inside of one.
MISLEADING = OP | {"args": {"a": [{"b": 1}, {"c": 2}, "}, {"]}}
MANY = [event | {"ts": 10 + number} for number in range(200) for event in (*EVENTS, MISLEADING)]
BAD_FIELD = OP | {"ts": "yesterday"}
DOCUMENTS = {
    "decimal times": json.dumps({**MEMBERS, "traceEvents": MANY, **BASE}),
    "whole times": json.dumps({"traceEvents": [OP | {"ts": number, "name": f"op{number}"} for number in range(999)]}),
    "NaN": json.dumps({"traceEvents": [*MANY, OP | {"args": {"x": float("nan")}}, *MANY]}),
    "fields of wrong types": json.dumps({"traceEvents": [*MANY, BAD_FIELD, *MANY]}),
    "names like borders": json.dumps(
        {"traceEvents": [*MANY, *(OP | {"name": name} for name in NASTY for _ in range(99))]}
    ),
    "misleading throughout": json.dumps([*MANY, *(MISLEADING | {"ts": number} for number in range(500))]),
}


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Helper]]:
    """Helpers of traces of any size, which are there from the first piece on; pieces are small."""
    found: list[Helper] = []

    def enter(helper: Helper) -> Helper:
        found.append(helper)
        helper._receive()
        return helper

    monkeypatch.setattr(kineto_helper, "LARGE", 0)
    monkeypatch.setattr(json_chunks, "PIECE_BYTES", 2_000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(Helper, "__enter__", enter)
    yield found
    for helper in found:
        assert helper._process.returncode is not None


def stored(path: Path, folder: Path) -> dict[str, bytes]:
    """The files of the trace's store."""
    folder.mkdir()
    with StoreWriter(folder) as store:
        kineto.read(path, trace=0, pass_name=None, store=store)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on there is one core, so no second process."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})


@pytest.mark.e2e
@pytest.mark.parametrize("document", DOCUMENTS)
def test_two_processes_write_the_same_bytes(
    document: str, helpers: list[Helper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of the store is the one that a single process writes, and the second one has had its part in it."""
    told: list[Any] = []
    monkeypatch.setattr(kineto_helper.pickle, "loads", lambda rows: told.append(LOADS(rows)) or told[-1])
    path = write(tmp_path, DOCUMENTS[document].encode())
    both = stored(path, tmp_path / "both")
    assert len(helpers) == 1
    assert told
    alone(monkeypatch)
    assert stored(path, tmp_path / "one") == both
    assert len(helpers) == 1


LOADS = kineto_helper.pickle.loads


@pytest.mark.parametrize(
    "damaged",
    [
        DOCUMENTS["whole times"][:-300],
        DOCUMENTS["whole times"].replace('"op500"', '"op500'),
        DOCUMENTS["decimal times"].replace('"ph": "X"', '"ph" "X"', 1),
    ],
    ids=["cut off", "an open string", "no colon"],
)
def test_a_damaged_file_is_the_same_error(
    damaged: str, helpers: list[Helper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pieces were begun behind the damage, the error is still that of the damage, and nothing is stored."""
    path = write(tmp_path, damaged.encode())
    with pytest.raises(HwprofError) as of_both:
        stored(path, tmp_path / "both")
    assert len(helpers) == 1
    alone(monkeypatch)
    with pytest.raises(HwprofError) as of_one:
        stored(path, tmp_path / "one")
    assert str(of_both.value) == str(of_one.value)
    assert list((tmp_path / "both").iterdir()) == []


def test_a_second_process_that_is_killed_is_one_clear_error(
    helpers: list[Helper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever killed it, the trace is not stored in part."""
    begin = Helper.begin

    def begin_and_kill(helper: Helper, text: bytes) -> Any:
        future = begin(helper, text)
        helper._process.kill()
        return future

    monkeypatch.setattr(Helper, "begin", begin_and_kill)
    with pytest.raises(HwprofError, match=r"The second process .* ended unasked \(exit status -9\)"):
        stored(write(tmp_path, DOCUMENTS["whole times"].encode()), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []
    assert len(helpers) == 1


def test_an_interrupt_ends_the_second_process_too(
    helpers: list[Helper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C leaves neither a process nor a part of a store."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(kineto._Intake, "take", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stored(write(tmp_path, DOCUMENTS["whole times"].encode()), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []
    assert len(helpers) == 1


ENDLESS = """
import sys
from toolkit.ingest.kineto_helper import Helper
helper = Helper(0)
print(helper._process.pid, flush=True)
sys.stdin.read()
"""


def test_the_second_process_ends_with_a_first_one_that_is_killed() -> None:
    """Nothing is left over even where nothing could be cleaned up."""
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout
        second = os.pidfd_open(int(first.stdout.readline()))
        first.send_signal(signal.SIGKILL)
    try:
        assert select.select([second], [], [], 60)[0]
    finally:
        os.close(second)
