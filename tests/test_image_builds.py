"""Images built by a real engine, from a lock of one small wheel that an index on this machine serves."""

import contextlib
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from containers import reproduce
from tests.wheels import Index, make_wheel
from toolkit.capture import engines, image_build, images, venvs
from toolkit.capture.engines import Engine
from toolkit.capture.images import Image, Recipe
from toolkit.capture.venvs import ROOT
from toolkit.errors import HwprofError

pytestmark = pytest.mark.e2e

KEY = secrets.token_hex(16)
HARDENED = ("--network", "none", "--read-only", "--tmpfs=/tmp:rw,exec", "--cap-drop", "ALL", "--user", "12345:12345")


class Bench(NamedTuple):
    """A repository root of its own with what images are made from, and an index."""

    root: Path
    index: Index
    said: list[str]
    locks: set[str]

    def recipe(self, variant: str = "cuda", *, version: str = "1.0", sha256: str = "") -> Recipe:
        """An image of `torch` whose lock pins one small wheel, made for it where no hash is given."""
        recipe = Recipe("torch", variant, self.root)
        lock = self.root / "containers" / "locks" / f"{recipe}.txt"
        sha256 = sha256 or make_wheel(self.root / "wheels", version)
        # The folder makes the lock, and so the image, this place's own: another test removes what it built itself.
        lock.write_text(f"# size: about 1 kB\n# {self.root}\ntiny=={version} \\\n    --hash=sha256:{sha256}\n")
        self.locks.add(venvs.sha256_of(lock))
        return recipe

    @contextlib.contextmanager
    def pip(self) -> Iterator[None]:
        """The index is all that pip can see."""
        links = f"http://someone:{KEY}@127.0.0.1:{self.index.server_port}/"
        with pytest.MonkeyPatch.context() as patched:
            for name, value in {"NO_INDEX": "1", "FIND_LINKS": links, "CONFIG_FILE": "/dev/null"}.items():
                patched.setenv(f"PIP_{name}", value)
            yield


@contextlib.contextmanager
def benched(root: Path, engine: Engine) -> Iterator[Bench]:
    """A place to build in; the images that were built there go again afterwards."""
    shutil.copytree(ROOT / "toolkit", root / "toolkit", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "containers" / "locks").mkdir(parents=True)
    shutil.copy(ROOT / "containers" / "Dockerfile", root / "containers")
    shutil.copy(ROOT / ".dockerignore", root)
    (root / "wheels").mkdir()
    made = Bench(root, Index(root / "wheels"), [], set())
    with made.index:
        threading.Thread(target=made.index.serve_forever, daemon=True).start()
        yield made
        made.index.shutdown()
    for lock in made.locks:
        listed = [engine.program, "image", "ls", "--quiet", "--filter", f"label=hwprof.lock_sha256={lock}"]
        numbers = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
        if numbers:
            subprocess.run([engine.program, "image", "rm", "--force", *numbers], check=True, capture_output=True)


@pytest.fixture
def bench(tmp_path: Path, engine: Engine) -> Iterator[Bench]:
    """A place to build in."""
    with benched(tmp_path, engine) as made, made.pip():
        yield made


class Built(NamedTuple):
    """An image, what it was built from, and what was shown meanwhile."""

    image: Image
    recipe: Recipe
    bench: Bench
    shown: list[str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Built]:
    """An image that several tests look at."""
    with benched(tmp_path_factory.mktemp("built"), engine) as made:
        recipe, shown = made.recipe(), []  # type: tuple[Recipe, list[str]]
        with made.pip():
            image = images.ensure(engine, recipe, say=made.said.append, show=shown.append)
        yield Built(image, recipe, made, shown)


def inside(engine: Engine, image: Image, *command: str, options: tuple[str, ...] = HARDENED) -> str:
    """What a command prints in a container of the image, by default as closed off as a pass."""
    done = subprocess.run(
        [engine.program, "run", "--rm", *options, image.reference, *command], check=True, capture_output=True, text=True
    )
    return done.stdout


def inspected(engine: Engine, image: Image) -> Any:
    """What the engine says of an image."""
    done = subprocess.run([engine.program, "image", "inspect", image.id], check=True, capture_output=True)
    return json.loads(done.stdout)[0]


