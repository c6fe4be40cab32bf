"""`from toolkit import profile` around people's own loops: the examples, and scripts that go wrong, run for real."""

import json
import re
import shutil
import signal
import subprocess
import time
import venv
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.own_scripts import EXAMPLES, Done, finish, popen, run, start
from tests.workers import PATIENCE_S, REPO, lines, python
from toolkit.analyses.summary import Summary
from toolkit.capture.venvs import ROOT
from toolkit.commands.cli import cli
from toolkit.ingest.run import native_traces
from toolkit.ingest.store import connect
from toolkit.reports import summary_json, tensorboard_events

pytestmark = pytest.mark.e2e

# Example -> the environment that it runs in, and its kind of trace.
RUN_IN = {
    "torch_loop": ("torch", "kineto"),
    "tf_loop": ("tf", "xplane"),
    "keras_fit": ("tf", "xplane"),
    "jax_loop": ("jax", "xplane"),
}
EPOCHS, STEPS, PROFILED = 3, 32, 10
COMPLETE = {"status": "complete", "reason": None, "exit_code": 0, "runtime": None, "matched": None}
BY_HAND = {"data_wait", "compute", "validation", "callbacks", "profiler", "other"}

SCRIPT = """
import torch
from toolkit import profile
from toolkit.errors import HwprofError
layer = torch.nn.Linear(4, 4)
"""
DIES = """
import psutil
try:
    with profile("dies", profile_from=2, profile_steps=100) as run:
        for _ in run.epochs(2):
            for batch in run.steps(range(8)):
                layer(torch.ones(1, 4))
                if batch == 5:
                    raise ZeroDivisionError("its own fault")
except ZeroDivisionError as error:
    print("caught", error)
print("left", psutil.Process().children(recursive=True))
with profile("goes on", profile_steps=0, report=False) as run:
    for _ in run.epochs(1):
        list(run.steps(range(3)))
    raise ZeroDivisionError("once more")
"""
LONG = """
with profile("long", profile_from=2, profile_steps=10**6, pyspy=True) as run:
    for _ in run.epochs(1):
        for batch in run.steps(range(10**9)):
            layer(torch.ones(1, 4))
"""
LOADER = """
import time
loader = torch.utils.data.DataLoader(torch.ones(64, 4), batch_size=4, num_workers=1, persistent_workers=True)
with profile("loader", profile_steps=4, pyspy=True, sample_hz=50, report=False) as run:
    for _ in run.epochs(2):
        for batch in run.steps(loader):
            with run.phase("host_to_device"):
                batch = batch.to("cpu")
            for _ in range(200):
                layer(batch)
    began = time.monotonic()
print("ended in", time.monotonic() - began)
"""
MISUSED = """
import sys
def told(what, act):
    try:
        act()
    except HwprofError as error:
        print(f"{what}: {error}")
def run_in(folder):
    with profile("m", runs=folder):
        pass
told("framework", lambda: profile("m", framework="caffe"))
told("absent", lambda: profile("m", framework="jax"))
told("device", lambda: profile("m", device="tpu"))
told("name", lambda: profile(""))
told("option", lambda: profile("m", profile_step=3))
told("batch", lambda: profile("m", batch=0))
told("sampler", lambda: profile("m", samplers=("hots",)))
told("pyspy", lambda: profile("m", samplers=(), pyspy=True))
told("settings", lambda: profile("m", settings={"layers": [1]}))
open("file", "w").close()
told("runs", lambda: run_in("file"))
with profile("m", report=False, profile_from=1) as run:
    told("nested", lambda: run_in("runs"))
    told("log", lambda: run.log(loss="low"))
    told("outside", lambda: list(run.steps([1])))
    with torch.profiler.profile():
        for _ in run.epochs(1):
            told("second", lambda: list(run.steps([1, 2])))
told("over", lambda: run.log(loss=1.0))
del sys.modules["torch"]
told("none", lambda: profile("m"))
sys.modules |= {"torch": torch, "jax": torch}
told("both", lambda: profile("m"))
"""
TOLD = {
    "framework": "Unknown framework 'caffe'.",
    "absent": "JAX cannot be imported here: No module named 'jax'.",
    "device": "Unknown device 'tpu'.",
    "name": "'' is no name for a model.",
    "option": "Unknown option of profile() 'profile_step'. Did you mean 'profile_steps'?",
    "batch": "batch=0 is out of range.",
    "sampler": "Unknown sampler 'hots'. Did you mean 'host'?",
    "pyspy": "pyspy=True needs the host's sampler, which starts it.",
    "settings": "settings: layers=[1] is no setting.",
    "runs": "The folder of runs file cannot be written:",
    "nested": "This process is being profiled already, into ",
    "log": "loss='low' is no number.",
    "outside": "steps() has no epoch around it.",
    "second": "The native profiler cannot start: RuntimeError: another torch.profiler is recording in this process.",
    "over": "The run is not open.",
    "none": "No framework is imported.",
    "both": "PyTorch and JAX are imported.",
}


