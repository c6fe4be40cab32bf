"""Images: what one is called and says of itself, without an engine."""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import hcl2
import pytest

from containers import derived
from tests.commands import in_process
from tests.test_house import make
from toolkit.capture import images, pip_settings
from toolkit.capture.images import Recipe
from toolkit.capture.venvs import ROOT
from toolkit.errors import HwprofError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what images are made from."""
    monkeypatch.delenv(images.BASE_VARIABLE, raising=False)
    for folder in ("containers", "toolkit"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_name_says_what_the_image_was_made_from(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock, worker's sources, Dockerfile and base image each move the name; the analysis side does not."""
    recipe = Recipe("torch", "cpu", repository)
    lock_hash = hashlib.sha256(recipe.lock.read_bytes()).hexdigest()
    before = images.name(recipe)
    assert before.startswith(f"hwprof-torch-cpu:{lock_hash[:12]}-")
    assert before.partition("-cpu:")[2] != images.name(Recipe("torch", "cuda", repository)).partition("-cuda:")[2]

    (repository / "toolkit" / "ingest" / "store.py").write_text("")
    (repository / "toolkit" / "capture" / "__pycache__").mkdir()
    (repository / "toolkit" / "capture" / "__pycache__" / "worker.pyc").write_text("")
    assert images.name(recipe) == before

    seen = {before}
    for path in ("toolkit/capture/workloads/pytorch.py", "toolkit/spec.py", "containers/Dockerfile"):
        with (repository / path).open("a") as file:
            file.write("# changed\n")
        seen.add(images.name(recipe))
    monkeypatch.setenv(images.BASE_VARIABLE, "mirror/python:3.12.1")
    seen.add(images.name(recipe))
    recipe.lock.write_text(f"{recipe.lock.read_text()}# changed\n")
    seen.add(images.name(recipe))
    assert len(seen) == 6


def test_the_base_image_is_pinned_by_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless another is named, the base is an official Python, by version and digest."""
    monkeypatch.delenv(images.BASE_VARIABLE, raising=False)
    name, _, digest = images.base_image().partition("@sha256:")
    assert images.BASE_PYTHON.search(name)
    assert len(digest) == 64


def test_labels_are_read_from_the_lock(repository: Path) -> None:
    """Framework, CUDA, cuDNN, NCCL and CUPTI are the lock's own pins; the CPU image states no CUDA."""
    (repository / "containers" / "locks" / "torch-cuda.txt").write_text(
        "torch==9.8.7 \\\n    --hash=sha256:00\nnvidia-cuda-runtime==13.7.96 ; sys_platform == 'linux' \\\n"
        "nvidia-cudnn-cu13==9.1.2.3 \\\nnvidia-nccl-cu13==2.30.1 \\\nnvidia-cuda-cupti==13.7.1 \\\n"
    )
    said = images.labels(Recipe("torch", "cuda", repository), python="3.11.9")
    stated = {key.removeprefix("hwprof."): value for key, value in said.items() if key.startswith("hwprof.")}
    assert stated.items() >= {
        "framework": "torch", "framework_version": "9.8.7", "variant": "cuda", "python": "3.11.9",
        "cuda": "13.7", "cudnn": "9.1.2.3", "nccl": "2.30.1", "cupti": "13.7.1",
    }.items()  # fmt: skip
    assert said["org.opencontainers.image.base.digest"].startswith("sha256:")
    assert "org.opencontainers.image.revision" not in said  # the copy is no git repository
    assert not {"hwprof.cuda", "hwprof.cudnn"} & images.labels(Recipe("tf", "cpu", repository), python="3.11.9").keys()


@pytest.mark.parametrize("recipe", images.recipes(), ids=str)
def test_every_lock_states_what_its_image_holds(recipe: Recipe) -> None:
    """The label of the framework's version is there for each lock, those of the GPU's libraries for each cuda lock."""
    missing = images.STATED.keys() - images.stated(recipe.lock).keys()
    assert missing == (images.STATED.keys() - {"hwprof.framework_version"} if recipe.variant == "cpu" else set())


def test_an_image_without_a_lock_is_refused() -> None:
    """A framework or variant without a lock names those that there are."""
    with pytest.raises(HwprofError, match=r"no lock for 'torch-rocm'. Known: .*torch-cpu"):
        images.name(Recipe("torch", "rocm"))


def test_only_addresses_of_pips_settings_reach_a_build(tmp_path: Path) -> None:
    """Indexes, proxy and certificates do; folders and settings of this machine do not, and are told."""
    bundle = tmp_path / "ca.crt"
    bundle.write_text("certificates")
    listed = (
        "global.index-url='https://user:key@corp/simple'\nglobal.find-links='/opt/wheels https://corp/links'\n"
        "global.extra-index-url='file:///opt/simple'\ninstall.user='true'\nglobal.timeout='9'\n"
        f"global.cert='{bundle}'\n:env:.timeout='60'\n:env:.cache-dir='/cache'\n"
    )
    settings = pip_settings.parse(listed, {})
    assert settings == (
        {"index-url": "https://user:key@corp/simple", "find-links": "https://corp/links", "timeout": "60"},
        bundle,
        ("file:///opt/simple", "/opt/wheels"),
    )
    assert settings.text("/inside").splitlines() == [
        "[global]",
        "cert = /inside",
        "find-links = https://corp/links",
        "index-url = https://user:key@corp/simple",
        "timeout = 60",
    ]
    hosts = pip_settings.parse("global.trusted-host='\\npypi.org\\nfiles.pythonhosted.org'\n", {})
    assert hosts.text("") == "[global]\ntrusted-host = pypi.org files.pythonhosted.org\n"
    assert pip_settings.parse("", {"REQUESTS_CA_BUNDLE": str(bundle)}).certificates == bundle
    assert pip_settings.parse("", {"REQUESTS_CA_BUNDLE": "/no/such"}).certificates is None


