"""Images: what one is called and says of itself, without an engine."""

import hashlib
import shutil
from pathlib import Path

import pytest

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
    assert pip_settings.parse("", {"REQUESTS_CA_BUNDLE": str(bundle)}).certificates == bundle
    assert pip_settings.parse("", {"REQUESTS_CA_BUNDLE": "/no/such"}).certificates is None
