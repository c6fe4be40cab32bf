"""What holds for every test."""

import os
import shutil
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from toolkit.capture import engines, images
from toolkit.capture.engines import Engine, NoEngineError


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI an end-to-end test that was skipped has failed: nobody reads the reason there. One that needs a GPU may."""
    report = yield
    must_run = item.get_closest_marker("e2e") and not item.get_closest_marker("gpu")
    if os.environ.get("CI") == "true" and must_run and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"Skipped in CI, where every end-to-end test must run: {report.longrepr}"
    return report


# A shell has what it starts in the background ignore Ctrl-C, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No timed assertions: a shared machine stalls any example now and then.
settings.register_profile("hwprof", deadline=None)
# `make check` asks for it: a tenth of the examples, the others come with `make test`.
settings.register_profile("quick", deadline=None, max_examples=10)
settings.load_profile("hwprof")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-in for the driver's libnvidia-ml.so.1, to be put into LD_LIBRARY_PATH."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler for the stand-in of the driver's library")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("nvml_stub.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The docker engine that answers here."""
    try:
        return engines.find("docker")
    except NoEngineError as error:
        pytest.skip(f"needs a docker engine that answers: {error}")


@pytest.fixture(scope="session")
def image(engine: Engine) -> images.Image:
    """The image of PyTorch for the CPU."""
    return images.ensure(engine, images.Recipe("torch", "cpu"), say=lambda _: None)