def test_an_image_holds_all_that_a_pass_imports(tmp_path: Path) -> None:
    """The files that are copied in import without the rest of the toolkit."""
    for path in images.sources():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    command = [sys.executable, "-S", "-c", "import toolkit.capture.supervise, toolkit.capture.worker"]
    subprocess.run(command, cwd=tmp_path, check=True, env={"PATH": os.defpath})


def test_the_builds_context_is_what_the_name_is_made_of() -> None:
    """.dockerignore lets the locks and the listed sources through, and nothing else."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "*", "!containers/locks/*-*.txt", *(f"!toolkit/{entry}" for entry in images.SOURCES), "**/__pycache__",
    ]  # fmt: skip


def test_what_follows_from_the_locks_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's table of pins and docker-bake.hcl are those of the locks as they are: `make lock` writes them."""
    monkeypatch.delenv(images.BASE_VARIABLE, raising=False)
    assert derived.README.read_text() == derived.readme()
    assert derived.BAKE.read_text() == derived.bake()


def test_bake_builds_the_images_that_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each target of docker-bake.hcl has the arguments, name and labels that images.py gives that image."""
    monkeypatch.delenv(images.BASE_VARIABLE, raising=False)
    with derived.BAKE.open() as file:
        parsed = hcl2.load(file)
    targets = {json.loads(name): body for one in parsed["target"] for name, body in one.items()}
    (group,) = parsed["group"]
    assert group['"default"']["targets"] == [f'"{recipe}"' for recipe in images.recipes()]
    for recipe in images.recipes():
        target = targets[str(recipe)]
        assert target["args"] == {"FRAMEWORK": f'"{recipe.framework}"', "VARIANT": f'"{recipe.variant}"'}
        (tag,) = target["tags"]
        assert json.loads(tag).replace("${SOURCES}", images.sources_hash()) == images.name(recipe)
        labels = {json.loads(key): value for key, value in target["labels"].items()}
        assert labels.pop("hwprof.sources") == "SOURCES"
        assert labels.pop("org.opencontainers.image.revision") == "REVISION"
        python = images.python_named(images.base_image())
        wanted = images.labels(recipe, python=python)
        assert {key: json.loads(value) for key, value in labels.items()}.items() <= wanted.items()


def test_buildx_reads_the_bake_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buildx makes of docker-bake.hcl, with the variables that are printed for it, the images' names and labels."""
    monkeypatch.delenv(images.BASE_VARIABLE, raising=False)
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "buildx", "version"], check=False, capture_output=True).returncode:
        pytest.skip("docker has no buildx here")
    shell = (
        f'eval "$({sys.executable} -m containers.derived variables)"; {docker} buildx bake -f {derived.BAKE} --print'
    )
    done = subprocess.run(["sh", "-ec", shell], cwd=ROOT, check=True, capture_output=True, text=True)
    targets = json.loads(done.stdout)["target"]
    for recipe in images.recipes():
        labels = images.labels(recipe, python=images.python_named(images.base_image()))
        assert (targets[str(recipe)]["tags"], targets[str(recipe)]["labels"]) == ([images.name(recipe)], labels)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("troch-cpu",), "hwprof: Unknown image 'troch-cpu'. Did you mean 'torch-cpu'? Known: torch-cpu, "),
        (("torch-gpu",), "hwprof: Unknown image 'torch-gpu'. Did you mean 'torch-cpu'? Known: torch-cpu, "),
        (("--runtime", "podmn"), "hwprof: Unknown runtime 'podmn'. Did you mean 'podman'? "),
    ],
)
def test_an_unknown_image_is_one_line_with_the_nearest(arguments: tuple[str, ...], line: str) -> None:
    """A name that is no image, or a runtime that is no engine, says which is nearest, before any engine is asked."""
    done = in_process("image", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == 1


def test_no_engine_is_one_line() -> None:
    """Where no engine answers, the error says of it why not, and that a run can do without."""
    done = in_process("image", "--runtime", "podman", "torch-cpu", variables={"PATH": "/no/such"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hwprof: podman: not installed. Install podman, or use runtime=local.\n"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (("FRAMEWORK=tf", "VARIANT=cuda"), ["image", "--", "tf-cuda"]),
        (("FRAMEWORK=$x", "VARIANT=c d", "RUNTIME=podman"), ["image", "--runtime", "podman", "--", "$x-c d"]),
        (("FRAMEWORK=tf", "VARIANT=cpu", "PROGRESS=1"), ["image", "--progress", "--", "tf-cpu"]),
    ],
)
def test_make_image_hands_over_as_typed(variables: tuple[str, ...], words: list[str]) -> None:
    """What `make image` was given on its command line reaches the command unchanged."""
    shown = make("-n", "image", *variables).stdout
    (line,) = (line for line in shown.splitlines() if line.startswith(".venv/toolkit/bin/hwprof "))
    assert shlex.split(line)[1:] == words


def test_make_image_asks_for_what_it_needs() -> None:
    """Without FRAMEWORK or VARIANT, make says which is missing and shows how."""
    done = make("-n", "image", "FRAMEWORK=tf")
    assert done.returncode == 2
    assert "Give VARIANT on make's command line, as in: make image FRAMEWORK=torch VARIANT=cpu." in done.stderr
