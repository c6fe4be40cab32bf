"""What holds for every test: how they are spread over processes, what counts as a failure, what several share."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from functools import cached_property
from pathlib import Path

import psutil
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from toolkit.capture import containers, engines, images
from toolkit.capture.cgroups import Group
from toolkit.capture.engines import Engine, NoEngineError

# What one process of tests takes at most: a framework, and the trace that it left.
PROCESS_BYTES = 3 << 30
# An engine is shared by all of its tests, which are not to meet: images, layers, containers, room on the disk.
# Podman's make a CDI specification where the whole machine sees it, so those that need none run there, too.
ENGINES = {"podman": "podman", "no_cdi": "podman", "engine": "docker"}
GROUPS = "hwprof/groups"
TOOK = "processor seconds"
BEGAN = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What is quick is set in pyproject.toml."""
    parser.addini(
        "quick_s", "seconds of the processor that a test without the mark e2e may take, or be named", default="3"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Processes of `-n auto`: one for each processor that may be used, as far as there is memory for them."""
    limits = Group().limits()
    processors = min(len(os.sched_getaffinity(0)), limits.processors or os.cpu_count() or 1)
    memory_bytes = min(psutil.virtual_memory().total, limits.memory_bytes or 1 << 62)
    return max(1, min(round(processors), memory_bytes // PROCESS_BYTES))


def group_of(item: pytest.Function) -> str:
    """Tests of one group run in one process, one after the other.

    What a fixture makes for a whole file (runs, a TensorBoard, stores) is made once, or once for each of its
    parameters. End-to-end tests, minutes long, that share nothing of the kind are a group each.
    """
    for fixture, group in ENGINES.items():
        if fixture in item.fixturenames:
            return group
    wide = [each[-1] for each in item._fixtureinfo.name2fixturedefs.values() if each[-1].scope == "module"]
    if item.get_closest_marker("e2e") and not wide:
        return item.nodeid
    chosen = [str(item.callspec.params[each.argname]) for each in wide if each.params]
    return "-".join([item.path.stem, *chosen])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Spread over processes, groups with end-to-end tests come first, and large ones: little is left for the end.

    Within a group, and among groups alike in this, the order stays random. The process that hands tests out collects
    none itself: it finds the groups in pytest's cache; without one, each file is a group.
    """
    if not hasattr(config, "workerinput"):
        return
    groups = {item.nodeid: group_of(item) for item in items if isinstance(item, pytest.Function)}
    if config.workerinput["workerid"] == "gw0" and hasattr(config, "cache"):
        config.cache.set(GROUPS, groups)
    sizes = Counter(groups.values())
    long = {groups[item.nodeid] for item in items if item.get_closest_marker("e2e")}
    items.sort(key=lambda item: (groups[item.nodeid] not in long, -sizes[groups[item.nodeid]]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Hands out groups, in the order of the tests. xdist 3.8's own `--dist loadgroup` does nothing under pytest 9.2."""
    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


class GroupScheduling(LoadScopeScheduling):
    """xdist's scopes, of which each is a group; what is in none goes by its file."""

    @cached_property
    def groups(self) -> dict[str, str]:
        """The group of each test, by its id."""
        return dict(self.config.cache.get(GROUPS, {})) if hasattr(self.config, "cache") else {}

    def _split_scope(self, nodeid: str) -> str:
        return self.groups.get(nodeid, nodeid.partition("::")[0])

    def remove_node(self, node: WorkerController) -> str | None:
        """Of a process that died, the test that it died of fails, and others run what it had left.

        xdist's own way hands that test out again, and groups that are done, after which nothing is ever heard.
        """
        groups = self.assigned_work.pop(node)
        left = [(group, test) for group, tests in groups.items() for test, done in tests.items() if not done]
        if not left:
            return None
        group, died_of = left[0]
        groups[group][died_of] = True
        self.workqueue.update({name: tests for name, tests in groups.items() if not all(tests.values())})
        for other in self.nodes:
            self._reschedule(other)
        return died_of


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes go by their parameter's name: every process has to name a test alike, and what gzip made holds the time."""
    return argname if isinstance(val, bytes) else None


def processor_s() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Notes when a test begins, for its reports to say what it took."""
    item.stash[BEGAN] = processor_s()
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Names what is no quick test, by what it took until its end: time by the clock says little on a busy machine."""
    limit_s = float(config.getini("quick_s"))
    ends = [report for report in terminalreporter.getreports("") if report.when == "teardown"]
    took = [(dict(report.user_properties)[TOOK], report.nodeid) for report in ends if "e2e" not in report.keywords]
    slow = sorted((each for each in took if each[0] > limit_s), reverse=True)
    if slow:
        terminalreporter.section(f"over {limit_s:g} s of the processor, and not marked e2e")
    for seconds, name in slow:
        terminalreporter.line(f"{seconds:.1f} s {name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI an end-to-end test that was skipped has failed: nobody reads the reason. One may lack a GPU or traces."""
    report = yield
    report.user_properties.append((TOOK, processor_s() - item.stash[BEGAN]))
    may_lack = item.get_closest_marker("gpu") or item.get_closest_marker("traces")
    must_run = item.get_closest_marker("e2e") and not may_lack
    if os.environ.get("CI") == "true" and must_run and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"Skipped in CI, where every end-to-end test must run: {report.longrepr}"
    return report


# Where an environment forbids bytecode, each of a thousand processes would compile the toolkit anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# pytest's readline puts the terminal's size into the C library's environment, which its processes then have as theirs:
# reports would be as wide as that.
for size in ("COLUMNS", "LINES"):
    os.environ.pop(size, None)

# A shell has what it starts in the background ignore Ctrl-C, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No timed assertions: a shared machine stalls any example now and then.
# CI tries the same examples at every run: what it says is to be of the change. Tests elsewhere look for new ones.
settings.register_profile("hwprof", deadline=None, derandomize=os.environ.get("CI") == "true")
# `make check` asks for it: a tenth of the examples, the others come with `make test`.
settings.register_profile("quick", deadline=None, max_examples=10)
settings.load_profile("hwprof")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-in for the driver's libnvidia-ml.so.1, to be put into LD_LIBRARY_PATH."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc or gcc), which makes the scripted NVIDIA driver that the test talks to")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("nvml_stub.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


@pytest.fixture
def no_cdi() -> None:
    """The machine has no CDI specification of GPUs."""
    if containers.cdi_knows_gpus():
        pytest.skip("this machine lists its GPUs for containers (CDI), and the test is of one that does not")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The docker engine that answers here."""
    try:
        return engines.find("docker")
    except NoEngineError as error:
        pytest.skip(f"the test starts containers, and there is no docker engine to start them: {error}")


@pytest.fixture(scope="session")
def image(engine: Engine) -> images.Image:
    """The image of PyTorch for the CPU."""
    return images.ensure(engine, images.Recipe("torch", "cpu"), say=lambda _: None)