def test_an_image_is_built_once_and_says_so(engine: Engine, built: Built) -> None:
    """The first call builds, and says in a line what takes long; the second finds it."""
    said: list[str] = []
    assert built.image.built
    assert built.bench.said[0] == (
        f"Building the image {built.image.reference} with {engine.name} from torch-cuda.txt; about 1 kB, once …"
    )
    assert built.shown
    assert images.ensure(engine, built.recipe, say=said.append) == built.image._replace(built=False)
    assert said == []


def test_an_image_is_what_it_says(engine: Engine, built: Built) -> None:
    """Labels, lock, user and files are those of what it was made from."""
    python = inside(engine, built.image, "python", "-c", "import platform; print(platform.python_version())").strip()
    assert built.image.labels.items() >= images.labels(built.recipe, python=python).items()
    assert inspected(engine, built.image)["Config"]["User"] == "65532:65532"
    assert inside(engine, built.image, "cat", "/opt/hwprof/lock.txt") == built.recipe.lock.read_text()
    listed = inside(engine, built.image, "find", "/opt/hwprof/toolkit", "-type", "f", "-not", "-name", "*.pyc").split()
    root = built.bench.root
    assert sorted(listed) == [f"/opt/hwprof/{path.relative_to(root)}" for path in images.sources(root)]


def test_an_image_needs_no_home_and_no_known_user(engine: Engine, built: Built) -> None:
    """As a user whom nobody knows, on a read-only root, the worker's side and the packages import, with bytecode."""
    code = (
        "import getpass, pathlib, tiny, toolkit.capture.supervise, toolkit.capture.worker\n"
        "assert pathlib.Path(tiny.__cached__).exists() and pathlib.Path(toolkit.capture.worker.__cached__).exists()\n"
        "(pathlib.Path.home() / '.cache').mkdir()\n"
        "print(tiny.VERSION, getpass.getuser())"
    )
    assert inside(engine, built.image, "python", "-c", code) == "1.0 hwprof\n"


def test_nothing_of_the_build_is_left_in_an_image(engine: Engine, built: Built) -> None:
    """No tool that the base image lacks, no cache, and no word of the caller's index in a layer or in the history."""
    root = ("--network", "none", "--user", "0")
    tools = "for tool in gcc cc g++ make pip pip3; do command -v $tool; done; true"
    of_base = built.image._replace(reference=images.base_image())
    assert inside(engine, built.image, "sh", "-c", tools, options=root) == inside(
        engine, of_base, "sh", "-c", tools, options=root
    )
    leftovers = "find /tmp /mnt /run/secrets ~root/.cache -mindepth 1 2>/dev/null; true"
    assert inside(engine, built.image, "sh", "-c", leftovers, options=root) == ""
    history = [engine.program, "image", "history", "--no-trunc", built.image.id]
    said = subprocess.run(history, check=True, capture_output=True, text=True).stdout
    assert KEY not in said + json.dumps(inspected(engine, built.image))
    assert not saved_bytes_hold(engine, built.image, KEY.encode())


def saved_bytes_hold(engine: Engine, image: Image, word: bytes) -> bool:
    """Whether the image as the engine exports it, layers and all, holds `word`."""
    with subprocess.Popen([engine.program, "image", "save", image.reference], stdout=subprocess.PIPE) as process:
        assert process.stdout
        before, found = b"", False
        while piece := process.stdout.read(1 << 20):
            found = found or word in before + piece
            before = piece[-len(word) :]
    assert process.returncode == 0
    return found


