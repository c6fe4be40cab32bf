"""TensorBoard over runs of every framework, asked over real HTTP and looked at in a real browser."""

import contextlib
import gzip
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser import browser, needs_browser
from tests.commands import HWPROF, REPO, hwprof
from tests.test_tensorboard import free_port, hashes, make_run
from toolkit.ingest.store import connect
from toolkit.reports.tensorboard import build_logdir
from toolkit.spec import FRAMEWORKS

SMALL = ["model=cifar_cnn", "batch=8", "steps=4", "epochs=2", "validation_steps=1", "infer_batches=1", "threads=1"]
SMALL += ["runtime=local"]
GPU_TRACE = REPO.parent / "shared" / "traces" / "kineto" / "v100_resnet50_steps_memory.pt.trace.json.gz"
PATIENCE_S = 120


class Board:
    """`hwprof tensorboard` as a person starts it, once it has told its address."""

    def __init__(self, runs: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [str(HWPROF), "tensorboard", "--runs", str(runs), "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=REPO, text=True, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        self.said: list[str] = []
        while not self.said or self.url not in self.said[-1]:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said.append(line)

    def get(self, path: str, **query: str) -> bytes:
        """The answer's body, unpacked."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/data/{path}?{urllib.parse.urlencode(query)}", timeout=PATIENCE_S) as answer:
            body: bytes = answer.read()
            return gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body

    def ask(self, path: str, **query: str) -> Any:
        """The answer's JSON."""
        return json.loads(self.get(path, **query))

    def torch_runs(self) -> list[str]:
        """Runs of the PyTorch plugin, once it has read them all."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            answer = self.ask("plugin/pytorch_profiler/runs")
            if answer["runs"] and not answer["loading"]:
                return list(answer["runs"])
        raise AssertionError("the PyTorch plugin did not load the runs in time")

    def session(self, run: str) -> str:
        """The one profile of a run that XProf lists."""
        (found,) = (name for name in self.ask("plugin/profile/runs") if name.startswith(f"{run}/"))
        return str(found)

    def processes(self) -> list[psutil.Process]:
        """The command and all that it started, living."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def end(self) -> int:
        """Ends it as a Ctrl-C does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode


class Recorded(NamedTuple):
    """Runs of every framework, and what their folders held before TensorBoard saw them."""

    runs: Path
    torch: str
    tf: str
    jax: str
    before: dict[str, str]

    def folders(self) -> dict[str, str]:
        """What the run folders hold now."""
        return {name: digest for name, digest in hashes(self.runs).items() if not name.startswith(".tensorboard/")}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A small run of PyTorch, one of TensorFlow and one of JAX."""
    runs = tmp_path_factory.mktemp("runs")
    for framework in FRAMEWORKS:
        settings = [f"--set={setting}" for setting in (f"framework={framework}", *SMALL)]
        answer = hwprof("run", "--runs", runs, *settings)
        assert answer.returncode == 0, answer.stderr
    torch, tf, jax = (next(runs.glob(f"*-{framework}-*")).name for framework in FRAMEWORKS)
    return Recorded(runs, torch, tf, jax, hashes(runs))


@pytest.fixture(scope="module")
def board(recorded: Recorded) -> Iterator[Board]:
    """TensorBoard over the recorded runs. Whatever the tests asked of it, the run folders are as before at the end."""
    started = Board(recorded.runs)
    yield started
    started.end()
    assert recorded.folders() == recorded.before


@pytest.mark.e2e
def test_the_pytorch_plugin_reads_the_torch_run(board: Board, recorded: Recorded) -> None:
    """Its run, views, worker and span are listed; overview, operators, memory and trace hold what ran."""
    assert recorded.torch in board.torch_runs()
    assert not {recorded.tf, recorded.jax} & set(board.torch_runs())
    plugin, run = "plugin/pytorch_profiler", {"run": recorded.torch}
    views = board.ask(f"{plugin}/views", **run)
    assert {"Overview", "Operator", "Trace", "Memory"} <= set(views)
    assert board.ask(f"{plugin}/workers", **run, view="Overview") == ["worker"]
    assert board.ask(f"{plugin}/spans", **run, worker="worker") == ["1"]
    at = run | {"worker": "worker", "span": "1"}
    overview = board.ask(f"{plugin}/overview", **at)
    assert len(overview["steps"]["rows"]) >= 4
    table = board.ask(f"{plugin}/operation/table", **at, group_by="Operation")
    assert any("convolution" in row["name"] for row in table["data"])
    assert board.ask(f"{plugin}/memory", **at)["rows"]
    assert board.ask(f"{plugin}/memory_curve", **at)["rows"]
    trace = board.ask(f"{plugin}/trace", **at)
    names = {event.get("name", "") for event in trace["traceEvents"]}
    assert "aten::conv2d" in names
    assert any(name.startswith("hwprof.compute.") for name in names)


@pytest.mark.e2e
def test_xprof_reads_the_tensorflow_run(board: Board, recorded: Recorded) -> None:
    """Its session and tools are listed; overview, trace and operator statistics hold what ran."""
    session = board.session(recorded.tf)
    tools = board.ask("plugin/profile/run_tools", run=session)
    assert {"overview_page", "trace_viewer@", "framework_op_stats", "input_pipeline_analyzer"} <= set(tools)
    (host,) = board.ask("plugin/profile/hosts", run=session, tag="overview_page")
    answers = {
        tool: board.get("plugin/profile/data", run=session, tag=tool, host=host["hostname"]).decode() for tool in tools
    }
    assert all(answers.values())
    assert "host_op_time_eager_percent" in answers["overview_page"]
    assert "Conv2D" in answers["framework_op_stats"]
    assert "Conv2D" in answers["trace_viewer@"]
    assert list((recorded.runs / ".tensorboard" / recorded.tf / "plugins").rglob("*.SSTABLE"))
    assert recorded.folders() == recorded.before


@pytest.mark.e2e
def test_xprof_reads_the_jax_run(board: Board, recorded: Recorded) -> None:
    """Its overview knows the host, and its trace holds XLA's operations beside the worker's own annotations."""
    session = board.session(recorded.jax)
    tools = board.ask("plugin/profile/run_tools", run=session)
    assert {"overview_page", "trace_viewer@"} <= set(tools)
    (host,) = board.ask("plugin/profile/hosts", run=session, tag="overview_page")
    trace = board.get("plugin/profile/data", run=session, tag="trace_viewer@", host=host["hostname"]).decode()
    assert "hwprof.compute." in trace
    assert "convolution" in trace


@pytest.mark.e2e
def test_scalars_are_served_as_the_store_has_them(board: Board, recorded: Recorded) -> None:
    """Loss and step times of both passes of all runs come back with their values, the text with its status."""
    tags = board.ask("plugin/scalars/tags")
    for name in (recorded.torch, recorded.tf, recorded.jax):
        with connect(recorded.runs / name) as store:
            losses = store.execute(
                "SELECT epoch, value FROM scalars WHERE pass_name = 'time' AND name = 'train_loss' ORDER BY epoch"
            ).fetchall()
            steps = store.execute(
                "SELECT dur_ns / 1e6 FROM marks WHERE pass_name = 'profile' AND kind = 'step' ORDER BY ts_ns"
            ).fetchall()
        assert "host/cpu_percent" in tags[name]
        served = board.ask("plugin/scalars/scalars", run=name, tag="loss/train")
        assert [step for _, step, _ in served] == [epoch for epoch, _ in losses]
        assert [value for _, _, value in served] == pytest.approx([value for _, value in losses])
        served = board.ask("plugin/scalars/scalars", run=f"{name}/profile", tag="step_time_ms")
        assert [value for _, _, value in served] == pytest.approx([value for (value,) in steps])
        assert [step for _, step, _ in served] == list(range(1, 9))
        (text,) = board.ask("plugin/text/text", run=name, tag="about")
        assert "Status: <strong>complete</strong>" in text["text"]


@pytest.mark.e2e
def test_hparams_puts_runs_beside_each_other(board: Board, recorded: Recorded) -> None:
    """Each run is a session with its framework, and with what it came to among the metrics."""
    experiment = board.ask("plugin/hparams/experiment", request="{}")
    assert {"framework", "batch", "device"} <= {each["name"] for each in experiment["hparamInfos"]}
    metrics = {each["name"]["tag"] for each in experiment["metricInfos"]}
    assert {"result/step_time_ms", "result/throughput_samples_per_s"} <= metrics
    wanted = {
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_RUNNING", "STATUS_SUCCESS"],
        "startIndex": 0,
        "sliceSize": 9,
    }
    groups = board.ask("plugin/hparams/session_groups", request=json.dumps(wanted))["sessionGroups"]
    shown = {session["name"]: group["hparams"]["framework"] for group in groups for session in group["sessions"]}
    assert shown == {recorded.torch: "torch", recorded.tf: "tf", recorded.jax: "jax"}


@pytest.mark.e2e
def test_it_listens_on_loopback_only(board: Board) -> None:
    """No socket of TensorBoard or its helpers listens elsewhere, and another address of the machine refuses."""
    listening = {
        connection.laddr.ip
        for process in board.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    others = {
        address.address
        for card in psutil.net_if_addrs().values()
        for address in card
        if address.family == socket.AF_INET
    }
    for other in {*others, "127.0.0.2"} - {"127.0.0.1"}:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((other, board.port), timeout=PATIENCE_S)


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_it_leaves_no_process_and_no_file(
    recorded: Recorded, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C, or SIGTERM, while the plugin still reads traces: exit code 0, nothing left running or lying about."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    logs = tmp_path / "logs"
    build_logdir([recorded.runs / recorded.torch], logs)
    started = Board(recorded.runs)
    processes = started.processes()
    assert len(processes) > 2
    started.process.send_signal(number)
    _, said = started.process.communicate(timeout=PATIENCE_S)
    assert started.process.returncode == 0, said
    assert "Traceback" not in said
    assert [process for process in processes if lives(process)] == []
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    with contextlib.closing(socket.socket()) as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", started.port))


@pytest.mark.e2e
@pytest.mark.traces
@pytest.mark.skipif(not GPU_TRACE.exists(), reason=f"../shared/traces/kineto/{GPU_TRACE.name} is not there")
def test_the_pytorch_plugin_shows_a_gpu_s_kernels(tmp_path: Path) -> None:
    """Kernel views, which run on pandas, serve the kernels of a trace that was recorded on a V100."""
    trace = make_run(tmp_path, "gpu") / "raw" / "profile" / "trace"
    shutil.rmtree(trace)
    trace.mkdir()
    shutil.copy(GPU_TRACE, trace / "worker.1.pt.trace.json.gz")
    board = Board(tmp_path)
    try:
        assert board.torch_runs() == ["gpu"]
        plugin, at = "plugin/pytorch_profiler", {"run": "gpu", "worker": "worker", "span": "1"}
        assert "Kernel" in board.ask(f"{plugin}/views", run="gpu")
        assert any("cudnn" in name for name, _ in board.ask(f"{plugin}/kernel", **at)["total"]["rows"])
        for group_by in ("Kernel", "KernelNameAndOpName"):
            rows = board.ask(f"{plugin}/kernel/table", **at, group_by=group_by)["data"]["rows"]
            assert any("cudnn" in row[0] for row in rows), group_by
    finally:
        board.end()


@pytest.mark.e2e
@needs_browser
def test_a_browser_shows_every_tab(board: Board, recorded: Recorded) -> None:
    """Scalars, text, the PyTorch plugin with its run, and XProf with TensorFlow's and JAX's come up in a browser."""
    board.torch_runs()
    with browser() as driver:
        shows(driver, f"{board.url}/#scalars", "step_time_ms", frame=False)
        shows(driver, f"{board.url}/#text", "What was run", frame=False)
        shows(driver, f"{board.url}/#pytorch_profiler", recorded.torch, frame=True)
        shows(driver, f"{board.url}/#profile", "Performance Summary", frame=True)
        for name in (recorded.tf, recorded.jax):
            session = board.session(name)
            asked = {"run": session, "tag": "overview_page"}
            # the page that the tab frames, which takes the run from its address
            page = f"{board.url}/data/plugin/profile/index.html?{urllib.parse.urlencode(asked)}"
            shows(driver, page, "Performance Summary", frame=False)
            assert session in driver.find_element(By.TAG_NAME, "body").text


def shows(driver: WebDriver, url: str, words: str, *, frame: bool) -> None:
    """Asserts that the page, or the plugin's frame in it, comes to show the words."""
    driver.get("about:blank")
    driver.get(url)
    wait = WebDriverWait(driver, PATIENCE_S)
    if frame:
        wait.until(expected_conditions.frame_to_be_available_and_switch_to_it((By.TAG_NAME, "iframe")))
    wait.until(expected_conditions.text_to_be_present_in_element((By.TAG_NAME, "body"), words))
    driver.switch_to.default_content()


def lives(process: psutil.Process) -> bool:
    """Whether it runs; one that ended and waits to be collected does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