@pytest.fixture(scope="module", params=RUN_IN)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Done]:
    """An example's name and what it left, run in its framework's environment, which can make no report itself."""
    name = request.param
    done = run(RUN_IN[name][0], EXAMPLES / f"{name}.py", tmp_path_factory.mktemp(name))
    assert done.returncode == 0, done.stderr
    return name, done


def summary_of(folder: Path) -> Summary:
    """summary.json of a run."""
    found = summary_json.read(folder / "summary.json")
    assert found
    return found


def rows(folder: Path, question: str) -> list[tuple[Any, ...]]:
    """What the store of a run answers."""
    with connect(folder) as connection:
        return connection.execute(question).fetchall()


def hwprof(*words: str | Path) -> Result:
    """The command, in this process."""
    found = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
    assert found.exit_code == 0
    return found


def test_every_example_is_run() -> None:
    """No script lies in examples/ that these tests leave out."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(RUN_IN)


def test_an_example_leaves_a_trusted_run(example: tuple[str, Done]) -> None:
    """Closed, with its trace held against its marks, its window apart, and the report printed with its place."""
    name, done = example
    assert json.loads((done.run / "run.json").read_text()) == COMPLETE
    found = summary_of(done.run)
    assert (found.trusted, found.warnings) == (True, [])
    (alignment,) = found.alignment
    assert alignment.brackets >= PROFILED * 2
    assert (alignment.missing, alignment.violations) == (0, 0)
    assert len(native_traces(done.run / "raw" / "loop")) == 1
    assert [trace.format for trace in found.traces if trace.format in ("kineto", "xplane")] == [RUN_IN[name][1]]
    assert len(next(trace for trace in found.traces if trace.steps).steps) == PROFILED
    assert found.profiler_cost
    framework, model = RUN_IN[name][0], "rings in fit" if name == "keras_fit" else "rings"
    assert done.stdout.startswith(f"{framework} {model} · train · own loop · batch 64")
    assert done.stdout.endswith(f"\nRun: {done.run}\n")


def test_an_example_s_marks_and_ledger_are_exact(example: tuple[str, Done]) -> None:
    """Every step of every epoch once, the parts of each epoch its wall time, and what compiled where that is told."""
    name, done = example
    found = summary_of(done.run)
    marked = rows(done.run, "SELECT epoch, step FROM marks WHERE kind = 'step' ORDER BY ts_ns")
    assert marked == [(epoch, step) for epoch in range(1, EPOCHS + 1) for step in range(1, STEPS + 1)]
    for epoch in found.epochs:
        assert sum(epoch.parts_ns.values()) == epoch.wall_ns
        assert epoch.complete
    parts = [set(epoch.parts_ns) for epoch in found.epochs]
    more = {"host_to_device"} if name == "jax_loop" else set()
    compiled = {"compile"} if name in ("jax_loop", "keras_fit") else set()
    assert parts == [BY_HAND | more | compiled, *[BY_HAND - {"profiler"} | more] * 2]
    whole = next(steps for steps in found.steps if steps.epoch is None)
    assert (whole.steps + whole.compiled_steps, whole.profiled_steps) == (EPOCHS * STEPS - PROFILED, PROFILED)
    assert [entry.profiled_steps for entry in found.training] == [PROFILED, 0, 0]
    unknown = [entry.metric for entry in found.unavailable if entry.source == "tf"]
    assert ("compile" in unknown) == (name == "tf_loop")


def test_an_example_tells_what_it_ran_and_no_more(example: tuple[str, Done]) -> None:
    """What hwprof does not know of a loop is NULL where runs are asked, and in no headline."""
    name, done = example
    question = "SELECT mode, batch, device, dataset, precision, epochs, image_size, own_settings FROM runs"
    (told,) = json.loads(hwprof("query", done.run, question, "--json").stdout)
    settings = {"torch_loop": 0.003, "tf_loop": 0.003, "jax_loop": 0.1}
    rate = {"learning_rate": settings[name]} if name in settings else {}
    assert json.loads(told.pop("own_settings")) == rate
    unknown = dict.fromkeys(("dataset", "precision", "epochs", "image_size"))
    assert told == {"mode": "own", "batch": 64, "device": "cpu", **unknown}
    headline = done.stdout.partition("\n")[0]
    assert not re.search("synthetic|matched|shipped|32×32", done.stdout.partition("Findings")[0]), headline


def test_an_example_is_sampled_and_logged(example: tuple[str, Done]) -> None:
    """The host's readings and the loop's own figures are in the store, with the facts of where it ran."""
    name, done = example
    counted = dict(rows(done.run, "SELECT metric, count(*) FROM counters WHERE source = 'host' GROUP BY ALL"))
    # The loop lasts some tenths of a second, with ten readings a second; a share of the processor needs two of them.
    assert counted["rss"] >= 2
    assert counted["cpu"] >= 1
    scalars = rows(done.run, "SELECT DISTINCT name, epoch FROM scalars ORDER BY ALL")
    names = ["accuracy", "loss", "val_accuracy", "val_loss"] if name == "keras_fit" else ["accuracy", "loss"]
    assert scalars == [(each, epoch) for each in names for epoch in (1, 2, 3)]
    facts = json.loads((done.run / "raw" / "loop" / "facts.json").read_text())
    assert facts["framework"] == RUN_IN[name][0]
    assert facts["cpus"] >= 1
    assert all(facts["versions"][package] for package in ("numpy",))


def test_an_own_run_is_read_like_any_other(example: tuple[str, Done], tmp_path: Path) -> None:
    """By show, list, report, compare, query and export; TensorBoard has a session of it."""
    _, done = example
    runs = ("--runs", done.runs)
    assert "own loop: one pass" in hwprof("show", done.run.name, *runs).stdout
    (listed,) = json.loads(hwprof("list", "--json", *runs).stdout)
    assert (listed["mode"], listed["batch"], listed["same"]) == ("own", 64, None)
    assert listed["step_ns"]
    hwprof("report", done.run, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "own loop: one pass" in page
    assert "the profiler in a window of it" in page
    again = shutil.copytree(done.run, tmp_path / "again")
    compared = hwprof("compare", done.run, again).stdout
    for metric in ("step_time", "throughput", "epoch_time", "first_epoch", "epoch_gap", "peak_memory", "profiler_cost"):
        assert f"\n {metric}" in compared
    hwprof("export", done.run, "--to", "parquet", "-o", tmp_path / "tables")
    hwprof("export", done.run, "--to", "perfetto", "-o", tmp_path / "one.pftrace")
    assert (tmp_path / "one.pftrace").stat().st_size > 10_000
    (tmp_path / "events").mkdir()
    tensorboard_events.write(done.run, tmp_path / "events")
    with connect(done.run) as store:
        tags = {point.tag for point in tensorboard_events.points(store, "loop")}
    assert tags >= {"step_time_ms", "scalars/loss", "host/rss_bytes"}


def test_the_report_is_made_by_the_same_python_where_that_can(tmp_path: Path) -> None:
    """In one environment that holds the framework and all of hwprof, as a plain pip install leaves it."""
    packages = next((python("jax").parents[1] / "lib").glob("python3*/site-packages"))
    code = (
        f"import runpy, site; site.addsitedir({str(packages)!r});"
        f"from toolkit.capture import own_report; own_report.TOOLKIT = own_report.Path('/none');"
        f"runpy.run_path({str(EXAMPLES / 'jax_loop.py')!r}, run_name='__main__')"
    )
    done = finish(popen([ROOT / ".venv" / "toolkit" / "bin" / "python", "-c", code], tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("jax rings · train · own loop")
    assert summary_of(done.run).trusted


def test_installed_the_toolkit_makes_the_report_where_its_libraries_are(tmp_path: Path) -> None:
    """Beside a framework: without its libraries a line says where the report is made; with them there is one."""
    venv.create(tmp_path / "venv", with_pip=True)
    installed = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    pip = [installed, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", REPO], check=True, cwd=tmp_path)
    subprocess.run([*pip, "psutil", "nvidia-ml-py", "py-spy"], check=True, cwd=tmp_path)

    def beside(*environments: Path) -> Done:
        folders = [next((each / "lib").glob("python3*/site-packages")) for each in environments]
        (site / "beside.pth").write_text("\n".join(map(str, folders)))
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        return finish(popen([installed, EXAMPLES / "torch_loop.py"], tmp_path, path=""), tmp_path)

    framework = python("torch").parents[1]
    bare = beside(framework)
    assert bare.returncode == 0, bare.stderr
    assert "Its report is made where hwprof is installed whole" in bare.stderr
    whole = beside(framework, ROOT / ".venv" / "toolkit")
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.startswith("torch rings · train · own loop")
    assert summary_of(whole.run).trusted


def test_an_exception_keeps_what_was_recorded(tmp_path: Path) -> None:
    """It goes on to the script as it was; the run says what it was, trace and record are closed, no process is left."""
    done = run("torch", SCRIPT + DIES, tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["caught its own fault", "left []"]
    assert done.stderr.rstrip().endswith("ZeroDivisionError: once more")
    first, second = sorted(done.runs.iterdir(), key=lambda folder: "goes_on" in folder.name)
    for folder, fault in ((first, "its own fault"), (second, "once more")):
        status = json.loads((folder / "run.json").read_text())
        assert (status["status"], status["exit_code"]) == ("failed", 1)
        assert status["reason"] == f"ZeroDivisionError: {fault}"
        assert f"hwprof: run {folder.name} failed: ZeroDivisionError: {fault}. " in done.stderr
    assert "failed: ZeroDivisionError: its own fault" in hwprof("show", first).stdout
    found = summary_of(first)
    assert [warning.code for warning in found.warnings] == ["cut_off"]
    assert found.alignment[0].brackets > 5
    assert rows(first, "SELECT count(*) FROM marks WHERE kind = 'step' AND complete") == [(5,)]
    assert not summary_json.read(second / "summary.json")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_closes_the_run(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """Ctrl-C, and a scheduler's SIGTERM: interrupted, with trace, stacks and samples, and the script ends by it."""
    process = start("torch", SCRIPT + LONG, tmp_path)
    deadline = time.monotonic() + PATIENCE_S
    while (
        not (found := [*tmp_path.glob("runs/*/raw/loop")])
        or sum(line[:4:3] == ["mark", "step"] for line in lines(found[0])) < 50
    ):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.send_signal(number)
    done = finish(process, tmp_path)
    assert done.returncode == code
    status = json.loads((done.run / "run.json").read_text())
    assert (status["status"], status["reason"]) == ("interrupted", "stopped by a signal")
    assert len(native_traces(found[0])) == 1
    for record in ("worker", "samplers", "gpu"):
        last = (found[0] / f"{record}.jsonl").read_text().splitlines()[-1]
        assert json.loads(last)[0] == "clock", record


