"""Runs as a log directory of TensorBoard's, and TensorBoard itself over it, on loopback only.

    <logdir>/.hwprof                                           all in here was made from runs, and may be removed
    <logdir>/<run id>/events.out.tfevents.*                    scalars of the time pass, and the text about the run
    <logdir>/<run id>/profile/events.out.tfevents.*            scalars of the profile pass
    <logdir>/<run id>/*.pt.trace.json.gz                       native traces as torch-tb-profiler looks for them
    <logdir>/<run id>/plugins/profile/<time>/<host>.xplane.pb  and as xprof does

Traces are hard links into raw/: neither plugin writes to one, and xprof's caches, which it puts beside its trace, stay
in the log directory.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec import structs

from toolkit.analyses import matched
from toolkit.capture import ending, modules
from toolkit.capture.files import write_whole
from toolkit.errors import FAILED, HwprofError
from toolkit.ingest.run import native_traces
from toolkit.own_spec import ALL_PASSES
from toolkit.reports import tensorboard_events

# Goes up with every change in what is written here or in tensorboard_*.py: older folders are then built anew.
LAYOUT = 3
OURS = ".hwprof"
STAMP = ".built-from.json"
HOST = "127.0.0.1"
ASK_EVERY_S = 0.1
GRACE_S = 10
CHARTS = "Both profiler tabs load Google Charts from www.gstatic.com; a browser that cannot reach it shows none."

Say = Callable[[str], None]


def build_logdir(runs: Sequence[Path], logdir: Path) -> None:
    """Makes `logdir` show these run folders and no other. What is up to date in it is left alone.

    Raises HwprofError where `logdir` cannot be written or holds what hwprof did not make, where two of `runs` have one
    name, and where one cannot be read.
    """
    by_name = {run.resolve().name: run for run in runs}
    if len(by_name) < len(runs):
        raise HwprofError("Two of the runs have the same name.", remedy="Show one of them, or rename its folder.")
    try:
        _claim(logdir)
        for folder in logdir.iterdir():
            if folder.is_dir() and folder.name not in by_name:
                shutil.rmtree(folder)
        for name, run in by_name.items():
            _build(run, logdir / name)
    except OSError as error:
        raise HwprofError(
            f"The log directory {logdir} cannot be built: {error}.", remedy="Make room or give another --logdir."
        ) from error


def serve(logdir: Path, *, port: int, say: Say) -> int:
    """Runs TensorBoard over `logdir` on 127.0.0.1 until a Ctrl-C (or SIGTERM, SIGHUP), then returns 0.

    Raises HwprofError where the port is taken or TensorBoard ends by itself. Leaves no process and no temporary file.
    """
    _refuse_taken(port)
    log = logdir / f"tensorboard-{port}.log"
    with (
        tempfile.TemporaryDirectory(prefix="hwprof-", ignore_cleanup_errors=True) as scratch,
        log.open("wb") as output,
        ending.interruptible(*ending.ALL),
    ):
        process = subprocess.Popen(
            _command(logdir, port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": scratch},
            # its helpers stay in one group that can be ended as a whole
            start_new_session=True,
        )
        try:
            if _answers(process, port):
                say(f"TensorBoard: http://{HOST}:{port}/ (Ctrl-C ends it; its log is {log})")
                say(CHARTS)
            process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _end(process)
    raise HwprofError(
        f"TensorBoard ended with code {process.returncode}: {_last_line(log)}",
        remedy=f"The rest is in {log}.",
        exit_code=FAILED,
    )


def _claim(logdir: Path) -> None:
    """Makes the folder ours if it is new or empty: what is in ours gets removed without asking."""
    logdir.mkdir(parents=True, exist_ok=True)
    if not (logdir / OURS).exists():
        if any(logdir.iterdir()):
            raise HwprofError(f"{logdir} holds what hwprof did not put there.", remedy="Give another --logdir.")
        (logdir / OURS).touch()


def _build(run: Path, folder: Path) -> None:
    """One run's folder, unless it was built from the very files that are there now. The stamp is written last."""
    stamp, sources = folder / STAMP, _sources(run)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == sources:
        return
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    tensorboard_events.write(run, folder)
    for trace, place in _traces(run):
        _link(trace, folder / place)
    write_whole(stamp, sources)


def _sources(run: Path) -> str:
    """What a run's folder is built from: files, told by size and time of change, and what is known of it elsewhere."""
    files = [run / "spec.json", run / "run.json", run / "summary.json", *sorted(run.glob("*.parquet"))]
    files += [trace for trace, _ in _traces(run)]
    states = [(str(path.relative_to(run)), path.stat()) for path in files if path.exists()]
    known = [each.matched and structs.asdict(each.matched) for each in matched.compared([run])]
    return json.dumps([LAYOUT, known, [(name, state.st_size, state.st_mtime_ns) for name, state in states]])


def _traces(run: Path) -> Iterable[tuple[Path, Path]]:
    """Native traces, each with its place in the run's folder, which is the one it has in the profiler's own."""
    for name in ALL_PASSES:
        raw = run / "raw" / name
        for trace in native_traces(raw):
            yield trace, trace.relative_to(raw / "trace")


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none; under its own name only once it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)


def _command(logdir: Path, port: int) -> list[str]:
    return [
        sys.executable, *modules.words("tensorboard.main"),
        "--logdir", str(logdir.resolve()), "--host", HOST, "--port", str(port),
        # by default it shows a random thousand of a chart's points, and peaks of power and memory are lost
        "--samples_per_plugin", "scalars=20000",
    ]  # fmt: skip


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        # as TensorBoard does; without it a port whose last connections still linger would count as taken
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise HwprofError(
                f"Port {port} of {HOST} cannot be had: {error.strerror}.",
                remedy="End what uses it, or give another: hwprof tensorboard --port N.",
            ) from error


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Waits until TensorBoard answers; false if it ends instead."""
    while process.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=GRACE_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        time.sleep(ASK_EVERY_S)
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends it as a Ctrl-C would, then whatever is left of its group: a reader of a large trace may not listen."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