def test_a_change_of_the_toolkit_reinstalls_nothing(engine: Engine, built: Built, tmp_path: Path) -> None:
    """The layers of lock and packages stay the same ones and fetch nothing; those of the toolkit are new."""
    shutil.copytree(built.bench.root, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "toolkit" / "spec.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    fetched = len(built.bench.index.fetched)
    with built.bench.pip():
        changed = images.ensure(engine, built.recipe._replace(root=tmp_path), say=built.bench.said.append)
    assert changed.built
    assert inside(engine, changed, "python", "-c", "import tiny, toolkit.spec as s; print(s.CHANGED)") == "True\n"
    assert len(built.bench.index.fetched) == fetched
    before, after = (inspected(engine, image)["RootFS"]["Layers"] for image in (built.image, changed))
    kept = len(base_layers(engine)) + 2
    assert before[:kept] == after[:kept]
    assert not set(before[kept : kept + 2]) & set(after[kept : kept + 2])


def base_layers(engine: Engine) -> list[str]:
    """The layers of the base image."""
    command = [engine.program, "image", "inspect", images.base_image()]
    done = subprocess.run(command, check=True, capture_output=True)
    layers: list[str] = json.loads(done.stdout)[0]["RootFS"]["Layers"]
    return layers


@pytest.mark.parametrize("base", ["127.0.0.1:9/none:1", "127.0.0.1:9/python:3.11.14-slim"])
def test_a_base_image_out_of_reach_is_one_line(
    engine: Engine, bench: Bench, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    """Without a network the error names the base image and how to name another."""
    monkeypatch.setenv(images.BASE_VARIABLE, base)
    with pytest.raises(HwprofError) as refused:
        images.ensure(engine, bench.recipe(), say=bench.said.append)
    assert f"the base image {base} is not on this machine and its registry cannot be reached." in str(refused.value)
    assert images.BASE_VARIABLE in refused.value.remedy
    assert "\n" not in str(refused.value)


def test_a_wheel_that_is_not_the_locked_one_is_refused(engine: Engine, bench: Bench) -> None:
    """A hash mismatch is one line with package, both hashes and a remedy; no image is named."""
    real = make_wheel(bench.root / "wheels", "1.0")
    recipe = bench.recipe(sha256="ab" * 32)
    with pytest.raises(HwprofError) as refused:
        images.ensure(engine, recipe, say=bench.said.append)
    line = str(refused.value)
    assert line.startswith(f"Building the image hwprof-torch-cuda failed: tiny==1.0 has the sha256 {real}")
    assert "ab" * 32 in line
    assert "\n" not in line
    assert images.find(engine, recipe) is None


def test_a_missing_wheel_is_named_and_told_in_full_in_the_log(engine: Engine, bench: Bench) -> None:
    """Where no index has a wheel of a pin and nothing stands in, the line names the pin; the log has all of it."""
    with pytest.raises(HwprofError, match=r"no wheel of tiny==9\.9 for the Python of "):
        images.ensure(engine, bench.recipe(version="9.9", sha256="ab" * 32), say=bench.said.append)
    assert "tiny==9.9" in (image_build.kept(bench.root) / "hwprof-torch-cuda.log").read_text()


def test_an_index_out_of_reach_is_told_from_a_missing_wheel(
    engine: Engine, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network the line says so, and the fallback, which could not be had either, is not tried."""
    bench.recipe()
    monkeypatch.delenv("PIP_NO_INDEX")
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "FIND_LINKS": "", "RETRIES": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(HwprofError, match="torch-cpu failed: pip could not reach its index"):
        images.ensure(engine, bench.recipe("cpu", version="9.9", sha256="ab" * 32), say=bench.said.append)


def test_a_variant_without_wheels_falls_back_in_sight(
    engine: Engine, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPU torch falls back to the CUDA image and says so each time; it is tried again only under other pip settings."""
    bench.recipe()
    wanted = bench.recipe("cpu", version="9.9", sha256="ab" * 32)
    image = images.ensure(engine, wanted, say=bench.said.append)
    assert (image.variant, image.lock.name, image.built) == ("cuda", "torch-cuda.txt", True)
    assert image.fallback
    assert image.fallback.startswith("The image torch-cuda stands in for torch-cpu")
    assert [line.split(":")[0] for line in bench.said] == [
        "Building the image hwprof-torch-cpu",
        "The image torch-cuda stands in for torch-cpu",
        "Building the image hwprof-torch-cuda",
    ]
    bench.said.clear()
    assert images.ensure(engine, wanted, say=bench.said.append) == image._replace(built=False)
    assert bench.said == [image.fallback]

    bench.said.clear()
    monkeypatch.setenv("PIP_TIMEOUT", "99")
    images.ensure(engine, wanted, say=bench.said.append)
    assert bench.said[0].startswith("Building the image hwprof-torch-cpu")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_stopped_leaves_nothing_wrong(engine: Engine, bench: Bench, number: int) -> None:
    """Killed or interrupted in the middle of an installation, a build names no image, and the next one is whole."""
    recipe = bench.recipe()
    bench.index.go.clear()
    code = (
        "from pathlib import Path\nfrom toolkit.capture import engines, images\n"
        f"recipe = images.Recipe('torch', 'cuda', Path({str(bench.root)!r}))\n"
        "images.ensure(engines.find('docker'), recipe, say=print)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert bench.index.asked.wait(120)
        process.send_signal(number)
        process.wait(60)
        assert images.find(engine, recipe) is None
    bench.index.go.set()
    image = images.ensure(engine, recipe, say=bench.said.append)
    assert inside(engine, image, "python", "-c", "import tiny; print(tiny.VERSION)") == "1.0\n"


@pytest.fixture
def cramped(engine: Engine) -> Iterator[str]:
    """The address of an engine of our own that holds the base image and has a few megabytes left for more."""
    dockerd = shutil.which("dockerd")
    if not dockerd or os.getuid():
        pytest.skip("an engine of our own needs dockerd and root")
    # A socket's path is short.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        data = Path(folder, "data")
        data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", data], check=True)
        host = f"unix://{folder}/s"
        options = ["--data-root", data, "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "--host", host]
        options += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
        with subprocess.Popen(
            [dockerd, *options], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as daemon:
            try:
                assert any("API listen on" in line for line in daemon.stderr or ())
                threading.Thread(target=daemon.stderr.read, daemon=True).start()  # type: ignore[union-attr] # a pipe
                copy_base(engine, host)
                free = shutil.disk_usage(data).free
                os.posix_fallocate(os.open(data / "ballast", os.O_CREAT | os.O_WRONLY), 0, free - (4 << 20))
                yield host
            finally:
                daemon.terminate()
        subprocess.run(["umount", "--lazy", data], check=True)


def copy_base(engine: Engine, host: str) -> None:
    """Hands the base image to the engine at `host`."""
    base = images.base_image()
    container = [engine.program, "create", base, "true"]
    made = subprocess.run(container, check=True, capture_output=True, text=True).stdout.strip()
    with subprocess.Popen([engine.program, "export", made], stdout=subprocess.PIPE) as source:
        command = [engine.program, "--host", host, "import", "-", base]
        subprocess.run(command, stdin=source.stdout, check=True, capture_output=True)
    subprocess.run([engine.program, "rm", made], check=True, capture_output=True)


def test_a_disk_that_fills_up_is_one_line(bench: Bench, cramped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the engine's disk is full in the middle of a build, the line says so, and no image is named."""
    recipe = bench.recipe()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("DOCKER_HOST", cramped)
        there = engines.find("docker")
        with pytest.raises(HwprofError) as refused:
            images.ensure(there, recipe, say=bench.said.append)
        assert images.find(there, recipe) is None
    assert refused.value.problem == "Building the image hwprof-torch-cuda failed: the disk is full."
    assert "\n" not in str(refused.value)


def test_two_builds_of_a_lock_hold_the_same_files(engine: Engine, bench: Bench) -> None:
    """Built again from nothing, an image has the same packages by version and hash, and every file to the byte."""
    recipe = bench.recipe()
    first = reproduce.inside(engine, images.build(engine, recipe, say=bench.said.append))
    second = reproduce.inside(engine, images.build(engine, recipe, say=bench.said.append, cache=False))
    assert first == second
    assert first.packages["tiny"][0] == "1.0"
    assert any(name.endswith("site-packages/tiny.py") for name in first.files)


@pytest.mark.parametrize("recipe", [recipe for recipe in images.recipes() if recipe.variant == "cpu"], ids=str)
def test_an_image_holds_what_the_local_environment_holds(engine: Engine, recipe: Recipe) -> None:
    """An image and a local environment of one lock hold the same packages, each with the same files."""
    image = images.ensure(engine, recipe, say=sys.stderr.write)
    if image.labels["hwprof.python"].split(".")[:2] != platform.python_version().split(".")[:2]:
        pytest.skip(f"the image's Python is {image.labels['hwprof.python']}, and other wheels fit this one")
    local = venvs.ensure(image.framework, image.variant, say=sys.stderr.write)
    there = reproduce.inside(engine, image).packages
    here = reproduce.inventory([local.python]).packages
    assert there == {name: here.get(name) for name in there}
    assert there.keys() <= {package for package, _ in images.pins(image.lock)}
