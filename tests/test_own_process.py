"""What a profiled loop's own process keeps to itself: its signals, its samplers, and who makes its report."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.capture import beside, own_report
from toolkit.capture.own_signals import ended_by_signal, uninterrupted
from toolkit.capture.samplers.process_tree import ProcessTree


def test_ctrl_c_waits_for_the_profiler() -> None:
    """What comes while the profiler is told of a step, or writes, is heard once it is done."""
    done = False
    with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012 - what is inside is what must not be left
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_script_s_own_handler_of_sigterm_is_left() -> None:
    """One that the script installs inside stays when the run ends; where it installs none, the default is back."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with ended_by_signal():
            pass
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with ended_by_signal():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_report_is_made_where_all_of_its_libraries_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A script may have some for its own sake: the report is then the checkout's own environment's to make."""
    assert own_report._python() == Path(sys.executable)
    checkout = tmp_path / "python"
    checkout.touch()
    monkeypatch.setattr(own_report, "TOOLKIT", checkout)
    monkeypatch.setattr(own_report, "LIBRARIES", ("duckdb", "no_such_library"))
    assert own_report._python() == checkout


def test_a_sampler_stops_when_told_whoever_holds_its_input(tmp_path: Path) -> None:
    """Told to watch and to stop at once, with its pipe open elsewhere: it ends by itself, with its record closed."""
    with (tmp_path / "log").open("wb") as log:
        samplers = beside.start(tmp_path, beside.Sampled(("host",), 10, "cpu", pyspy=False), log)
    (sampler,) = samplers
    assert sampler.stdin
    with os.fdopen(os.dup(sampler.stdin.fileno()), "wb"):
        beside.tell(samplers, os.getpid())
        beside.end(samplers)
    assert sampler.returncode == 0
    assert json.loads((tmp_path / "samplers.jsonl").read_text().splitlines()[-1])[0] == "clock"


def test_samplers_are_no_part_of_what_they_watch() -> None:
    """A branch that is left out of a process's tree counts in nothing of it; the others do."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as sampler,
        subprocess.Popen(command, stdin=subprocess.PIPE) as loader,
    ):
        tree = ProcessTree(os.getpid(), apart=[sampler.pid])
        tree.find_children(begun=None)
        pids = {process.pid for process in tree._tree}
    assert loader.pid in pids
    assert sampler.pid not in pids