def test_a_loader_s_processes_hold_nothing_up(tmp_path: Path) -> None:
    """Processes that the script forks have the samplers' pipes too: those end all the same, with py-spy's stacks."""
    done = run("torch", SCRIPT + LOADER, tmp_path)
    assert done.returncode == 0, done.stderr
    raw = done.run / "raw" / "loop"
    assert json.loads((raw / "samplers.jsonl").read_text().splitlines()[-1])[0] == "clock"
    hwprof("show", done.run)
    found = summary_of(done.run)
    assert found.trusted
    assert "stacks_placed" in {warning.code for warning in found.warnings}
    assert "host_to_device" in found.epochs[0].parts_ns
    assert {trace.format for trace in found.traces} >= {"kineto"}
    assert rows(done.run, "SELECT count(*) > 0 FROM stacks WHERE frame LIKE '%script.py%'") == [(True,)]


def test_misuse_is_one_line_each(tmp_path: Path) -> None:
    """Whatever cannot be is said with its value and a remedy, and leaves no run behind."""
    done = run("torch", SCRIPT + MISUSED, tmp_path)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert said.keys() == TOLD.keys()
    for what, begins in TOLD.items():
        assert said[what].startswith(begins), what
    assert json.loads((done.run / "run.json").read_text())["status"] == "complete"


def blocks(path: Path) -> list[str]:
    """The Python of a Markdown page."""
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/your-own-loop.md"])
def test_five_lines_do(page: str, tmp_path: Path) -> None:
    """What the pages add to a loop is at most five lines, and runs as it stands around a real one."""
    text = blocks(REPO / page)[0]
    added = [line for line in text.splitlines() if "profile" in line or "run." in line or "as run" in line]
    assert 3 <= len(added) <= 5
    before = (
        "import torch\nmodel, loader = torch.nn.Linear(4, 2), [torch.ones(8, 4)] * 20\n"
        "def train_step(batch):\n    return model(batch).sum()\n"
        "def validate():\n    return model(torch.ones(8, 4))\n"
    )
    done = run("torch", before + text, tmp_path)
    assert done.returncode == 0, done.stderr
    assert summary_of(done.run).trusted
